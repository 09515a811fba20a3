"""
Many pictures under one bound: read as slots free up, handed over as they finish.

Rules of this file:
1. Failures of single items are values (``Outcome``); what stops the whole batch is
   raised after every paid outcome has been handed over.
2. Nothing that may be paid for is cut: leaving early cancels workers that wait for a
   task or a file, never one that is ordering.
3. An outcome stays in ``unread`` until the step in which ``anext`` returns it: there is
   no await between taking it out and returning, so a cancelled reader took nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, cast

import anyio
from attrs import define

from apimodels_async._core.money.digests import DIGEST_FORM
from apimodels_async._core.money.records import Keys
from apimodels_async._io.shielded import end_of, outcome_of
from apimodels_async.batch.folder import BatchFolder
from apimodels_async.batch.item import HaltError, ItemRunner
from apimodels_async.batch.source import items_of
from apimodels_async.errors import ConfigurationError
from apimodels_async.handle import TaskHandle
from apimodels_async.stores.store import ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
    from decimal import Decimal
    from pathlib import Path
    from types import TracebackType

    from apimodels_async import models
    from apimodels_async._core.money.budget import Budget
    from apimodels_async._io.files.destinations import Known
    from apimodels_async._saving import Provenance
    from apimodels_async.batch.outcome import Outcome
    from apimodels_async.batch.parts import Folder, Maker, Pending
    from apimodels_async.models import AnyRequest
    from apimodels_async.stores.sent import SentOrders


@define(frozen=True, kw_only=True)
class BatchOptions:
    """Validated options of one batch."""

    numbers: Iterator[int]
    """Of the items, in the source's order."""
    defaults: Mapping[str, Any]
    """Parameters of items that do not name them."""
    max_pending: int
    price_of: Callable[[AnyRequest], Decimal | float | None]
    journal: Path | None
    name: str | None
    download_to: Known | None
    folder: Folder | None = None
    """Instead of *download_to*."""
    provenance: Provenance
    retry_failed: bool
    resubmit_unknown: bool


