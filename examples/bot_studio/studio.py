"""
The life of an order: sent picture by picture, watched, delivered, closed.

Stopping the bot cuts the watching, never a picture on its way or a delivery begun. The
next start recovers what was not delivered and goes through it again under the same
keys: what was bought is there, what was never sent is ordered, and what is of unknown
fate is told of. A bot killed in the middle of a delivery delivers once more.
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
    ImageRequest,
    ImageResult,
    JournalError,
    OutcomeUnknownError,
    Session,
    SessionClosedError,
    TaskHandle,
)
from bot_studio.orders import Order, Orders
from bot_studio.words import explain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from anyio.abc import TaskGroup

    from apimodels_async.stores import RecoveredOrder
    from bot_studio.limits import Limits

    Fate = ImageResult | ApiModelsError

logger = logging.getLogger("bot_studio")

EDIT_S = 2.0
"""Seconds between two edits of one message: what Telegram and Discord bear."""
LOOK_S = 20.0
"""Seconds between two looks for orders of a bot that was killed."""
CUT_OFF = (
    "I was restarted while ordering one picture. It may have been made and paid for, "
    "so I did not order it again."
)


class Desk(Protocol):
    """Where orders are answered: a chat service."""

    async def progress(self, order: Order, text: str) -> None:
        """Show how far an order is."""
        ...

    async def deliver(self, order: Order, files: Sequence[Path], text: str) -> None:
        """Hand over the pictures, and *text* for what did not work."""
        ...


class Studio:
    """Orders under way. Use ``open``."""

    def __init__(
        self,
        session: Session,
        store: Orders,
        desk: Desk,
        limits: Limits,
        folder: Path,
        group: TaskGroup,
    ) -> None:
        self._session, self._store, self._desk = session, store, desk
        self._limits, self._folder, self._group = limits, folder, group
        self._under_way: set[str] = set()

    @classmethod
    @asynccontextmanager
    async def open(
        cls, desk: Desk, limits: Limits, folder: Path
    ) -> AsyncIterator[Studio]:
        """Take up what a restart cut off, and new orders until it is left."""
        store = Orders(folder / "orders.sqlite")
        # anyio's: task.cancel() would go through the shield below.
        async with Session(store=store) as session, anyio.create_task_group() as group:
            studio = cls(session, store, desk, limits, folder, group)
            group.start_soon(studio._recover)
            try:
                yield studio
            finally:
                group.cancel_scope.cancel()

    async def take(self, order: Order) -> None:
        """
        Take an order; what comes of it goes to the desk.

        A message that comes a second time orders nothing.

        Raises:
            LimitError: The user may not order that now. The message is for them.
        """
        if order.name in self._under_way:
            return
        self._under_way.add(order.name)
        try:
            if await self._session.find(order.keys[0]) is not None:
                self._under_way.discard(order.name)
                return
            self._limits.enter(str(order.user), order.count)
        except BaseException:
            self._under_way.discard(order.name)
            raise
        self._group.start_soon(self._run, order, name=f"order {order.name}")

    async def _recover(self) -> None:
        while True:
            try:
                async for left in self._session.recover():
                    self._take_up(left)
            except JournalError as error:
                logger.warning("nothing is recovered now: %s", error)
            await asyncio.sleep(LOOK_S)

    def _take_up(self, left: RecoveredOrder) -> None:
        try:
            order = Order.recover(left.idempotency_key, left.request)
        except ValueError:
            logger.exception("order %s is none of ours", left.idempotency_key)
            return
        if order.name not in self._under_way:  # by another picture of it
            self._under_way.add(order.name)
            self._limits.again(str(order.user))
            self._group.start_soon(self._run, order, name=f"order {order.name}")

    async def _run(self, order: Order) -> None:
        try:
            await self._show(order, "ordering ...")
            products = [product async for product in self._send(order)]
            fates = await self._watch(order, products)
            await self._deliver(order, fates)
        except SessionClosedError:
            logger.info("order %s waits for the next start", order.name)
        except Exception:
            # The chat service, mostly: the order stays open in the store, and its tasks
            # are paid for. The next start tries again.
            logger.exception("order %s is not delivered yet", order.name)
        finally:
            self._under_way.discard(order.name)
            self._limits.leave(str(order.user))

    async def _send(self, order: Order) -> AsyncIterator[TaskHandle | ApiModelsError]:
        """Order each picture, as far as it is not; yield its task, or what failed."""
        for key in order.keys:
            try:
                yield await self._send_one(order.request, key)
            except SessionClosedError:
                raise
            except ApiModelsError as error:
                logger.warning("not ordered: %s", error)
                yield error
                if not (order.recovered and isinstance(error, OutcomeUnknownError)):
                    return  # the next one would be told the same

    async def _send_one(self, request: ImageRequest, key: str) -> TaskHandle:
        submit = self._session.images.submit
        try:
            return await submit(request, idempotency_key=key)
        except ApiModelsError as error:
            if error.task_id is None or error.charged is False:
                raise
            # The answer broke off, and named the task all the same.
            logger.warning("task %s is taken up: %s", error.task_id, error)
        return await submit(request, idempotency_key=key)

    async def _watch(
        self, order: Order, products: list[TaskHandle | ApiModelsError]
    ) -> list[Fate]:
        """Show progress until all have ended; return how."""
        handles = [each for each in products if isinstance(each, TaskHandle)]
        async with anyio.create_task_group() as group:
            group.start_soon(self._show_states, order, handles)
            ended = await asyncio.gather(*handles, return_exceptions=True)
            group.cancel_scope.cancel()
        fates: list[Fate] = [p for p in products if isinstance(p, ApiModelsError)]
        for fate in ended:
            if isinstance(fate, SessionClosedError):
                raise fate
            if isinstance(fate, (ImageResult, ApiModelsError)):
                fates.append(fate)
        return fates

    async def _show_states(self, order: Order, handles: list[TaskHandle]) -> None:
        shown = ""
        while True:
            states = Counter(handle.state.value for handle in handles)
            text = ", ".join(f"{count} {state}" for state, count in states.items())
            if text != shown:
                shown = text
                await self._show(order, text)
            await asyncio.sleep(EDIT_S)

    async def _show(self, order: Order, text: str) -> None:
        try:
            await self._desk.progress(order, f"{order.prompt[:80]}: {text}")
        except Exception as error:  # noqa: BLE001  whatever a chat service has
            logger.warning("progress is not shown: %s", error)

    async def _deliver(self, order: Order, fates: list[Fate]) -> None:
        files: list[Path] = []
        words: list[str] = []
        for index, fate in enumerate(fates):
            if isinstance(fate, ApiModelsError):
                logger.warning("task %s: %s", fate.task_id, fate)
                cut_off = order.recovered and isinstance(fate, OutcomeUnknownError)
                words.append(CUT_OFF if cut_off else explain(fate))
                continue
            try:
                target = self._folder / f"{order.name.replace('/', '-')}-{index}"
                files += await self._session.download_all(fate, target)
            except DownloadError as error:
                files += [Path(file) for file in error.saved]
                words.append(_unfetched(fate, error))
            except ApiModelsError as error:
                words.append(_unfetched(fate, error))
        # Cut off here, the next start would send the pictures a second time.
        with anyio.CancelScope(shield=True):
            await self._desk.deliver(order, files, "\n".join(dict.fromkeys(words)))
            for key in order.keys:
                record = await self._session.find(key)
                if record is not None:
                    await self._store.answered(record.attempt)
        for file in files:
            await anyio.Path(file).unlink(missing_ok=True)


def _unfetched(result: ImageResult, error: ApiModelsError) -> str:
    logger.warning("task %s is not fetched: %s", result.task_id, error)
    return f"One picture is ready, but not fetched: {' '.join(result.urls)}"
