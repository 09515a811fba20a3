"""
Runs one batch item from its request to its outcome.

Rules of this file:
1. With a journal or a store: no record, no order. What cannot be recorded afterwards is
   logged with its task id, and ordering stops; the paid result is handed over all the
   same.
2. What may have been paid for in an earlier run is attached or reported, never ordered
   anew without being told to.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, cast

from attrs import define, evolve, field

from apimodels_async._api import checks, requests
from apimodels_async._core.money.records import read_amount
from apimodels_async._core.money.resume import OrderState, state_after
from apimodels_async._text import printable
from apimodels_async.batch.reservations import Reservations
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
from apimodels_async.stores.sent_order import SentOrder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from apimodels_async._core.money.budget import Budget
    from apimodels_async._core.money.orders import OrderRecord
    from apimodels_async._core.money.records import Keys
    from apimodels_async.batch.parts import Bought, Buyer, Folder, Pending
    from apimodels_async.models import AnyRequest
    from apimodels_async.stores.sent import SentOrders

STOPS: Final = (
    AuthenticationError,
    InsufficientCreditsError,
    PermissionDeniedError,
    SessionClosedError,
)
"""What the next order would be told as well."""


class HaltError(Exception):
    """Nothing more may be ordered. Stays inside the batch."""

    def __init__(self, reason: ApiModelsError | None) -> None:
        super().__init__(reason)
        self.reason = reason


@define(eq=False, repr=False)
class Item:
    """One item of a batch that reads as a request."""

    index: int
    request: AnyRequest
    price: Decimal
    order: SentOrder | None = None
    """Where it is written down."""
    task_id: str | None = None
    """Of its task, once accepted, in this run or an earlier one."""
    result: ImageResult | None = None
    error: ApiModelsError | None = None

    @property
    def key(self) -> str | None:
        """Its idempotency key, where it is written down."""
        return None if self.order is None else self.order.idempotency_key


@define(eq=False, repr=False, kw_only=True)
class ItemRunner:
    """Runs the items of one batch, one at a time in each of its workers."""

    ordering: Buyer
    budget: Budget
    orders: SentOrders | None
    """Where each is written down, if anywhere."""
    private: bool
    """It is a journal: nobody else is to be told what was handed over."""
    prefix: str | None
    """Of the items' idempotency keys; None: they have random ones."""
    folder: Folder | None
    defaults: Mapping[str, Any]
    """Parameters of items that do not name them."""
    price_of: Callable[[AnyRequest], Decimal | float | None]
    keys: Keys
    may_cut: Callable[[], AbstractContextManager[None]]
    """Marks a wait that is safe to cancel: nothing paid for is lost by it."""
    retry_failed: bool
    resubmit_unknown: bool
    _trying: asyncio.Lock = field(init=False, factory=asyncio.Lock)
    _tried: bool = field(init=False, default=False)
    """The folder can be written to, or there is none."""
    halted: ApiModelsError | None = None
    """Why nothing more is ordered."""
    pending: dict[int, Pending] = field(factory=dict)
    """By number."""
    unread: dict[int, SentOrder] = field(factory=dict)
    """Orders whose outcomes nobody has yet, by number."""
    interrupted: list[Outcome] = field(factory=list)
    """Ends of items that were cancelled before they were handed over."""
    _money: Reservations = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._money = Reservations(self.budget, self.may_cut)

    def halt(self, reason: ApiModelsError | None = None) -> None:
        """Order nothing more, also of what waits for money; the first reason counts."""
        self.halted = self.halted or reason
        self._money.end()

    async def run(self, index: int, found: object) -> Outcome:
        """
        Return how the item that the source gave ended.

        Raises:
            HaltError: It was not ordered, and nothing more may be.
        """
        self._money.opened(index)
        try:
            return await self._run_read(await self._read(index, found))
        except HaltError as halt:
            self.halt(halt.reason)
            raise
        finally:
            self._money.closed(index)

    async def _run_read(self, item: Item | Outcome) -> Outcome:
        if isinstance(item, Outcome):
            return item
        outcome: Outcome | None = None
        try:
            outcome = await self._run(item)
            if item.order is not None:
                with self.may_cut():  # it is written all the same
                    await item.order.written()
        except HaltError:
            raise
        except BaseException:  # cancelled, or the observer raised
            if outcome is None and (item.result or item.error):
                outcome = Outcome(item.index, item.request, item.result, item.error)
            if outcome is not None:
                self.interrupted.append(outcome)
            raise
        if item.order is not None:
            if item.order.broken is not None:
                self.halt(item.order.broken)
            self.unread[item.index] = item.order
        return outcome

    def given(self, index: int) -> None:
        """Note that a reader has the outcome of an item."""
        order = self.unread.pop(index, None)
        if order is not None and not self.private:
            order.given()

    async def _read(self, index: int, found: object) -> Item | Outcome:
        try:
            request = requests.read_request(found, self.defaults)
            item = Item(index, request, self._price(request))
            if self.orders is not None:
                item.order = await SentOrder.record(
                    self.orders,
                    request,
                    self._name if self.prefix is not None else None,
                    price=item.price or None,
                    number=index,
                    anew=self._anew(),
                    hands_over=False,
                )
            else:
                requests.encode(request)
        except InvalidRequestError as error:
            return Outcome(index, None, error=error)
        except JournalError as error:
            raise HaltError(error) from None
        return item

    def _name(self, digest: str) -> str:
        return f"{self.prefix}{self.keys.name_of(digest)}"

    def _anew(self) -> frozenset[OrderState]:
        # What was refused was never taken; whoever runs the batch again wants it.
        # Nothing that may be paid for is ordered anew without being told to.
        anew = {OrderState.REFUSED}
        if self.retry_failed:
            anew.add(OrderState.FAILED)
        if self.resubmit_unknown:
            anew |= {OrderState.INTENDED, OrderState.UNKNOWN}
        return frozenset(anew)

    def _price(self, request: AnyRequest) -> Decimal:
        price = self.price_of(request)
        if price is None and self.budget.limit is not None:
            msg = (
                f"no price is known for {requests.model_of(request)}, so max_cost "
                "cannot be kept: pass price="
            )
            raise InvalidRequestError(msg, parameter="price")
        return Decimal(0) if price is None else _checked(price)

    async def _run(self, item: Item) -> Outcome:
        known = await self._find(item)
        try:
            if known is None:
                result = await self._buy(item)
            else:
                return await self._take_up(item, known)
        except ApiModelsError as error:
            return self._failed(item, error)
        return await self._completed(item, result)

    async def _find(self, item: Item) -> OrderRecord | None:
        """
        Return what an earlier run found out, if the item is not to be ordered.

        Raises:
            HaltError: That cannot be read. Whether it is paid for is not known, so it
                is not touched.
        """
        if item.order is None or self.prefix is None:
            return None
        try:
            return await self.ordering.look(item.order)
        except JournalError as error:
            raise HaltError(error) from None

    async def _try_folder(self) -> None:
        # Once, before the first order alone: what was ordered in earlier runs can be
        # handed over from a folder that takes no more. Whoever comes meanwhile waits,
        # and who finds that it failed orders nothing either.
        with self.may_cut():
            async with self._trying:
                if self._tried or self.halted is not None:
                    return
                try:
                    if self.folder is not None:
                        await self.folder.check()
                except ApiModelsError as error:
                    self.halt(error)
                else:
                    self._tried = True

    async def _buy(self, item: Item) -> ImageResult:
        await self._try_folder()
        if not await self._money.reserve(item.index, item.price):
            # Ended: by another item's answer since this was read, or nobody's fault.
            ended = self._money.ended
            raise HaltError(self.halted if ended else self._over_budget(item))
        with self.ordering.observer.ordering(item.request, item.key) as accepted:
            product = await self._order(item)
            if isinstance(product, ImageResult):
                item.result = product
                return product
            self.pending[item.index] = product  # the observer may raise
            if product.task_id is not None:
                accepted(product.task_id)
            return await self._wait(item, product)

    async def _order(self, item: Item) -> Bought:
        try:
            return await self.ordering.order(item.request, item.order, patient=True)
        except JournalError as error:
            self._money.settle(item.index, item.price, error)
            raise HaltError(error) from None
        except SessionClosedError as error:
            if item.order is None or not item.order.elsewhere:
                error.charged = False  # closed before this one was sent
            raise

    def _over_budget(self, item: Item) -> BudgetExceededError:
        budget = self.budget
        return BudgetExceededError(
            f"max_cost={budget.limit} would be passed by the next order, which may "
            f"cost {item.price}: {budget.spent} spent, {budget.reserved} reserved for "
            "what may still be charged; nothing more is sent"
        )

    async def _wait(self, item: Item, handle: Pending) -> ImageResult:
        item.task_id = handle.task_id or item.task_id
        self.pending[item.index] = handle
        try:
            with self.may_cut():
                result = await handle
        except SessionClosedError:
            raise  # the task goes on, so it stays pending
        except ApiModelsError:
            self.pending.pop(item.index, None)
            raise
        # Cancelled, it stays pending, also if the task ended in this very step: the
        # session has settled it, and nobody else would know its result.
        item.result = result
        self.pending.pop(item.index, None)
        return result

    async def _completed(self, item: Item, result: ImageResult) -> Outcome:
        item.result = result
        self._money.settle(item.index, item.price, result)
        return await self._saved(item, result)

    async def _saved(self, item: Item, result: ImageResult) -> Outcome:
        outcome = Outcome(item.index, item.request, result)
        if self.folder is None:
            return outcome
        try:
            with self.may_cut():
                paths, trouble = await self.folder.save(
                    result, item.index, item.request, item.key
                )
        except ApiModelsError as error:
            return evolve(outcome, error=error)
        if item.order is not None and paths:
            await item.order.saved([str(path) for path in paths])
        return evolve(outcome, paths=tuple(paths), error=trouble)

    def _failed(self, item: Item, error: ApiModelsError) -> Outcome:
        item.error = error
        state = state_after(error, item.task_id)
        if state is not OrderState.ACCEPTED or item.task_id is None:
            self._money.settle(item.index, item.price, error)
        if isinstance(error, STOPS):
            self.halt(error)
        return Outcome(item.index, item.request, error=error)

    async def _take_up(self, item: Item, known: OrderRecord) -> Outcome:
        """Return how an item ends that was ordered in an earlier run."""
        item.result, item.task_id = known.result, known.task_id
        if known.result is not None:
            return await self._replay(item, known, known.result)
        # Counted as reserved since the batch began, whatever it is now said to cost.
        item.price = known.price or Decimal(0)
        item.order = cast("SentOrder", item.order)
        try:
            with self.may_cut():
                product = await self.ordering.take_up(item.order, known)
        except GenerationFailedError as error:
            return Outcome(item.index, item.request, error=error)
        except OutcomeUnknownError:
            return Outcome(item.index, item.request, error=_unknown(known))
        if isinstance(product, ImageResult):
            result = product
        else:
            result = await self._wait(item, product)
        # An earlier batch in this session may follow that task, in a journal it closed.
        item.order.settled(result)
        return await self._completed(item, result)

    async def _replay(
        self, item: Item, known: OrderRecord, result: ImageResult
    ) -> Outcome:
        # Paid for long ago: nobody waits for its money while its files are fetched.
        self._money.closed(item.index)
        # A release that saved the first picture alone has written that one down.
        if self.folder is not None and len(known.files) >= len(result.urls):
            # The store says what they are called, never where they are.
            paths = await self.folder.find(known.files)
            if paths:
                return Outcome(item.index, item.request, result, paths=paths)
        return await self._saved(item, result)


def _unknown(known: OrderRecord) -> OutcomeUnknownError:
    text = known.error and printable(known.error)
    text = text or (
        "an earlier run ended between sending this request and its answer; it may have "
        "been charged"
    )
    error = OutcomeUnknownError(text, task_id=known.task_id)
    error.idempotency_key = known.idempotency_key
    return error


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
