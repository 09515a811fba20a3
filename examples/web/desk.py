"""
What the recipes share: the session of a process with its store of orders, and errors.

A client that hangs up must not lose what it paid for, nor may one that asks again pay
twice. So every order is in the store before it is sent, and a client names its order in
the header ``Idempotency-Key``: again it gets the same answer, from whatever worker. Any
number of workers of one machine may share the store.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from apimodels_async import (
    ApiModelsError,
    BadRequestError,
    DownloadError,
    GenerationFailedError,
    InvalidRequestError,
    JournalError,
    OutcomeUnknownError,
    RateLimitError,
    Session,
    SessionClosedError,
    TaskNotFoundError,
    TaskTimeoutError,
    TransportError,
)
from apimodels_async.stores import RecoveredOrder

WAIT_MAX_S = 20.0  # below the 30 s after which proxies begin to give up
LOOK_S = 30.0  # between two looks for what a dead worker left
logger = logging.getLogger("desk")


class Desk:
    """Takes orders for one process; made by :func:`open_desk`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def draw(self, prompt: str, key: str | None) -> dict[str, Any]:
        """
        Make a picture with the model that answers at once. Costs money, once
        for each *key*.
        """
        result = await self._session.images.generate(prompt, idempotency_key=key)
        return {"url": result.url}

    async def submit(self, prompt: str, model: str, key: str | None) -> dict[str, Any]:
        """Order a picture and return its task id. Costs money, once for each *key*."""
        handle = await self._session.images.submit(
            prompt, model=model, idempotency_key=key
        )
        return {"task_id": handle.task_id, "state": handle.state}

    async def look(self, task_id: str, wait: float = 0.0) -> dict[str, Any]:
        """
        Return how a task is, after at most *wait* seconds; free.

        Any worker can answer: the first look attaches the task. Look up only ids that
        you handed out: each one is polled until it ends.
        """
        handle = self._session.images.attach(task_id)
        shown: dict[str, Any] = {"task_id": handle.task_id}
        try:
            result = await handle.result(timeout=max(0.0, min(wait, WAIT_MAX_S)))
        except TaskTimeoutError:
            if handle.done:  # the task's own deadline, not this caller's patience
                raise
            return shown | {"state": handle.state, "urls": []}
        return shown | {"state": handle.state, "urls": result.urls}

    async def take_over(self) -> None:
        """See to the end what dead workers left, for ever; orders nothing."""
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    async for order in self._session.recover():
                        group.create_task(self._see_to(order))
                except JournalError as error:
                    logger.warning("nothing is recovered now: %s", error)
                await asyncio.sleep(LOOK_S)

    async def _see_to(self, order: RecoveredOrder) -> None:
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


@asynccontextmanager
async def open_desk() -> AsyncIterator[Desk]:
    """
    Open the one session of this process; key and base URL come from the environment.

    On the way out orders under way are let finish. Accepted tasks go on without us, and
    are in the store: the next process takes them over.
    """
    store = os.environ.get("ORDERS", "orders.sqlite")
    async with Session(store=store) as session:
        desk = Desk(session)
        taking_over = asyncio.create_task(desk.take_over())
        try:
            yield desk
        finally:
            taking_over.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await taking_over


# --- errors ----------------------------------------------------------------------

STATUSES: tuple[tuple[type[ApiModelsError], int], ...] = (
    (InvalidRequestError, 400),
    (BadRequestError, 400),
    (TaskNotFoundError, 404),
    (GenerationFailedError, 422),  # refused by the content policy, or it just failed
    (RateLimitError, 429),
    (OutcomeUnknownError, 502),
    (DownloadError, 502),
    (TransportError, 503),
    (SessionClosedError, 503),
    (TaskTimeoutError, 504),
)
OUR_TROUBLE = 503  # no credit, bad key: nothing the client could do about it


def answer_to(error: ApiModelsError) -> tuple[int, dict[str, str], dict[str, Any]]:
    """
    Return status, headers and body for *error*.

    ``repeat`` says whether the client may send the same request again.
    """
    status = next((code for kind, code in STATUSES if isinstance(error, kind)), None)
    ours = status is None
    body = {
        "error": type(error).__name__.removesuffix("Error"),
        "message": "The picture service is not available." if ours else str(error),
        "charged": error.charged,
        "repeat": error.charged is False,
        "task_id": error.task_id,
    }
    if isinstance(error, OutcomeUnknownError):
        body["message"] = (
            "The order was sent and its outcome is not known. Do not repeat it: "
            "that could pay twice."
        )
    headers = {}
    if isinstance(error, RateLimitError):
        headers["Retry-After"] = str(round(error.retry_after or 5))
    elif ours or isinstance(error, (TransportError, SessionClosedError)):
        headers["Retry-After"] = "30"
    return status or OUR_TROUBLE, headers, body
