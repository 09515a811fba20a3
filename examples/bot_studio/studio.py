"""
The life of an order: sent picture by picture, watched, delivered, forgotten.

Stopping the bot cuts the watching, never an order on its way or a delivery begun; what
was accepted is taken up again by the next start. A paid request whose answer never came
is told of, and never sent again. A bot killed in the middle of a delivery delivers once
more.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import anyio

from apimodels_async import (
    ApiModelsError,
    DownloadError,
    ImageResult,
    SessionClosedError,
    TaskHandle,
)
from bot_studio.words import explain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from typing import Any

    from anyio.abc import TaskGroup

    from apimodels_async import Session
    from bot_studio.limits import Limits
    from bot_studio.store import Order, Store, Wish

logger = logging.getLogger("bot_studio")

EDIT_S = 2.0
"""Seconds between two edits of one message: what Telegram and Discord bear."""
CUT_OFF = (
    "I was restarted while ordering one picture. It may have been made and paid for, "
    "so I did not order it again."
)


class Desk(Protocol):
    """Where orders are answered: a chat service."""

    async def progress(self, order: Order, text: str) -> None:
        """Show how far an order is, in the message that acknowledged it."""
        ...

    async def deliver(self, order: Order, files: Sequence[Path], text: str) -> None:
        """Hand over the pictures, and *text* for what did not work."""
        ...


class Studio:
    """Orders under way. Use :meth:`open`."""

    def __init__(
        self,
        session: Session,
        store: Store,
        desk: Desk,
        limits: Limits,
        folder: Path,
        group: TaskGroup,
    ) -> None:
        self._session, self._store, self._desk = session, store, desk
        self._limits, self._folder, self._group = limits, folder, group

    @classmethod
    @asynccontextmanager
    async def open(
        cls, session: Session, store: Store, desk: Desk, limits: Limits, folder: Path
    ) -> AsyncIterator[Studio]:
        """Take up what a restart cut off, and new orders until it is left."""
        # anyio's: task.cancel() would go through the shields below.
        async with anyio.create_task_group() as group:
            studio = cls(session, store, desk, limits, folder, group)
            for order in await store.unfinished():
                limits.again(order.user)
                studio._start(order)
            try:
                yield studio
            finally:
                group.cancel_scope.cancel()

    async def take(self, user: str, place: dict[str, Any], wish: Wish) -> None:
        """
        Take an order; what comes of it goes to the desk.

        Raises:
            LimitError: The user may not order that now. The message is for them.
        """
        self._limits.enter(user, wish.count)
        try:
            order = await self._store.begin(user, place, wish)
        except BaseException:
            self._limits.leave(user)
            raise
        self._start(order)

    def _start(self, order: Order) -> None:
        self._group.start_soon(self._run, order, name=f"order-{order.number}")

    async def _run(self, order: Order) -> None:
        try:
            handles = await self._send(order)
            fates = await self._watch(order, handles)
            await self._deliver(order, fates)
        except SessionClosedError:
            logger.info("order %d waits for the next start", order.number)
        except Exception:
            # The chat service, mostly: the order stays in the store, and its tasks are
            # paid for. The next start tries again.
            logger.exception("order %d is not delivered yet", order.number)
        finally:
            self._limits.leave(order.user)

    async def _send(self, order: Order) -> list[TaskHandle]:
        """
        Order what was not ordered yet, one by one; return the handles of all tasks.
        """
        if order.begun > len(order.parts):  # a restart came between the two
            await self._store.answered(order, error=CUT_OFF)
        while len(order.parts) < order.wish.count:
            await self._store.sending(order)
            # Not cut by the bot's end: its answer is written down as well.
            with anyio.CancelScope(shield=True):
                part = await self._send_one(order.wish)
                await self._store.answered(order, **part)
            await anyio.lowlevel.checkpoint()
            if "error" in part:  # the next one would be told the same
                break
        return [
            self._session.images.attach(part["task"])
            for part in order.parts
            if "task" in part
        ]

    async def _send_one(self, wish: Wish) -> dict[str, str]:
        options = {"aspect_ratio": wish.aspect_ratio} if wish.aspect_ratio else {}
        try:
            handle = await self._session.images.submit(
                wish.prompt, model=wish.model, **options
            )
            return {"task": handle.to_token()}
        except ApiModelsError as error:
            if error.task_id is not None and error.charged is not False:
                # The answer broke off, and names the task all the same.
                logger.warning("task %s is taken up: %s", error.task_id, error)
                return {"task": error.task_id}
            logger.warning("not ordered: %s", error)
            return {"error": explain(error)}

    async def _watch(
        self, order: Order, handles: list[TaskHandle]
    ) -> list[ImageResult | ApiModelsError]:
        """Show progress until all have ended; return how."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._show, order, handles)
            fates = await asyncio.gather(*handles, return_exceptions=True)
            group.cancel_scope.cancel()
        closed = [fate for fate in fates if isinstance(fate, SessionClosedError)]
        if closed:
            raise closed[0]
        return [
            fate for fate in fates if isinstance(fate, (ImageResult, ApiModelsError))
        ]

    async def _show(self, order: Order, handles: list[TaskHandle]) -> None:
        shown = ""
        while True:
            states = Counter(handle.state.value for handle in handles)
            text = ", ".join(f"{count} {state}" for state, count in states.items())
            if text != shown:
                shown = text
                try:
                    await self._desk.progress(
                        order, f"{order.wish.prompt[:80]}: {text}"
                    )
                except Exception as error:  # noqa: BLE001  whatever a chat service has
                    logger.warning("progress is not shown: %s", error)
            await asyncio.sleep(EDIT_S)

    async def _deliver(
        self, order: Order, fates: list[ImageResult | ApiModelsError]
    ) -> None:
        files: list[Path] = []
        words = [part["error"] for part in order.parts if "error" in part]
        for index, fate in enumerate(fates):
            if isinstance(fate, ApiModelsError):
                logger.warning("task %s: %s", fate.task_id, fate)
                words.append(explain(fate))
                continue
            try:
                target = self._folder / f"{order.number}-{index}"
                files += await self._session.download_all(fate, target)
            except DownloadError as error:
                files += [Path(file) for file in error.saved]
                words.append(_unfetched(fate, error))
            except ApiModelsError as error:
                words.append(_unfetched(fate, error))
        # Cut off here, the next start would send the pictures a second time.
        with anyio.CancelScope(shield=True):
            await self._desk.deliver(order, files, "\n".join(dict.fromkeys(words)))
            await self._store.delivered(order)
        for file in files:
            await anyio.Path(file).unlink(missing_ok=True)


def _unfetched(result: ImageResult, error: ApiModelsError) -> str:
    logger.warning("task %s is not fetched: %s", result.task_id, error)
    return f"One picture is ready, but not fetched: {' '.join(result.urls)}"
