"""
What every web framework needs: an HTTP answer for each error, and one open session.

Rules of this file:
1. An answer invites to repeat (429, 503, Retry-After) only what is known to be free: a
   client, or a proxy, that takes the invitation must not pay twice.
2. What the client cannot mend is told in words of ours. Addresses, paths and what the
   account is like are for the log.
"""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from apimodels_async._text import printable
from apimodels_async.errors import (
    ApiModelsError,
    BadRequestError,
    BudgetExceededError,
    ConfigurationError,
    DownloadError,
    GenerationFailedError,
    InsufficientCreditsError,
    InvalidRequestError,
    JournalError,
    OutcomeUnknownError,
    RateLimitError,
    ResultExpiredError,
    SessionClosedError,
    TaskNotFoundError,
    TaskTimeoutError,
    UnexpectedResponseError,
)
from apimodels_async.session import Session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from apimodels_async.stores.recovered import RecoveredOrder

__all__ = ["Answer", "answer_to", "log_error", "open_session"]

BAD_GATEWAY: Final = 502
UNAVAILABLE: Final = 503
INVITING: Final = frozenset({429, UNAVAILABLE})
"""Statuses after which programs send the same again by themselves."""
RETRY_S: Final = 30
LOOK_S: Final = 30.0
"""Between two looks for what a dead process left."""
logger: logging.Logger = logging.getLogger("apimodels_async.web")


@frozen
class Answer:
    """What an HTTP client is told of an error."""

    status: int
    """HTTP status."""
    headers: dict[str, str]
    """``Retry-After``, where the same may be sent again after a while."""
    body: dict[str, Any]
    """
    For JSON: ``error`` (the class, without "Error"), ``message``, ``charged`` (true,
    false, or null where that is not known), ``repeat`` (whether sending the same again
    is safe), ``task_id`` and ``parameter`` (what was wrong with the input), or null.
    """


@frozen
class _Row:
    status: int
    message: str | None
    """None: the error's own, which is about the client's input or picture."""
    retry_s: int | None = None


_ROWS: Final[tuple[tuple[type[ApiModelsError], _Row], ...]] = (
    (InvalidRequestError, _Row(400, None)),
    (BadRequestError, _Row(400, None)),
    (GenerationFailedError, _Row(422, None)),
    (RateLimitError, _Row(429, "Too many pictures are being ordered.", 5)),
    (InsufficientCreditsError, _Row(402, "This service is out of credit.", 300)),
    (BudgetExceededError, _Row(402, "What may be spent here is spent.")),
    (TaskNotFoundError, _Row(404, "Nothing is known of this task.")),
    (ResultExpiredError, _Row(410, "The picture is gone; it was kept for 7 days.")),
    (DownloadError, _Row(BAD_GATEWAY, "The picture is made; its file did not come.")),
    (
        OutcomeUnknownError,
        _Row(
            BAD_GATEWAY,
            "The order was sent and its outcome is not known. Do not repeat it: that "
            "could pay twice.",
        ),
    ),
    (TaskTimeoutError, _Row(504, "It is not ready yet: ask for its task again.")),
    (UnexpectedResponseError, _Row(BAD_GATEWAY, "The answer could not be read.")),
    (ConfigurationError, _Row(500, "This service is not set up right.")),
)
"""Class -> what is told of it, the first that fits."""
_OTHERS: Final = _Row(UNAVAILABLE, "The picture service is not available.", RETRY_S)
"""Not reached, key refused, store broken, closing: nothing that a client could mend."""
_OPEN: Final = _Row(BAD_GATEWAY, "It may have been charged: do not repeat it.")


def answer_to(error: ApiModelsError) -> Answer:
    """
    Return the HTTP answer for *error*; it shows no address, path or key of ours.

    - 400: refused as invalid, here or by the API; the message says what to mend
    - 402: no credit left, or the budget is spent
    - 404: the API does not know the task
    - 410: the picture is gone
    - 422: the generation failed (content policy, say); the message says why
    - 429: too many orders; ``Retry-After``
    - 500: the session is not set up right
    - 502: sent, and the outcome is not known; or an answer, or a file, that is no use
    - 503: the API cannot be reached or does not accept the key; ``Retry-After``
    - 504: not ready in time; ``task_id`` names what to ask for again
    """
    row = next((row for kind, row in _ROWS if isinstance(error, kind)), _OTHERS)
    free = error.charged is False
    if row.status in INVITING and not free:
        row = _OPEN
    headers = {}
    if row.retry_s is not None and free:
        asked = getattr(error, "retry_after", None) or row.retry_s
        headers["Retry-After"] = str(max(1, math.ceil(asked)))
    body = {
        "error": type(error).__name__.removesuffix("Error"),
        "message": printable(error.message) if row.message is None else row.message,
        "charged": error.charged,
        "repeat": free,
        "task_id": error.task_id,
        "parameter": getattr(error, "parameter", None),
    }
    return Answer(row.status, headers, body)


def log_error(error: ApiModelsError, answer: Answer) -> None:
    """
    Log what the client is not told; logger ``apimodels_async.web``.

    WARNING where the service is at fault, INFO where the client is.
    """
    theirs = answer.status in {400, 404, 410, 422}
    level = logging.INFO if theirs else logging.WARNING
    logger.log(level, "answered %d: %s: %s", answer.status, type(error).__name__, error)


@asynccontextmanager
async def open_session(
    make_session: Callable[[], Session] = Session, *, recover: bool = False
) -> AsyncIterator[Session]:
    """
    Open one session for the body, which is the life of a web application.

    On the way out orders under way are let finish, within ``Timeouts(close=...)``.

    Args:
        make_session: Called here, in the process and event loop that serve.

        recover: Also see to the end what dead processes left in the session's store,
            now and every 30 s, so that whoever asks again under an idempotency key has
            the answer. Orders nothing. Not for programs that call
            ``session.recover()`` themselves.

    Raises:
        ConfigurationError: The session cannot be set up, or *recover* without a store.
    """
    async with make_session() as session:
        if not recover:
            yield session
            return
        session._need_store()  # noqa: SLF001  ours; refuses before anybody is served
        following = asyncio.create_task(_recover(session), name="apimodels-web-recover")
        following.add_done_callback(_on_recovery_ended)
        try:
            yield session
        finally:
            following.cancel()
            # Cancelled here, nothing is lost: its orders stay in the store.
            await asyncio.wait([following])


async def _recover(session: Session) -> None:
    async with asyncio.TaskGroup() as group:
        while True:
            try:
                async for order in session.recover():
                    group.create_task(_see_through(order))
            except JournalError as error:
                logger.warning("nothing is recovered now: %s", error)
            await asyncio.sleep(LOOK_S)


async def _see_through(order: RecoveredOrder) -> None:
    """Let the store know how *order* ended, for whoever comes with its key."""
    try:
        await order.result()
    except (SessionClosedError, TaskTimeoutError):
        return  # it is recovered again
    except ApiModelsError as error:
        logger.warning("order %s: %s", order.idempotency_key, error)
    try:
        await order.ack()
    except JournalError as error:
        logger.warning("order %s comes again: %s", order.idempotency_key, error)


def _on_recovery_ended(following: asyncio.Task[None]) -> None:
    if not following.cancelled() and (error := following.exception()) is not None:
        logger.error("orders are no longer recovered", exc_info=error)
