"""
One item of a batch, and where it is written down: in a journal, in the session's store,
or nowhere.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from attrs import define

from apimodels_async._api import requests
from apimodels_async._core.files.names import dump_files
from apimodels_async._core.money.records import dump_result
from apimodels_async._core.money.resume import OrderState
from apimodels_async.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence
    from decimal import Decimal
    from pathlib import Path

    from apimodels_async._core.money.orders import OrderRecord
    from apimodels_async._io.journal import Journal
    from apimodels_async._ports import Leave
    from apimodels_async.errors import ApiModelsError
    from apimodels_async.models import AnyRequest, ImageResult
    from apimodels_async.stores.sent import SentOrder

logger = logging.getLogger("apimodels_async.batch")


@define(eq=False)
class Item:
    """One item of a batch that reads as a request."""

    index: int
    request: AnyRequest
    price: Decimal
    key: str
    body: str
    """The request as it is sent, in JSON."""
    task_id: str | None = None
    """Of its task, once accepted, in this run or an earlier one."""
    result: ImageResult | None = None
    error: ApiModelsError | None = None


@define(eq=False)
class BatchRecord:
    """The record of one item's order: an ``OrderLog``."""

    item: Item
    journal: Journal | None = None
    stored: SentOrder | None = None
    again: bool = False
    """It is ordered once more after an order of unknown outcome."""
    durable: bool = False
    """Whether its task, or how it ended, would be known after a crash."""
    broken: JournalError | None = None
    """Why the journal no longer says what became of it."""

    @property
    def elsewhere(self) -> bool:
        """Whether another caller was seen sending it."""
        return self.stored is not None and self.stored.elsewhere

    @property
    def leave(self) -> Leave | None:
        """What must hold when it is sent."""
        return None if self.stored is None else self.stored.leave

    async def begin(self, nonce: str | None) -> OrderRecord | None:
        """
        Write down that the item is about to be ordered.

        Raises:
            JournalError: It is not written down.
        """
        if self.stored is not None:
            return await self.stored.begin(nonce)
        if self.journal is None:
            return None
        item = self.item
        model = requests.model_of(item.request)
        await self.journal.begin(
            item.key, item.index, model, item.body, item.price, nonce
        )
        return None

    async def accepted(self, task_id: str) -> None:
        """Write down the task that the API named."""
        if self.stored is not None:
            await self.stored.accepted(task_id)
            self.durable = self.stored.durable
        if self.journal is not None:
            await self._write(self.journal.accepted(self.item.key, task_id), task_id)

    # How it ended the runner writes into a journal, when it has settled the budget.

    async def ended(self, outcome: ImageResult | ApiModelsError) -> None:
        """Write down what its answer was, in the session's store."""
        if self.stored is not None:
            await self.stored.ended(outcome)

    def settled(self, outcome: ImageResult | ApiModelsError) -> None:
        """Write down how it ended, in the session's store."""
        if self.stored is not None:
            self.stored.settled(outcome)

    def found(self, task_id: str) -> None:
        """Write down its task, in the session's store."""
        if self.stored is not None:
            self.stored.found(task_id)

    def handed_over(self) -> None:
        """Do nothing: only the runner has it. See :meth:`given`."""

    def given(self) -> None:
        """Write down, by and by, that a reader has its outcome."""
        if self.stored is not None:
            self.stored.handed_over()

    async def completed(self, result: ImageResult) -> None:
        """Write down the result."""
        if self.journal is None:
            return
        write = self.journal.ended(
            self.item.key,
            OrderState.COMPLETED,
            task_id=result.task_id,
            cost=None if result.credits is None else str(result.credits),
            result=dump_result(result),
        )
        await self._write(write, result.task_id)

    async def failed(
        self, state: OrderState, task_id: str | None, error: ApiModelsError
    ) -> None:
        """Write down how it ended without a result."""
        if self.journal is None:
            return
        text = str(error)
        if self.again and state in {OrderState.REFUSED, OrderState.FAILED}:
            # Of this order alone. The one before may be paid for, and has no other row.
            state = OrderState.UNKNOWN
            text = f"an earlier order may have been charged; ordered again: {text}"
        write = self.journal.ended(self.item.key, state, task_id=task_id, error=text)
        await self._write(write, task_id)

    async def saved(self, paths: Sequence[Path], task_id: str | None) -> None:
        """Write down where its pictures are."""
        if self.stored is not None and paths:
            await self.stored.saved([str(path) for path in paths])
        if self.journal is not None and paths:
            files = dump_files(map(str, paths))
            await self._write(self.journal.saved(self.item.key, files), task_id)

    async def _write(self, write: Awaitable[None], task_id: str | None) -> None:
        # The money is spent: a full disk must not hide it, only stop further orders.
        try:
            await write
            self.durable = True
        except JournalError as error:
            logger.error("not in the journal: task %s (%s)", task_id, error)  # noqa: TRY400
            self.broken = self.broken or error
