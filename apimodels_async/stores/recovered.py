"""
What earlier sessions ordered, taken up again by this one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from attrs import define, field

from apimodels_async._api import checks, requests
from apimodels_async._core.money.digests import CALLBACK_FIELDS
from apimodels_async._core.money.orders import (
    ORDERED_ANEW,
    Standing,
    standing_of,
)
from apimodels_async.errors import GenerationFailedError, InvalidRequestError
from apimodels_async.models import ImageResult
from apimodels_async.stores.sent_order import LOOK_S, UNDER_WAY_S, SentOrder
from apimodels_async.stores.store import ask

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from apimodels_async._core.money.orders import OrderRecord
    from apimodels_async._core.money.resume import OrderState
    from apimodels_async.models import AnyRequest
    from apimodels_async.stores.sent import SentOrders

    Product = Awaitable[ImageResult] | ImageResult
    TakeUp = Callable[[SentOrder, OrderRecord], Awaitable[Product]]


@define(eq=False)
class RecoveredOrder:
    """
    An order that an earlier process paid for, or may have, and never saw the end of.

    It is this session's now; until ``ack`` it is recovered again by the next one.
    """

    record: OrderRecord
    """As the store has it."""
    _take_up: TakeUp
    _log: SentOrder
    _product: Product | None = field(init=False, default=None)

    @property
    def idempotency_key(self) -> str:
        """Its name; a random one where it was given none."""
        return self.record.idempotency_key

    @property
    def task_id(self) -> str | None:
        """The vendor's id, where one is known."""
        return self.record.task_id

    @property
    def prompt(self) -> str | None:
        """What to draw."""
        return self.record.prompt

    @property
    def model(self) -> str:
        """Model id."""
        return self.record.model

    @property
    def state(self) -> OrderState:
        """How far it had got when it was recovered."""
        return self.record.state

    @property
    def request(self) -> AnyRequest:
        """
        What was ordered, as a request value.

        Raises:
            InvalidRequestError: This release would not send it.
        """
        return request_of(self.record)

    async def result(self) -> ImageResult:
        """
        Return its result, waiting for it; free, nothing is ordered.

        Raises:
            OutcomeUnknownError: Nobody knows whether it was charged.
            GenerationFailedError: The task failed; it is not charged.
            ApiModelsError: Otherwise as ``TaskHandle.result``.
        """
        if self._product is None:
            self._product = await self._take_up(self._log, self.record)
        if isinstance(self._product, ImageResult):
            return self._product
        return await self._product

    async def ack(self) -> None:
        """
        Say that it is dealt with: nobody recovers it again. Idempotent.

        Raises:
            JournalError: That cannot be written down.
        """
        await ask(self._log.orders.store.handed_over, self.record.attempt)

    def __repr__(self) -> str:
        return (
            f"<RecoveredOrder {self.idempotency_key} {self.state.value} "
            f"{self.task_id or '-'}>"
        )


def request_of(record: OrderRecord) -> AnyRequest:
    """
    Return the request of *record*, its callback address left out.

    Raises:
        InvalidRequestError: This release would not send it.
    """
    try:
        body = json.loads(record.request)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        msg = f"the request of order {record.idempotency_key!r} cannot be read"
        raise InvalidRequestError(msg)
    kept = {k: each for k, each in body.items() if k not in CALLBACK_FIELDS}
    return requests.read_request({**kept, "model": record.model})


async def find_sent(
    orders: SentOrders, idempotency_key: str
) -> tuple[SentOrder, OrderRecord]:
    """
    Return what became of an order, once nobody is sending it any more, and its log.

    Raises:
        InvalidRequestError: The key names none.
        GenerationFailedError: It was refused, or failed.
        JournalError: The store cannot be used.
    """
    key = checks.check_key(idempotency_key)
    until = orders.clock.time() + UNDER_WAY_S
    while True:
        known = await orders.find(key)
        if known is None:
            msg = f"there is no order under idempotency_key={key!r}"
            raise InvalidRequestError(msg, parameter="idempotency_key")
        standing = standing_of(known, known.digest)
        if standing is not Standing.UNDER_WAY or orders.clock.time() >= until:
            break
        await orders.clock.sleep(LOOK_S)
    if known.state in ORDERED_ANEW:
        why = known.error or f"the order was {known.state.value}"
        error = GenerationFailedError(why, fail_message=why, task_id=known.task_id)
        error.idempotency_key = key
        raise error
    return SentOrder.follow(orders, known), known
