"""The bodies of the API's answers, written by hand from its documentation."""

from typing import Any

from aiohttp import web

from apimodels_async.emulator.service.catalogue import MODELS
from apimodels_async.emulator.service.values import (
    EmulatedTask,
    RefusalError,
    envelope,
    result_json,
)


def refusal(error: RefusalError) -> web.Response:
    """Return the API's error answer: the code in status and body alike."""
    body = envelope(None, error.status, error.msg)
    return web.json_response(body, status=error.status)


def create_answer(task: EmulatedTask) -> dict[str, Any]:
    """
    Return the answer to a create call.

    Source:
        API documentation, "Create Task Response"; Kling adds its prefixed name.
    """
    if task.settled:
        return poll_answer(task)
    data: dict[str, Any] = {"taskId": task.id, "state": task.state}
    if "kling" in task.model:
        data["model"] = MODELS[task.model].wire_name
    return envelope(data)


def poll_answer(task: EmulatedTask) -> dict[str, Any]:
    """
    Return the answer to a poll.

    Source:
        API documentation, "Success Response" and "Failed Response"; credits,
        failCode, retryable and modelType are seen in the vendor's own tools.
    """
    data: dict[str, Any] = {"taskId": task.id, "state": task.state}
    data["modelType"] = _model_type(task)
    data["createTime"] = task.created_ms
    if task.settled:
        data["completeTime"] = task.completed_ms
        data |= _ending(task)
    return envelope(data)


def _ending(task: EmulatedTask) -> dict[str, Any]:
    if task.failure is not None:
        return {
            "failMsg": task.failure.message,
            "failCode": task.failure.code,
            "retryable": task.failure.retryable,
        }
    data: dict[str, Any] = {
        "resultUrls": list(task.urls),
        "credits": float(task.price),
    }
    if task.layers:
        data["resultJson"] = result_json(task)
    return data


def sync_answer(task: EmulatedTask, duration_s: float) -> dict[str, Any]:
    """
    Return the answer of a SparkPix endpoint. Its units are unknown: USD, seconds.

    Source:
        API documentation, "Response format: { code: 200, data: {...} }".
    """
    return {
        "code": 200,
        "data": {
            "url": task.urls[0] if task.urls else "",
            "model": task.model,
            "credits": float(task.price),
            "duration": round(duration_s, 3),
        },
    }


def openai_answer(task: EmulatedTask, pictures: list[dict[str, str]]) -> dict[str, Any]:
    """
    Return the OpenAI shape: no envelope, and `data` is an array.

    Source:
        gpt-image-2-all page.
    """
    return {"created": task.created_ms // 1000, "data": pictures}


def _model_type(task: EmulatedTask) -> str:
    """Return the API's word for the kind of work; the second one is inferred."""
    edited = any(sketch.inputs for _, sketch in task.sketches)
    return "IMAGE_TO_IMAGE" if edited else "TEXT_TO_IMAGE"
