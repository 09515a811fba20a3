"""
What the API answers, as values: one function a kind of answer.

Four shapes of a successful create call exist; :func:`read_created` knows them all:
a pending task, a task already completed, SparkPix's single ``url``, and OpenAI's
``{created, data: [{url | b64_json}]}``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from apimodels_async._api.checks import TASK_ID, is_http_url
from apimodels_async._api.convert import (
    WireBalance,
    WireFile,
    WireImage,
    WireModel,
    WireOpenAIImage,
    WireTask,
    structure,
)
from apimodels_async._api.decode import UnreadableError
from apimodels_async._api.refusals import http_date, read_body
from apimodels_async._text import printable
from apimodels_async.errors import GenerationFailedError, UnexpectedResponseError
from apimodels_async.models import (
    Balance,
    ImageResult,
    ModelInfo,
    TaskSnapshot,
    TaskState,
)

if TYPE_CHECKING:
    from apimodels_async._ports import Reply

T = TypeVar("T")

KEPT: Final = timedelta(days=7)
"""Source: API page, "Image files are stored for 7 days"."""
_SALVAGE: Final = re.compile(rb'"taskId"\s*:\s*"([A-Za-z0-9._-]{1,128})"')
_UNFINISHED: Final = (TaskState.PENDING, TaskState.PROCESSING)
SECONDS_MAX: Final = 10.0
"""SparkPix answers in about 1 s and the page gives no unit: above this, it is ms."""


def read_created(reply: Reply, model: str | None) -> TaskSnapshot | ImageResult:
    """
    Read the answer to any paid POST.

    Raises:
        APIStatusError: The API refused.
        UnexpectedResponseError: The answer fits none of the four shapes.
    """
    body = read_body(reply)
    data: Any = body.get("data") if isinstance(body, dict) else None
    if isinstance(data, list):
        return _openai_result(reply, body, model)
    if isinstance(data, dict) and "url" in data and "taskId" not in data:
        return _sync_result(reply, data, model)
    wire = _structure(reply, data, WireTask)
    if wire.state == TaskState.COMPLETED and not wire.result_urls:
        # One client in the wild saw the URLs follow later: polling will tell.
        return TaskSnapshot(_task_id(reply, wire), TaskState.PROCESSING)
    return _snapshot(reply, wire, data, model)


def read_task(reply: Reply, asked: str, model: str | None) -> TaskSnapshot:
    """
    Read the answer to a poll for the task *asked*.

    Raises:
        APIStatusError: The API refused.
        UnexpectedResponseError: Unreadable, or about another task: a connection can
            hand one request's answer to the next (measured with aiohttp 3.14.5).
    """
    body = read_body(reply)
    data: Any = body.get("data") if isinstance(body, dict) else None
    if isinstance(data, dict) and data.get("taskId") == asked:
        word = data.get("state")
        if word in _UNFINISHED:  # most answers: nothing else in them matters
            return TaskSnapshot(asked, TaskState(word))
    wire = _structure(reply, data, WireTask)
    if wire.task_id != asked:
        msg = f"asked for task {asked}, got an answer for {printable(wire.task_id, 80)}"
        raise UnexpectedResponseError(msg, task_id=asked, status=reply.status)
    return _snapshot(reply, wire, data, model)


def read_balance(reply: Reply) -> Balance:
    """Read the answer of ``GET /balance``."""
    wire = _structure(reply, _data(reply), WireBalance)
    return Balance(
        balance=wire.balance,
        total=wire.total,
        frozen=wire.frozen,
        currency=wire.currency or "USD",
    )


def read_models(reply: Reply) -> tuple[ModelInfo, ...]:
    """Read the answer of ``GET /models``, in the API's order."""
    rows = _data(reply)
    if not isinstance(rows, list):
        raise _misfit(reply, "expected a list @ $.data")
    return tuple(_model(reply, row) for row in rows)


def read_file(reply: Reply) -> WireFile:
    """Read the answer of ``POST /files``, either mode."""
    return _structure(reply, _data(reply), WireFile)


def salvage_task_id(body: bytes) -> str | None:
    """Return the task id in an answer that could not be read, if it shows one."""
    found = _SALVAGE.search(body)
    return found[1].decode() if found else None


def _model(reply: Reply, row: Any) -> ModelInfo:
    wire = _structure(reply, row, WireModel)
    return ModelInfo(
        id=printable(wire.id, 200),
        modality=wire.modality,
        endpoint=wire.endpoint,
        raw=row,
    )


