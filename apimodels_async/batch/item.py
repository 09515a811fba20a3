"""
Runs one batch item from its request to its outcome.

Rules of this file:
1. With a journal: no record, no order. What cannot be recorded afterwards is logged
   with its task id, and ordering stops; the paid result is handed over all the same.
2. What may have been paid for in an earlier run is attached or reported, never ordered
   anew without being told to.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import anyio
from attrs import define, evolve, field

from apimodels_async._api import checks, requests
from apimodels_async._core.files.names import load_files
from apimodels_async._core.money.records import load_result, read_amount
from apimodels_async._core.money.resume import OrderState, Step, next_step, state_after
from apimodels_async._text import printable
from apimodels_async.batch.record import BatchRecord, Item
from apimodels_async.errors import (
    ApiModelsError,
    AuthenticationError,
    BudgetExceededError,
    GenerationFailedError,
    InsufficientCreditsError,
    InvalidRequestError,
    JournalError,
    OutcomeUnknownError,
    PermissionDeniedError,
    SessionClosedError,
)
from apimodels_async.models import ImageResult, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from apimodels_async._core.money.budget import Budget
    from apimodels_async._core.money.records import Keys
    from apimodels_async._core.money.resume import Record
    from apimodels_async._io.journal import Journal
    from apimodels_async._ordering import Ordering
    from apimodels_async._saving import BatchFolder
    from apimodels_async.handle import Product, TaskHandle
    from apimodels_async.models import (
        AnyRequest,
    )
    from apimodels_async.stores.sent import SentOrders

logger = logging.getLogger("apimodels_async.batch")

STOPS: Final = (
    AuthenticationError,
    InsufficientCreditsError,
    PermissionDeniedError,
    SessionClosedError,
)
"""What the next order would be told as well."""


class HaltError(Exception):
    """Nothing more may be ordered. Stays inside the batch."""

    def __init__(self, reason: ApiModelsError) -> None:
        super().__init__(reason)
        self.reason = reason


@define(eq=False, kw_only=True)
class ItemRunner:
    """Runs the items of one batch, one at a time in each of its workers."""

    ordering: Ordering
    budget: Budget
    journal: Journal | None
    orders: SentOrders | None
    """The session's, where it has a store."""
    name: str | None
    """Of the batch within the store."""
    folder: BatchFolder | None
    price_of: Callable[[AnyRequest], Decimal | float | None]
    keys: Keys
    may_cut: Callable[[], AbstractContextManager[None]]
    """Marks a wait that is safe to cancel: nothing paid for is lost by it."""
    retry_failed: bool
    resubmit_unknown: bool
    halted: ApiModelsError | None = None
    """Why nothing more is ordered."""
    pending: dict[str, TaskHandle] = field(factory=dict)
    records: dict[int, BatchRecord] = field(factory=dict)
    """Of stored items whose outcomes nobody has yet, by number."""
    interrupted: list[Outcome] = field(factory=list)
    """Ends of items that were cancelled before they were handed over."""

    async def run(self, index: int, found: object) -> Outcome:
        """
        Return how the item that the source gave ended.

        Raises:
            HaltError: It was not ordered, and nothing more may be.
        """
        try:
            item = await self._read(index, found)
            if isinstance(item, Outcome):
                return item
            record = await self._record(item)
        except JournalError as error:
            raise HaltError(error) from None
        try:
            outcome = await self._run(item, record)
        except HaltError:
            raise
        except BaseException:  # cancelled, or the observer raised
            if item.result is not None or item.error is not None:
                left = Outcome(item.index, item.request, item.result, item.error)
                self.interrupted.append(left)
            raise
        self.halted = self.halted or record.broken
        if record.stored is not None:
            self.halted = self.halted or record.stored.broken
            self.records[index] = record
        return outcome

    def given(self, index: int) -> None:
        """Note that a reader has the outcome of an item."""
        record = self.records.pop(index, None)
        if record is not None:
            record.given()

    async def _record(self, item: Item) -> BatchRecord:
        if self.journal is not None or self.orders is None:
            return BatchRecord(item, self.journal)
        anew = {OrderState.REFUSED}
        if self.retry_failed:
            anew.add(OrderState.FAILED)
        if self.resubmit_unknown:
            anew |= {OrderState.INTENDED, OrderState.UNKNOWN}
        key = None if self.name is None else f"{self.name}/{item.key}"
        stored = await self.orders.record(item.request, key, frozenset(anew))
        return BatchRecord(item, stored=stored)

    async def _read(self, index: int, found: object) -> Item | Outcome:
        try:
            request = requests.read_request(found)
            encoded = requests.encode(request)
            price = self._price(request)
        except InvalidRequestError as error:
            return Outcome(index, None, error=error)
        body = (encoded.body or b"").decode()
        if self.journal is None and self.orders is not None:
            key = self.keys.name_of(await self.orders.digest_of(encoded))
        else:
            key = self.keys.key_of(encoded.path, body.encode())
        return Item(index, request, price, key, body)

    def _price(self, request: AnyRequest) -> Decimal:
        price = self.price_of(request)
        if price is None and self.budget.limit is not None:
            msg = (
                f"no price is known for {requests.model_of(request)}, so max_cost "
                "cannot be kept: pass price="
            )
            raise InvalidRequestError(msg, parameter="price")
        return Decimal(0) if price is None else _checked(price)

    async def _run(self, item: Item, record: BatchRecord) -> Outcome:
        known = await self._find(item)
        step = next_step(
            known,
            retry_failed=self.retry_failed,
            resubmit_unknown=self.resubmit_unknown,
        )
        try:
            if known is None or step is Step.SUBMIT:
                record.again = known is not None and known.is_lost
                result = await self._buy(item, record)
            elif step is Step.ATTACH:
                item.price = known.price  # reserved since the journal was opened
                # Before anything can fail: whatever ends this, the task was accepted.
                item.task_id = known.task_id
                handle = self.ordering.attach(known.task_id or "")
                result = await self._wait(item, handle)
            else:
                late = await self._await_callback(item, record, known)
                if late is None:
                    return await self._replay(item, record, known)
                item.price = known.price
                result = await self._wait(item, late)
        except ApiModelsError as error:
            return await self._failed(item, record, error)
        return await self._completed(item, record, result)

    async def _find(self, item: Item) -> Record | None:
        """
        Return what the journal knows of *item*, checked: a file may be damaged, or
        somebody else's. A completed item has its result then.

        Raises:
            HaltError: That cannot be read. Whether it is paid for is not known, so it
                is not touched.
        """
        if self.journal is None:
            return None
        known: Record | None = None
        try:
            known = await self.journal.find(item.key)
            if known is not None:
                item.result = _result_in(known)
        except JournalError as error:
            raise HaltError(error) from None
        except ValueError as error:
            reason = str(error)
        else:
            return known
        task = f" (task {known.task_id})" if known and known.task_id else ""
        msg = f"item {item.index} in the journal{task} is damaged: {reason}"
        raise HaltError(JournalError(msg))

    async def _buy(self, item: Item, record: BatchRecord) -> ImageResult:
        if self.halted is not None:  # another item's answer, since this was read
            raise HaltError(self.halted)
        if not self.budget.reserve(item.price):
            raise HaltError(self._over_budget(item))
        with self.ordering.observer.ordering(item.request) as accepted:
            product = await self._order(item, record)
            if isinstance(product, ImageResult):
                item.result = product
                return product
            self.pending[product.task_id] = product  # the observer may raise
            accepted(product.task_id)
            return await self._wait(item, product)

    async def _order(self, item: Item, record: BatchRecord) -> Product:
        try:
            return await self.ordering.order(item.request, record, patient=True)
        except JournalError as error:
            self.budget.settle(item.price, error)
            raise HaltError(error) from None
        except SessionClosedError as error:
            error.charged = False  # closed before this one was sent
            raise

    def _over_budget(self, item: Item) -> BudgetExceededError:
        budget = self.budget
        return BudgetExceededError(
            f"max_cost={budget.limit} would be passed by the next order ({item.price}):"
            f" {budget.spent} spent, {budget.reserved} reserved; nothing more is sent"
        )

    async def _await_callback(
        self, item: Item, record: BatchRecord, known: Record
    ) -> TaskHandle | None:
        """Wait for the callback of what an earlier run left unknown, if it has one."""
        if known.nonce is None or not known.awaits_callback:
            return None
        with self.may_cut():
            handle = await self.ordering.lost.find_earlier(
                item.request, record, known.nonce, max(known.age_s, 0.0)
            )
        if handle is not None:
            await record.accepted(handle.task_id)
        return handle

    async def _wait(self, item: Item, handle: TaskHandle) -> ImageResult:
        item.task_id = handle.task_id
        self.pending[handle.task_id] = handle
        try:
            with self.may_cut():
                result = await handle
        except SessionClosedError:
            raise  # the task goes on, so it stays pending
        except ApiModelsError:
            self.pending.pop(handle.task_id, None)
            raise
        # Cancelled, it stays pending, also if the task ended in this very step: the
        # session has settled it, and nobody else would know its result.
        item.result = result
        self.pending.pop(handle.task_id, None)
        return result

    async def _completed(
        self, item: Item, record: BatchRecord, result: ImageResult
    ) -> Outcome:
        item.result = result
        self.budget.settle(item.price, result)
        await record.completed(result)
        return await self._saved(item, record, result)

    async def _saved(
        self, item: Item, record: BatchRecord, result: ImageResult
    ) -> Outcome:
        outcome = Outcome(item.index, item.request, result)
        if self.folder is None:
            return outcome
        try:
            with self.may_cut():
                paths, trouble = await self.folder.save(
                    result, item.index, item.request
                )
        except ApiModelsError as error:
            return evolve(outcome, error=error)
        await record.saved(paths, result.task_id)
        return evolve(outcome, paths=tuple(paths), error=trouble)

    async def _failed(
        self, item: Item, record: BatchRecord, error: ApiModelsError
    ) -> Outcome:
        item.error = error
        state = state_after(error, item.task_id)
        if state is not OrderState.ACCEPTED or item.task_id is None:
            self.budget.settle(item.price, error)
        if isinstance(error, STOPS):
            self.halted = self.halted or error
        await record.failed(state, error.task_id or item.task_id, error)
        return Outcome(item.index, item.request, error=error)

    async def _replay(self, item: Item, record: BatchRecord, known: Record) -> Outcome:
        """Return what an earlier run found out; nothing is ordered."""
        if (result := item.result) is not None:
            paths: tuple[Path, ...] = ()
            if self.folder is not None:
                # The journal says what they are called, never where they are.
                paths = self.folder.paths_of(load_files(known.file))
            # A release that saved the first picture alone has written that one down.
            if paths and len(paths) >= len(result.urls) and await _are_files(paths):
                return Outcome(item.index, item.request, result, paths=paths)
            return await self._saved(item, record, result)
        text = known.error and printable(known.error)
        text = text or (
            "an earlier run ended between sending this request and its answer; it may "
            "have been charged"
        )
        error: ApiModelsError
        if known.state is OrderState.FAILED:
            error = GenerationFailedError(
                text, fail_message=text, task_id=known.task_id
            )
        else:
            error = OutcomeUnknownError(text, task_id=known.task_id)
        return Outcome(item.index, item.request, error=error)


def _checked(price: object) -> Decimal:
    """Return what a user's function said of a price, which may be anything."""
    number = price if isinstance(price, Decimal) else checks.plain(price)
    fits = isinstance(number, (Decimal, int, float)) and not isinstance(number, bool)
    amount: Decimal | None = None
    with suppress(ValueError):  # of int too, whose text has 4,300 digits at most
        amount = read_amount(str(number) if fits else "")
    if amount is None:
        checks.refuse("price", price, "US dollars, 0 or more, of at most 18 digits")
    return amount or Decimal(0)


def _result_in(known: Record) -> ImageResult | None:
    """Return the result of a completed record; ``ValueError``: it is damaged."""
    result = None
    if known.state is OrderState.COMPLETED:
        result = load_result(known.result or "")
    for task_id in (known.task_id, result and result.task_id):
        if task_id is not None:
            checks.check_task_id(task_id)
    return result


async def _are_files(paths: Iterable[Path]) -> bool:
    for path in map(anyio.Path, paths):
        if await path.is_symlink() or not await path.is_file():
            return False
    return True
