"""
What the API answers, as values: one function a kind of answer.

Four shapes of a successful create call exist; ``read_created`` knows them all:
a pending task, a task already completed, SparkPix's single ``url``, and OpenAI's
``{created, data: [{url | b64_json}]}``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from apimodels_async._api.addresses import picture_address, usable_address
from apimodels_async._api.catalogue import find_model
from apimodels_async._api.checks import TASK_ID
from apimodels_async._api.convert import (
    WireBalance,
    WireFile,
    WireImage,
    WireModel,
    WireOpenAIImage,
    WireTask,
    number,
    structure,
)
from apimodels_async._api.decode import UnreadableError
from apimodels_async._api.refusals import http_date, read_body
from apimodels_async._text import printable
from apimodels_async.errors import (
    ApiModelsError,
    GenerationFailedError,
    UnexpectedResponseError,
)
from apimodels_async.model_info import ModelInfo
from apimodels_async.models import (
    Balance,
    ImageResult,
    TaskSnapshot,
    TaskState,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from apimodels_async._ports import Reply

T = TypeVar("T")

KEPT: Final = timedelta(days=7)
"""Source: API page, "Image files are stored for 7 days"."""
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
    if isinstance(data, dict) and _is_picture(data):
        return _sync_result(reply, data, model)
    wire = _structure(reply, _ended(data), WireTask, raw=_mapping(data, body))
    if wire.state == TaskState.COMPLETED and not wire.result_urls:
        # One client in the wild saw the URLs follow later: polling will tell.
        return TaskSnapshot(_task_id(reply, wire, data), TaskState.PROCESSING)
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
    wire = _structure(reply, _ended(data), WireTask, raw=_mapping(data, body))
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


def _model(reply: Reply, row: Any) -> ModelInfo:
    wire = _structure(reply, row, WireModel)
    return ModelInfo(
        id=printable(wire.id, 200),
        modality=wire.modality,
        endpoint=wire.endpoint,
        known=find_model(wire.id),
        raw=row,
    )


def _data(reply: Reply) -> Any:
    body = read_body(reply)
    return body.get("data") if isinstance(body, dict) else None


def _mapping(*found: Any) -> dict[str, Any] | None:
    """Return the first of *found* that is an object, to be shown as it came."""
    return next((each for each in found if isinstance(each, dict)), None)


def _structure(
    reply: Reply, data: Any, wire: type[T], raw: dict[str, Any] | None = None
) -> T:
    try:
        return structure(data, wire)
    except UnreadableError as error:
        reason = str(error)
    raise _misfit(reply, reason, raw=raw or _mapping(data))


def _misfit(
    reply: Reply,
    reason: str,
    *,
    charged: bool | None = None,
    raw: dict[str, Any] | None = None,
) -> UnexpectedResponseError:
    msg = f"the API's answer does not fit: {reason}"
    return UnexpectedResponseError(msg, status=reply.status, charged=charged, raw=raw)


def _is_picture(data: dict[str, Any]) -> bool:
    """Return whether *data* names no task to ask for, and is the picture itself."""
    named = data.get("taskId")
    if type(named) in (int, str) and TASK_ID.fullmatch(str(named)):
        return False
    shows = "url" in data or bool(_pictures(data))
    return shows and _word(data) != TaskState.FAILED


def _ended(data: Any) -> Any:
    """Return *data* of a task; with pictures and no other word it is completed."""
    urls = _pictures(data) if isinstance(data, dict) else ()
    if not urls or _word(data) not in {None, TaskState.COMPLETED}:
        return data
    return {**data, "state": TaskState.COMPLETED.value, "resultUrls": [*urls]}


def _word(data: dict[str, Any]) -> TaskState | None:
    """Return the word for the state in *data*; None: there is none to be read."""
    found = data.get("state")
    try:
        return TaskState(printable(found)) if isinstance(found, str) else None
    except ValueError:  # empty, or longer than any word
        return None


def _pictures(data: dict[str, Any]) -> tuple[str, ...]:
    """Return the addresses in *data* that can be used, of either shape."""
    several = data.get("resultUrls")
    if several is not None:
        urls = _usable(several if isinstance(several, list) else [several])
        if urls:
            return urls
    return _usable([data.get("url")])


def _usable(found: Iterable[Any]) -> tuple[str, ...]:
    """Return those of *found* that can be used, in their order."""
    urls = [usable_address(each) for each in found]
    return tuple([each for each in urls if each is not None])


def _task_id(reply: Reply, wire: WireTask, raw: dict[str, Any]) -> str:
    if not TASK_ID.fullmatch(wire.task_id):
        reason = f"not a task id: {printable(wire.task_id, 80)}"
        raise _misfit(reply, reason, raw=raw)
    return wire.task_id


def _snapshot(
    reply: Reply, wire: WireTask, raw: dict[str, Any], model: str | None
) -> TaskSnapshot:
    task_id = _task_id(reply, wire, raw)
    state = _word({"state": wire.state})
    if state is None:
        raise _misfit(reply, f"not a state: {printable(wire.state, 80)}", raw=raw)
    word = str(state)  # any, where the type checker sees four
    if word in _UNFINISHED:  # whatever else is in the answer
        return TaskSnapshot(task_id, state)
    ended: ImageResult | ApiModelsError
    if word == TaskState.FAILED:
        ended = _failure(wire, reply)
    elif word == TaskState.COMPLETED or _usable(wire.result_urls or ()):
        state, ended = TaskState.COMPLETED, _completed(reply, wire, raw, model)
    elif _runs(word):
        return TaskSnapshot(task_id, state)
    elif wire.fail_message or wire.fail_code:
        ended = _strange_end(reply, wire, raw, state)
    else:
        return TaskSnapshot(task_id, state)
    return TaskSnapshot(
        task_id,
        state,
        ended if isinstance(ended, ImageResult) else None,
        ended if isinstance(ended, ApiModelsError) else None,
        created_at=_from_ms(wire.create_time),
        answered_at=http_date(reply.headers.get("date", "")),
    )


def _runs(word: str) -> bool:
    """Return whether *word* is one for a task that runs, in whatever letters."""
    return word.strip().lower() in _UNFINISHED


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


def _strange_end(
    reply: Reply, wire: WireTask, raw: dict[str, Any], state: TaskState
) -> UnexpectedResponseError:
    # Only the word "failed" is known to be free of charge.
    reason = printable(wire.fail_message or wire.fail_code or "")
    msg = (
        f"task {wire.task_id} ended as {state.value!r}, a word that is not known: "
        f"{reason}; it may have been charged"
    )
    error = UnexpectedResponseError(
        msg, task_id=wire.task_id, status=reply.status, raw=raw
    )
    error.charged = None
    return error


def _completed(
    reply: Reply, wire: WireTask, raw: dict[str, Any], model: str | None
) -> ImageResult | UnexpectedResponseError:
    urls = _usable(wire.result_urls or ())
    if urls:
        return _task_result(wire, urls, raw, model)
    shown = ", ".join(printable(str(each), 80) for each in wire.result_urls or ())
    msg = f"task {wire.task_id} is completed but has no result URLs"
    if wire.result_urls:
        msg += f" that can be used: {printable(shown, 400)}"
    error = UnexpectedResponseError(
        msg, task_id=wire.task_id, status=reply.status, charged=True, raw=raw
    )
    if not wire.result_urls:  # one client in the wild saw them follow later
        raise error
    return error


def _task_result(
    wire: WireTask, urls: tuple[str, ...], raw: dict[str, Any], model: str | None
) -> ImageResult:
    created, completed = _from_ms(wire.create_time), _from_ms(wire.complete_time)
    lasted = (completed - created).total_seconds() if created and completed else None
    return ImageResult(
        urls=urls,
        task_id=wire.task_id,
        model=model or wire.model,
        credits=wire.credits,
        duration_s=lasted if lasted is None or lasted >= 0 else None,
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
        urls=_pictures(raw) or _addresses(reply, [wire.url], raw),
        model=model or wire.model,
        credits=wire.credits,
        duration_s=duration if duration is None or duration >= 0 else None,
        completed_at=at,
        expires_at=_expiry(at),
        raw=raw,
    )


def _openai_result(
    reply: Reply, body: dict[str, Any], model: str | None
) -> ImageResult:
    urls: list[Any] = []
    for item in body["data"]:
        if not isinstance(item, dict):
            urls.append(item)
            continue
        wire = _structure(reply, item, WireOpenAIImage)
        packed = picture_address(wire.b64_json)
        urls.append(usable_address(wire.url) or packed or wire.url or wire.b64_json)
    seconds = number(body.get("created"))
    at = _from_ms(seconds * 1000) if seconds is not None and seconds % 1 == 0 else None
    return ImageResult(
        urls=_addresses(reply, urls, body),
        model=model,
        completed_at=at,
        expires_at=_expiry(at),
        raw=body,
    )


def _addresses(reply: Reply, found: list[Any], raw: dict[str, Any]) -> tuple[str, ...]:
    """Return those of *found* that can be used, of an answer that is the picture."""
    if kept := _usable(found):
        return kept
    shown = ", ".join(printable(str(each), 80) for each in found if each)
    msg = f"not a result URL: {shown}" if shown else "no result URL"
    # An answer with a picture in it was paid for, even if that is of no use.
    raise _misfit(reply, msg, charged=True if shown else None, raw=raw)


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
