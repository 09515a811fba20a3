"""
Many pictures under one bound: read as slots free up, handed over as they finish.

Rules of this file:
1. Failures of single items are values (:class:`Outcome`); what stops the whole batch is
   raised after every paid outcome has been handed over.
2. Nothing that may be paid for is cut: leaving early cancels workers that wait for a
   task or a file, never one that is ordering.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self, cast

import anyio

from apimodels_async._core.records import Keys
from apimodels_async._orders import HaltError, Orders
from apimodels_async.errors import InvalidRequestError
from apimodels_async.models import Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Iterator
    from decimal import Decimal
    from types import TracebackType

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    from apimodels_async._core.purse import Purse
    from apimodels_async._io.journal import Journal
    from apimodels_async._orders import Calls
    from apimodels_async.handle import TaskHandle


class Batch:
    """
    Async context manager, and iterator of outcomes in the order they finish.

    Made by ``session.images.batch``. The source is read at most ``max_pending`` items
    ahead of what has been handed over.
    """

    def __init__(
        self,
        source: Iterable[object] | AsyncIterable[object],
        calls: Calls,
        purse: Purse,
        journal: Journal | None,
        *,
        numbers: Iterator[int],
        max_pending: int,
        retry_failed: bool,
        resubmit_unknown: bool,
    ) -> None:
        self._source = _each(source)
        self._numbers = numbers
        self._journal = journal
        self._max_pending = max_pending
        self._orders = Orders(
            calls=calls,
            purse=purse,
            journal=self._journal,
            keys=Keys(seen=Counter()),
            may_cut=self._may_cut,
            retry_failed=retry_failed,
            resubmit_unknown=resubmit_unknown,
        )
        self._turn = asyncio.Lock()
        self._unread: list[Outcome] = []
        self._stopped = False
        self._left = False
        self._broken: BaseException | None = None
        """An error of the source's, or a bug of ours."""
        self._workers: set[asyncio.Task[None]] = set()
        self._cuttable: set[asyncio.Task[None]] = set()
        self._outbox: MemoryObjectSendStream[Outcome]
        self._inbox: MemoryObjectReceiveStream[Outcome]

    @property
    def pending(self) -> tuple[TaskHandle, ...]:
        """
        Paid tasks of this batch that have not ended; tracked also after leaving early.
        """
        return tuple(self._orders.pending.values())

    @property
    def unread(self) -> tuple[Outcome, ...]:
        """
        What had ended, paid for or not, and was not handed over when you left early.
        """
        return tuple(self._unread)

    @property
    def spent(self) -> Decimal:
        """
        US dollars on results, by the API's own figure, or by price where it gave none.
        """
        return self._orders.purse.spent

    @property
    def reserved(self) -> Decimal:
        """
        US dollars on orders under way and on unknown outcomes, by price.
        """
        return self._orders.purse.reserved

    async def __aenter__(self) -> Self:
        if self._journal is not None:
            await self._journal.open()
            purse = self._orders.purse  # the limit is for all runs together
            purse.spent, purse.reserved = await self._journal.sums()
        self._outbox, self._inbox = anyio.create_memory_object_stream[Outcome](0)
        loop = asyncio.get_running_loop()
        for number in range(self._max_pending):
            worker = loop.create_task(self._work(), name=f"apimodels-batch-{number}")
            self._workers.add(worker)
            worker.add_done_callback(self._ended)
        return self

    def _ended(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        if not worker.cancelled() and (error := worker.exception()) is not None:
            self._stopped = True
            self._broken = self._broken or error
        if not self._workers:
            self._outbox.close()

    async def _work(self) -> None:
        while (found := await self._next()) is not None:
            try:
                outcome = await self._orders.run(*found)
            except HaltError as halt:
                self._orders.halted = self._orders.halted or halt.reason
                return
            try:
                await self._outbox.send(outcome)
            except anyio.BrokenResourceError:  # left early: nobody reads any more
                self._unread.append(outcome)
                return

    async def _next(self) -> tuple[int, object] | None:
        # One worker at a time: two cannot be inside one generator. Leaving does not
        # wait for a source that has nothing to give.
        with self._may_cut():
            async with self._turn:
                return await self._read_one()

    async def _read_one(self) -> tuple[int, object] | None:
        if self._stopped or self._orders.halted is not None:
            return None
        try:
            found = await anext(self._source)
        except StopAsyncIteration:
            self._stopped = True
            return None
        return next(self._numbers), found

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

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        """
        Return the next outcome.

        Raises:
            BudgetExceededError: ``max_cost`` would have been passed.
            InsufficientCreditsError, AuthenticationError, PermissionDeniedError,
            SessionClosedError, JournalError: What made it stop ordering.
        """
        try:
            return await self._inbox.receive()
        except anyio.EndOfStream:
            pass
        stopped_by = self._broken or self._orders.halted
        if stopped_by is not None:
            raise stopped_by
        raise StopAsyncIteration

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopped = self._left = True
        self._inbox.close()  # workers that want to hand over go home
        for worker in list(self._cuttable):
            worker.cancel()
        try:
            await self._all_gone()
        finally:
            # Still there only if we were cancelled while we waited: leave now.
            for worker in list(self._workers):
                worker.cancel()
            with anyio.CancelScope(shield=True):
                await self._close()

    async def _all_gone(self) -> None:
        if self._workers:
            await asyncio.wait(set(self._workers))

    async def _close(self) -> None:
        try:
            await self._all_gone()  # none may be inside the source or the journal
            await self._source.aclose()
        finally:
            self._outbox.close()
            if self._journal is not None:
                await self._journal.aclose()


def _each(
    source: Iterable[object] | AsyncIterable[object],
) -> AsyncGenerator[object, None]:
    if isinstance(source, (str, bytes, Mapping)):
        msg = "a batch takes a list or an iterator of prompts, not a single one"
        raise InvalidRequestError(msg, parameter="source")
    return _read_async(source) if isinstance(source, AsyncIterable) else _read(source)


async def _read(source: Iterable[object]) -> AsyncGenerator[object, None]:
    for found in source:
        yield found


async def _read_async(source: AsyncIterable[object]) -> AsyncGenerator[object, None]:
    async for found in source:
        yield found