class Batch:
    """
    Async context manager, and iterator of outcomes in the order they finish.

    Made by ``session.images.batch``; entered once. The source is read at most
    ``max_pending`` items ahead of what has been handed over. Any number of readers may
    iterate at once; each outcome goes to one of them.
    """

    def __init__(
        self,
        source: Iterable[object] | AsyncIterable[object],
        runtime: Maker,
        budget: Budget,
        options: BatchOptions,
    ) -> None:
        self._source = items_of(source)
        self._runtime = runtime
        self._budget = budget
        self._options = options
        self._journal: SentOrders | None = None
        self._pending: dict[int, Pending] = {}
        self._runner: ItemRunner
        self._turn = asyncio.Lock()
        self._ended_items: deque[tuple[Outcome, asyncio.Future[None] | None]] = deque()
        """Not handed over yet, each with what its worker waits for."""
        self._interrupted: list[models.Outcome] = []
        """Paid results of items that were left while they were being saved."""
        self._news: asyncio.Future[None] | None = None
        """What readers wait for."""
        self._entered = False
        self._begun = False
        """Its workers were started."""
        self._stopped = False
        self._left = False
        self._broken: BaseException | None = None
        """An error of the source's, or a bug of ours."""
        self._workers: set[asyncio.Task[None]] = set()
        self._cuttable: set[asyncio.Task[None]] = set()

    @property
    def pending(self) -> tuple[TaskHandle, ...]:
        """Paid tasks of this batch that have not ended; tracked also after leaving."""
        return tuple(
            each for each in self._pending.values() if isinstance(each, TaskHandle)
        )

    @property
    def unread(self) -> tuple[Outcome, ...]:
        """
        What has ended, paid for or not, and was not handed over.

        An item that was left while its pictures were being saved is here with its
        result and no path.
        """
        ended = (outcome for outcome, _ in self._ended_items)
        return (*ended, *cast("list[Outcome]", self._interrupted))

    @property
    def spent(self) -> Decimal:
        """
        US dollars on results, by the API's own figure, or by price where it gave none.
        """
        return self._budget.spent

    @property
    def reserved(self) -> Decimal:
        """US dollars on orders under way and on unknown outcomes, by price."""
        return self._budget.reserved

    def _repr_html_(self) -> str:
        """Return how a notebook shows it now; hands nothing over."""
        from apimodels_async._notebook.html import card

        facts = {
            "batch": "under way" if self._workers else "ended",
            "tasks pending": len(self.pending),
            "ended, not handed over": len(self.unread),
            "spent": f"${self.spent}",
            "reserved": f"${self.reserved}",
        }
        return card(facts if self._begun else {"batch": "not begun: async with ..."})

    async def __aenter__(self) -> Self:
        """
        Open the journal, if there is one, and begin to order.

        Raises:
            ConfigurationError: It was entered before. Nothing was sent.
            SessionClosedError: The session is closed. Nothing was sent.
            JournalError: The journal cannot be used. Nothing was sent.
        """
        if self._entered:
            msg = "a batch is entered once: make another with session.images.batch(...)"
            raise ConfigurationError(msg)
        self._entered = True
        self._runner = self._make_runner()
        if self._runner.prefix is not None and self._runner.orders is not None:
            await self._open(self._runner.orders, self._runner.prefix)
        loop = asyncio.get_running_loop()
        for number in range(self._options.max_pending):
            worker = loop.create_task(self._work(), name=f"apimodels-batch-{number}")
            self._workers.add(worker)
            worker.add_done_callback(self._on_worker_ended)
        self._begun = True  # no await since the first worker: nobody was cancelled
        return self

    async def _open(self, orders: SentOrders, prefix: str) -> None:
        for each in orders.after:
            await end_of(each)
        try:
            if self._journal is None:
                await orders.open()
            else:  # cancelled here, nobody has what is opened, and leave() closes it
                await outcome_of(orders.write(orders.open()))
            # The limit is for all runs together. Of the items alone: a batch "a/b" is
            # another one, and "a/msg7" may be a key of the user's own.
            prefix = prefix and f"{prefix}{DIGEST_FORM}:"
            sums = await ask(orders.store.money, orders.scope, prefix)
            self._budget.spent, self._budget.reserved = sums
        except BaseException:  # cancelled here, nobody would leave and close it
            if self._journal is not None:
                with anyio.CancelScope(shield=True):
                    await end_of(self._journal.leave())
            raise

    def _make_runner(self) -> ItemRunner:
        parts, options = self._runtime.open(), self._options
        folder = options.folder
        if options.download_to is not None:
            place = parts.saver.places.place(options.download_to, folder=True)
            folder = BatchFolder(parts.saver, place, options.provenance)
        prefix = None if options.name is None else f"{options.name}/"
        if options.journal is not None:
            self._journal, prefix = self._runtime.journal(options.journal), ""
        return ItemRunner(
            ordering=parts.ordering,
            budget=self._budget,
            orders=self._journal or parts.orders,
            private=self._journal is not None,
            prefix=prefix,
            folder=folder,
            defaults=options.defaults,
            price_of=options.price_of,
            keys=Keys(),
            may_cut=self._may_cut,
            retry_failed=options.retry_failed,
            resubmit_unknown=options.resubmit_unknown,
            pending=self._pending,
            interrupted=self._interrupted,
        )

    def _on_worker_ended(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        if not worker.cancelled() and (error := worker.exception()) is not None:
            self._stopped = True
            self._broken = self._broken or error
        if not self._workers:
            self._wake_readers()

    async def _work(self) -> None:
        while (found := await self._next()) is not None:
            try:
                outcome = cast("Outcome", await self._runner.run(*found))
            except HaltError:
                return
            handed_over: asyncio.Future[None] = (
                asyncio.get_running_loop().create_future()
            )
            self._ended_items.append((outcome, handed_over))
            self._wake_readers()
            with self._may_cut():  # the outcome is in unread
                await handed_over

    async def _next(self) -> tuple[int, object] | None:
        # One worker at a time: two cannot be inside one generator. Leaving does not
        # wait for a source that has nothing to give.
        with self._may_cut():
            async with self._turn:
                return await self._read_one()

    async def _read_one(self) -> tuple[int, object] | None:
        if self._stopped or self._runner.halted is not None:
            return None
        try:
            found = await anext(self._source)
        except StopAsyncIteration:
            self._stopped = True
            return None
        return next(self._options.numbers), found

    @contextmanager
    def _may_cut(self) -> Iterator[None]:
        worker = cast("asyncio.Task[None]", asyncio.current_task())
        self._cuttable.add(worker)
        if self._left:
            worker.cancel()
        try:
            yield
        finally:
            self._cuttable.discard(worker)

    def _wake_readers(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def __aiter__(self) -> Self:
        if self._left:
            msg = (
                "this batch was left: iterate it inside its `async with`; what it did "
                "not hand over is in outcomes.unread and outcomes.pending"
            )
            error = ConfigurationError(msg)
            error.charged = None  # what it ordered may have been
            raise error
        return self

    async def __anext__(self) -> Outcome:
        """
        Return the next outcome; a reader that is cancelled leaves it in ``unread``.

        Raises:
            ConfigurationError: The batch was not entered; or the place that its
                pictures go to cannot be written to: nothing was ordered.
            BudgetExceededError: ``max_cost`` would have been passed, and nothing that
                was under way could make room.
            InsufficientCreditsError, AuthenticationError, PermissionDeniedError,
            SessionClosedError, JournalError: What made it stop ordering.
        """
        if not self._entered:
            msg = (
                "enter the batch first: async with session.images.batch(...) as "
                "outcomes (without async in apimodels_async.sync); nothing is ordered "
                "before that"
            )
            raise ConfigurationError(msg)
        while not self._ended_items:
            if not self._workers:
                raise self._end()
            if self._news is None or self._news.done():
                self._news = asyncio.get_running_loop().create_future()
            # Shared by all readers, so the cancellation of one is its own.
            await asyncio.shield(self._news)
        outcome, handed_over = self._ended_items.popleft()
        if handed_over is not None and not handed_over.done():  # its worker may be gone
            handed_over.set_result(None)
        self._runner.given(outcome.index)
        return outcome

    def _put_back(self, outcome: Outcome) -> None:
        """Take an outcome back from a reader who did not get it; from any thread."""
        self._ended_items.appendleft((outcome, None))

    async def _give_up(self) -> None:
        """Leave a batch that nobody holds: what was paid for becomes orphans."""
        if not self._begun:
            return
        try:
            await self.__aexit__(None, None, None)
        finally:
            found = [outcome.result or outcome.error for outcome in self.unread]
            for each in (*self.pending, *found):
                self._runner.ordering.keep(each)

    def _stop_ordering(self) -> None:
        """Order nothing more, what waits for money included; what is under way ends."""
        self._stopped = True
        self._runner.halt()

    def _end(self) -> BaseException:
        return self._broken or self._runner.halted or StopAsyncIteration()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopped = self._left = True
        for worker in list(self._cuttable):
            worker.cancel()
        try:
            await self._all_gone()
        finally:
            # Still there only if we were cancelled while we waited: leave now. Orders
            # under way go on in the session.
            for worker in list(self._workers):
                worker.cancel()
            # Tasks of their own: however often we are cancelled, they go on.
            going = asyncio.get_running_loop().create_task(
                self._go(), name="apimodels-batch-going"
            )
            leaving = None if self._journal is None else self._journal.leave(going)
            with anyio.CancelScope(shield=True):
                try:
                    await outcome_of(going)
                finally:
                    # With orders under way we were cancelled while we waited for them:
                    # the session waits for the journal, or who opens it next.
                    if leaving is not None and not self._orders_under_way:
                        await end_of(leaving)

    @property
    def _orders_under_way(self) -> bool:
        return self._journal is not None and self._journal.under_way

    async def _all_gone(self) -> None:
        if self._workers:
            await asyncio.wait(set(self._workers))

    async def _go(self) -> None:
        await self._all_gone()  # none may be inside the source
        await self._source.aclose()
