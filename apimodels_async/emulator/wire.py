"""
The bodies the API answers with, written by hand from its documentation.
"""

import json
from typing import Any

from aiohttp import web

from apimodels_async.emulator.catalogue import MODELS
from apimodels_async.emulator.values import EmulatedTask, RefusalError


def answer(body: object, status: int = 200) -> web.Response:
    """
    Return *body* as a JSON answer.
    """
    return web.Response(
        body=json.dumps(body).encode(), status=status, content_type="application/json"
    )


def envelope(data: object, code: int = 200, msg: str = "success") -> dict[str, Any]:
    """
    Return the API's envelope.
    """
    return {"code": code, "msg": msg, "data": data}


def refusal(error: RefusalError) -> web.Response:
    """
    Return a refusal as the API words it: the code in status and body alike.
    """
    return answer(envelope(None, error.status, error.msg), error.status)


def created(task: EmulatedTask) -> dict[str, Any]:
    """
    Return the answer to a create call.

    Source:
        API documentation, "Create Task Response"; Kling adds its prefixed name.
    """
    if task.settled:
        return polled(task)
    data: dict[str, Any] = {"taskId": task.id, "state": task.state}
    if "kling" in task.model:
        data["model"] = wire_name(task.model)
    return envelope(data)


def polled(task: EmulatedTask) -> dict[str, Any]:
    """
    Return the answer to a poll.

    Source:
        API documentation, "Success Response" and "Failed Response"; credits,
        failCode, retryable and modelType are seen in the vendor's own tools.
    """
    data: dict[str, Any] = {"taskId": task.id, "state": task.state}
    data["modelType"] = model_type(task)
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


def sync_made(task: EmulatedTask, duration_s: float) -> dict[str, Any]:
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


def openai_made(task: EmulatedTask, pictures: list[dict[str, str]]) -> dict[str, Any]:
    """
    Return the OpenAI shape: no envelope, and `data` is an array.

    Source:
        gpt-image-2-all page.
    """
    return {"created": task.created_ms // 1000, "data": pictures}


def called_back(task: EmulatedTask) -> dict[str, Any]:
    """
    Return the body of a callback.

    Source:
        Video page for the start; a working receiver for state, failMsg,
        resultJson and param. The rest of the real body is unknown.
    """
    data: dict[str, Any] = {
        "taskId": task.id,
        "model": wire_name(task.model),
        "state": task.state,
        "resultJson": result_json(task),
        "failMsg": task.failure.message if task.failure else "",
        "param": json.dumps(
            {"model": task.model, "prompt": task.prompt, **task.params}
        ),
        "createTime": task.created_ms,
        "completeTime": task.completed_ms,
    }
    if task.failure:
        data["failCode"] = task.failure.code
    return envelope(data)


def result_json(task: EmulatedTask) -> str:
    """
    Return the results as the JSON *string* the API puts into JSON.
    """
    results: dict[str, Any] = {"resultUrls": list(task.urls)}
    if task.layers:
        results["layers"] = task.layers
    return json.dumps(results)


def wire_name(model: str) -> str:
    """
    Return the prefixed model name.
    """
    return MODELS[model].wire_name


def model_type(task: EmulatedTask) -> str:
    """
    Return the API's word for the kind of work; the second one is inferred.
    """
    edited = any(sketch.inputs for _, sketch in task.sketches)
    return "IMAGE_TO_IMAGE" if edited else "TEXT_TO_IMAGE"
