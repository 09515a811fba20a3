"""
Carries one item of a batch from its request to its outcome.

Rules of this file:
1. With a journal: no record, no order. What cannot be recorded afterwards is logged
   with its task id, and ordering stops; the paid result is handed over all the same.
2. What may have been paid for in an earlier run is attached or reported, never ordered
   anew without being told to.
"""

from __future__ import annotations

import logging
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
from attrs import define, evolve, field

from apimodels_async._api import requests
from apimodels_async._api.catalogue import find_model
from apimodels_async._core.money.budget import price_hint
from apimodels_async._core.money.resume import RecordState, Step, next_step
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
from apimodels_async.models import (
    CheckedRequest,
    ImageRequest,
    ImageResult,
    Outcome,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AbstractContextManager
    from typing import Any

    from apimodels_async._callbacks import Intent
    from apimodels_async._core.money.budget import Budget
    from apimodels_async._core.money.records import Keys
    from apimodels_async._core.money.resume import Record
    from apimodels_async._io.journal import Journal
    from apimodels_async.handle import TaskHandle
    from apimodels_async.models import SparkPixEdit, SparkPixImage

    AnyRequest = SparkPixImage | SparkPixEdit | ImageRequest
    BatchItem = str | Mapping[str, Any] | AnyRequest

logger = logging.getLogger("apimodels_async.batch")

STOPS: Final = (
    AuthenticationError,
    InsufficientCreditsError,
    PermissionDeniedError,
    SessionClosedError,
)
"""What the next order would be told as well."""


class HaltError(Exception):
    """
    Nothing more may be ordered. Stays inside the batch.
    """

    def __init__(self, reason: ApiModelsError) -> None:
        super().__init__(reason)
        self.reason = reason


@define(eq=False, kw_only=True)
class Calls:
    """
    What a session does for its batch.
    """

    intend: Callable[[AnyRequest], Intent | None]
    order: Callable[[AnyRequest, Intent | None], Awaitable[TaskHandle | ImageResult]]
    recall: Callable[[AnyRequest, str], Intent | None]
    """The intent of an order of an earlier run, by its nonce."""
    find: Callable[[Intent], Awaitable[TaskHandle | None]]
    """Waits for its callback."""
    attach: Callable[[str], TaskHandle]
    save: Callable[[ImageResult, int, AnyRequest], Awaitable[Path]] | None
    price: Callable[[AnyRequest], Decimal | None]


@define(eq=False)
class _Item:
    index: int
    request: AnyRequest
    price: Decimal
    key: str
    body: str
    intent: Intent | None = None


@define(eq=False, kw_only=True)
class Orders:
    """
    The way of every item, one at a time per worker.
    """

    calls: Calls
    budget: Budget
    journal: Journal | None
    keys: Keys
    may_cut: Callable[[], AbstractContextManager[None]]
    """Surrounds a wait that cancelling cuts without losing anything paid."""
    retry_failed: bool
    resubmit_unknown: bool
    halted: ApiModelsError | None = None
    """Why nothing more is ordered."""
    pending: dict[str, TaskHandle] = field(factory=dict)

    async def run(self, index: int, found: object) -> Outcome:
        """
        Return how the item that the source gave ended.

        Raises:
            HaltError: It was not ordered, and nothing more may be.
        """
        item = self._read(index, found)
        return item if isinstance(item, Outcome) else await self._run(item)

    def _read(self, index: int, found: object) -> _Item | Outcome:
        try:
            request = requests.read_request(found)
            wire = requests.encode(request)
            price = self._price(request)
        except InvalidRequestError as error:
            return Outcome(index, None, error=error)
        body = wire.body or b""
        key = self.keys.key_of(wire.path, body)
        return _Item(index, request, price, key, body.decode())

    def _price(self, request: AnyRequest) -> Decimal:
        price = self.calls.price(request)
        if price is None and self.budget.limit is not None:
            msg = (
                f"no price is known for {requests.model_of(request)}, so max_cost "
                "cannot be kept: pass price="
            )
            raise InvalidRequestError(msg, parameter="price")
        return price or Decimal(0)

    async def _run(self, item: _Item) -> Outcome:
        record = await self.journal.find(item.key) if self.journal else None
        step = next_step(
            record,
            retry_failed=self.retry_failed,
            resubmit_unknown=self.resubmit_unknown,
        )
        if record is not None and step is Step.REPLAY:
            late = await self._find(item, record)
            if late is None:
                return await self._replay(item, record)
            item.price = record.price
            return await self._follow(item, late)
        if record is not None and step is Step.ATTACH:
            item.price = record.price  # reserved since the journal was opened
            product: TaskHandle | ImageResult = self.calls.attach(record.task_id or "")
        else:
            if self.halted is not None:  # another item's answer, since this was read
                raise HaltError(self.halted)
            if not self.budget.reserve(item.price):
                raise HaltError(self._over_budget(item))
            item.intent = self._keep(self.calls.intend(item.request))
            if self.journal is not None:
                model = requests.model_of(item.request)
                nonce = item.intent.nonce if item.intent is not None else None
                await self.journal.begin(
                    item.key, item.index, model, item.body, item.price, nonce
                )
            try:
                product = await self._order(item)
            except ApiModelsError as error:
                if isinstance(error, SessionClosedError):
                    error.charged = False  # closed before this one was sent
                return await self._failed(item, error)
        return await self._follow(item, product)

    def _over_budget(self, item: _Item) -> BudgetExceededError:
        budget = self.budget
        return BudgetExceededError(
            f"max_cost={budget.limit} would be passed by the next order ({item.price}): "
            f"{budget.spent} spent, {budget.reserved} reserved; nothing more is sent"
        )

    def _keep(self, intent: Intent | None) -> Intent | None:
        if intent is not None:
            intent.journalled = self.journal is not None
        return intent

    async def _order(self, item: _Item) -> TaskHandle | ImageResult:
        product = await self.calls.order(item.request, item.intent)
        if not isinstance(product, ImageResult):
            await self._accepted(item, product)
        return product

    async def _accepted(self, item: _Item, handle: TaskHandle) -> None:
        if self.journal is not None:
            task_id = handle.task_id
            write = self.journal.accepted(item.key, task_id)
            await self._note(write, task_id, item.intent)

    async def _find(self, item: _Item, record: Record) -> TaskHandle | None:
        """
        Wait for the callback of what an earlier run left unknown, if it has one.
        """
        if not record.awaits_callback:
            return None
        item.intent = self._keep(self.calls.recall(item.request, record.nonce or ""))
        if item.intent is None:
            return None
        with self.may_cut():
            handle = await self.calls.find(item.intent)
        if handle is not None:
            await self._accepted(item, handle)
        return handle

    async def _note(
        self, write: Awaitable[None], task_id: str | None, intent: Intent | None = None
    ) -> None:
        # The money is spent: a full disk must not hide it, only stop further orders.
        try:
            await write
            if intent is not None:
                intent.recorded = True
        except JournalError as error:
            logger.error("not in the journal: task %s (%s)", task_id, error)  # noqa: TRY400
            self.halted = self.halted or error

    async def _follow(self, item: _Item, product: TaskHandle | ImageResult) -> Outcome:
        if isinstance(product, ImageResult):
            return await self._completed(item, product)
        self.pending[product.task_id] = product
        try:
            with self.may_cut():
                result = await product
        except ApiModelsError as error:
            return await self._failed(item, error, product.task_id)
        finally:
            self._forget(product)
        return await self._completed(item, result)

    def _forget(self, handle: TaskHandle) -> None:
        if handle.done:
            self.pending.pop(handle.task_id, None)

    async def _completed(self, item: _Item, result: ImageResult) -> Outcome:
        from apimodels_async._core.money.records import dump_result

        self.budget.settle(item.price, result)
        if self.journal is not None:
            cost = None if result.credits is None else str(result.credits)
            write = self.journal.ended(
                item.key,
                RecordState.COMPLETED,
                task_id=result.task_id,
                cost=cost,
                result=dump_result(result),
            )
            await self._note(write, result.task_id, item.intent)
        return await self._saved(item, result)

    async def _saved(self, item: _Item, result: ImageResult) -> Outcome:
        outcome = Outcome(item.index, item.request, result)
        if self.calls.save is None:
            return outcome
        try:
            with self.may_cut():
                path = await self.calls.save(result, item.index, item.request)
        except ApiModelsError as error:
            return evolve(outcome, error=error)
        if self.journal is not None:
            write = self.journal.saved(item.key, str(path))
            await self._note(write, result.task_id)
        return evolve(outcome, path=path)

    async def _failed(
        self, item: _Item, error: ApiModelsError, accepted: str = ""
    ) -> Outcome:
        task_id = error.task_id or accepted or None
        state = _state_of(error)
        if accepted and state is not RecordState.FAILED:
            # Whatever ended our waiting (a refused key, say), the task lives on.
            state = RecordState.ACCEPTED
        else:
            self.budget.settle(item.price, error)
        if isinstance(error, STOPS):
            self.halted = self.halted or error
        if self.journal is not None:
            write = self.journal.ended(
                item.key, state, task_id=task_id, error=str(error)
            )
            await self._note(write, task_id)
        return Outcome(item.index, item.request, error=error)

    async def _replay(self, item: _Item, record: Record) -> Outcome:
        """
        Return what an earlier run found out; nothing is ordered.
        """
        from apimodels_async._core.money.records import load_result

        if record.result is not None:
            result = load_result(record.result)
            if record.file is not None and await anyio.Path(record.file).is_file():
                path = Path(record.file)
                return Outcome(item.index, item.request, result, path=path)
            return await self._saved(item, result)
        text = record.error or (
            "an earlier run ended between sending this request and its answer; it may "
            "have been charged"
        )
        error: ApiModelsError
        if record.state is RecordState.FAILED:
            error = GenerationFailedError(
                text, fail_message=text, task_id=record.task_id
            )
        else:
            error = OutcomeUnknownError(text, task_id=record.task_id)
        return Outcome(item.index, item.request, error=error)


def price_of(request: AnyRequest) -> Decimal | None:
    """
    Return the published price of *request*: a hint, and None where there is none.
    """
    known = find_model(requests.model_of(request))
    if known is None:
        return None
    params = request.params if isinstance(request, ImageRequest) else {}
    each = price_hint(known, params.get("resolution"), params.get("quality"))
    count = params.get("n", 1)
    if each is None or not isinstance(count, int):
        return each
    return each * max(1, count)


def check_request(item: BatchItem) -> CheckedRequest:
    """
    Read, check and price *item* as a batch would; needs no session and no key.

    Args:
        item: A prompt, a mapping of the API's parameters (``prompt`` and ``model``
            among them), or a request value.

    Raises:
        InvalidRequestError: It would be refused before anything is sent.
    """
    request = requests.read_request(item)
    requests.encode(request)
    return CheckedRequest(
        request=request, model=requests.model_of(request), price=price_of(request)
    )


def _state_of(error: ApiModelsError) -> RecordState:
    if isinstance(error, GenerationFailedError):
        return RecordState.FAILED
    if error.task_id is not None and error.charged is not False:
        return RecordState.ACCEPTED  # the task lives on: attached in the next run
    return RecordState.REFUSED if error.charged is False else RecordState.UNKNOWN
