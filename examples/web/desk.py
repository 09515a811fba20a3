"""
What the recipes share: the session of a process, notes of what was paid, errors.

A client that hangs up must not lose what it paid for. So an order runs in a task of the
desk's own, and what the API accepted is in the notes before anybody is answered. The
notes are one JSON object a line; any number of workers may share them.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio

from apimodels_async import (
    ApiModelsError,
    BadRequestError,
    DownloadError,
    GenerationFailedError,
    InvalidRequestError,
    OutcomeUnknownError,
    RateLimitError,
    Session,
    SessionClosedError,
    TaskNotFoundError,
    TaskTimeoutError,
    TransportError,
)

WAIT_MAX_S = 20.0  # below the 30 s after which proxies begin to give up
T = TypeVar("T")


class Desk:
    """Takes orders for one process; made by :func:`open_desk`."""

    def __init__(self, session: Session, notes: Path) -> None:
        self._session = session
        self._notes = notes
        self._orders: set[asyncio.Task[Any]] = set()

    async def draw(self, prompt: str) -> dict[str, Any]:
        """Make a picture with the model that answers at once. Costs money."""
        return await self._keep(self._draw(prompt))

    async def submit(self, prompt: str, model: str) -> dict[str, Any]:
        """Order a picture and return its task id. Costs money."""
        return await self._keep(self._submit(prompt, model))

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

    async def aclose(self) -> None:
        """Wait for orders under way: their answers say what was paid."""
        if self._orders:
            await asyncio.wait(self._orders)

    async def _draw(self, prompt: str) -> dict[str, Any]:
        result = await self._session.images.generate(prompt)
        await self._note(prompt=prompt, url=result.url)
        return {"url": result.url}

    async def _submit(self, prompt: str, model: str) -> dict[str, Any]:
        handle = await self._session.images.submit(prompt, model=model)
        await self._note(prompt=prompt, task_id=handle.task_id)
        return {"task_id": handle.task_id, "state": handle.state}

    async def _keep(self, order: Coroutine[Any, Any, T]) -> T:
        task = asyncio.get_running_loop().create_task(order, name="order")
        self._orders.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)  # a caller who hangs up cancels only itself

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._orders.discard(task)
        if not task.cancelled():
            task.exception()  # seen, also when the caller is gone

    async def _note(self, **facts: str) -> None:
        await anyio.to_thread.run_sync(self._append, json.dumps(facts) + "\n")

    def _append(self, line: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        number = os.open(self._notes, flags, 0o600)
        try:
            os.write(number, line.encode())  # one write: lines of workers do not mix
            os.fsync(number)
        finally:
            os.close(number)


@asynccontextmanager
async def open_desk() -> AsyncIterator[Desk]:
    """
    Open the one session of this process; key and base URL come from the environment.

    On the way out orders under way are let finish. Accepted tasks go on without us, and
    their ids are in the notes: whoever asks for one, asks the next process.
    """
    notes = Path(os.environ.get("ORDERS", "orders.jsonl"))
    async with Session() as session:
        desk = Desk(session, notes)
        try:
            yield desk
        finally:
            await desk.aclose()


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