def _data(reply: Reply) -> Any:
    body = read_body(reply)
    return body.get("data") if isinstance(body, dict) else None


def _structure(reply: Reply, data: Any, wire: type[T], at: str = "$.data") -> T:
    try:
        return structure(data, wire, at)
    except UnreadableError as error:
        reason = str(error)
    raise _misfit(reply, reason)


def _misfit(
    reply: Reply, reason: str, completed: str | None = None
) -> UnexpectedResponseError:
    msg = f"the API's answer does not fit: {reason}"
    return UnexpectedResponseError(
        msg,
        task_id=completed,
        status=reply.status,
        charged=True if completed else None,
    )


def _task_id(reply: Reply, wire: WireTask) -> str:
    if not TASK_ID.fullmatch(wire.task_id):
        raise _misfit(reply, f"not a task id: {printable(wire.task_id, 80)}")
    return wire.task_id


def _snapshot(
    reply: Reply, wire: WireTask, raw: dict[str, Any], model: str | None
) -> TaskSnapshot:
    task_id = _task_id(reply, wire)
    try:
        state = TaskState(printable(wire.state))
    except ValueError:  # empty, or longer than any word
        state = None
    if state is None:
        raise _misfit(reply, f"not a state: {printable(wire.state, 80)}")
    if state == TaskState.FAILED:
        return TaskSnapshot(task_id, state, error=_failure(wire, reply))
    if state == TaskState.COMPLETED:
        if not wire.result_urls:
            msg = f"task {task_id} is completed but has no result URLs"
            raise UnexpectedResponseError(
                msg, task_id=task_id, status=reply.status, charged=True
            )
        return TaskSnapshot(task_id, state, _task_result(reply, wire, raw, model))
    return TaskSnapshot(task_id, state)


def _failure(wire: WireTask, reply: Reply) -> GenerationFailedError:
    message = printable(wire.fail_message or "no reason given")
    code = printable(wire.fail_code, 80) if wire.fail_code else None
    return GenerationFailedError(
        f"the generation failed: {message}" + (f" [{code}]" if code else ""),
        fail_message=message,
        fail_code=code,
        task_id=wire.task_id,
        status=reply.status,
    )


def _task_result(
    reply: Reply, wire: WireTask, raw: dict[str, Any], model: str | None
) -> ImageResult:
    created, completed = _from_ms(wire.create_time), _from_ms(wire.complete_time)
    return ImageResult(
        urls=_urls(reply, wire.result_urls or [], wire.task_id),
        task_id=wire.task_id,
        model=model or wire.model,
        credits=wire.credits,
        duration_s=(completed - created).total_seconds()
        if created and completed
        else None,
        created_at=created,
        completed_at=completed,
        expires_at=_expiry(completed),
        raw=raw,
    )


def _sync_result(reply: Reply, raw: dict[str, Any], model: str | None) -> ImageResult:
    wire = _structure(reply, raw, WireImage)
    duration = wire.duration
    if duration is not None and duration > SECONDS_MAX:
        duration /= 1000
    at = http_date(reply.headers.get("date", ""))
    return ImageResult(
        urls=_urls(reply, [wire.url]),
        model=model or wire.model,
        credits=wire.credits,
        duration_s=duration,
        completed_at=at,
        expires_at=_expiry(at),
        raw=raw,
    )


def _openai_result(
    reply: Reply, body: dict[str, Any], model: str | None
) -> ImageResult:
    images = [
        _structure(reply, item, WireOpenAIImage, f"$.data[{index}]")
        for index, item in enumerate(body["data"])
    ]
    urls = [
        image.url or f"data:image/png;base64,{image.b64_json}"
        for image in images
        if image.url or image.b64_json
    ]
    created = body.get("created")
    at = _from_ms(created * 1000) if type(created) is int else None
    return ImageResult(
        urls=_urls(reply, urls),
        model=model,
        completed_at=at,
        expires_at=_expiry(at),
        raw=body,
    )


def _urls(
    reply: Reply, urls: list[str], completed: str | None = None
) -> tuple[str, ...]:
    for url in urls:
        if not url.startswith("data:image/") and not is_http_url(url):
            raise _misfit(reply, f"not a result URL: {printable(url, 80)}", completed)
    if not urls:
        raise _misfit(reply, "no result URL")
    return tuple(urls)


def _from_ms(milliseconds: float | None) -> datetime | None:
    if milliseconds is None:
        return None
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _expiry(completed: datetime | None) -> datetime | None:
    try:
        return completed + KEPT if completed else None
    except OverflowError:  # within a week of the year 10000: no date, but a picture
        return None
