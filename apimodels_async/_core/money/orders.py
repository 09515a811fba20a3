"""
What an order store knows of an order, and what that means for whoever orders again.

Rules of this file:
1. Nothing that may have been paid for is ever ordered anew without being told to.
2. Every word belongs to one attempt. A late one about an old attempt says nothing about
   a newer one.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from attrs import define

from apimodels_async._core.money.digests import comparable
from apimodels_async._core.money.resume import CALLED_BACK_S, OrderState
from apimodels_async._text import Value, printable
from apimodels_async.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Collection
    from decimal import Decimal

    from apimodels_async.models import ImageResult

BATCH_SCOPE: Final = "batch"
"""Of a journal's orders, at whatever address they were ordered: a journal belongs to
the source of its batch."""
ORDERED_ANEW: Final = frozenset({OrderState.REFUSED, OrderState.FAILED})
"""Ends after which the same idempotency key is ordered again: nothing was charged."""
ENDED: Final = ORDERED_ANEW | {OrderState.COMPLETED}
"""States that no later word changes."""
FORGET_HINT: Final = (
    "To risk paying twice, call session.forget() with that key, and order again"
)
BEFORE: Final = {
    OrderState.ACCEPTED: frozenset(OrderState) - ENDED,
    OrderState.COMPLETED: frozenset(OrderState) - ENDED,
    OrderState.FAILED: frozenset(OrderState) - ENDED,
    OrderState.UNKNOWN: frozenset({OrderState.INTENDED, OrderState.UNKNOWN}),
    OrderState.REFUSED: frozenset({OrderState.INTENDED}),
}
"""A state -> the states that it may take the place of: what may have been sent is never
refused any more, and what has a task is not unknown."""
HOSTED: Final = timedelta(days=8)
"""An upload is hosted for 7 days, and can be ordered with until then: for as long after
it as such an order is kept, it must be the same request."""
LEASE_S: Final = 60.0
"""Seconds for which an owner counts as alive after it was last heard of."""


@define(frozen=True, eq=False, repr=False, kw_only=True)
class NewOrder(Value):
    """An order about to be sent."""

    scope: str
    """Whose idempotency keys these are: the API's address, and the account's name."""
    idempotency_key: str
    """Its name within *scope*."""
    digest: str
    """Of what is ordered."""
    model: str
    """Model id."""
    prompt: str | None
    """What history searches; None: it has none."""
    request: str
    """JSON, as it is sent."""
    price: Decimal | None
    """US dollars, by the published hint; None: none is known."""
    owner: str
    """The session that sends it."""
    nonce: str | None
    """Of its callback address."""
    number: int | None = None
    """Position in its batch."""

    def record(self, attempt: int, intended_at: float) -> OrderRecord:
        """Return the record of it, granted at *intended_at*, seconds since 1970."""
        return OrderRecord(
            idempotency_key=self.idempotency_key,
            attempt=attempt,
            digest=self.digest,
            model=self.model,
            prompt=self.prompt,
            request=self.request,
            price=self.price,
            state=OrderState.INTENDED,
            nonce=self.nonce,
            number=self.number,
            owned=True,
            intended_at=datetime.fromtimestamp(intended_at, UTC),
        )


@define(frozen=True, eq=False, repr=False, kw_only=True)
class OrderRecord(Value):
    """
    The current attempt at an order. Times are UTC, by the store's clock.
    """

    idempotency_key: str
    """Name of the order."""
    attempt: int
    """A number above 0 that no other attempt of the store has."""
    digest: str
    """Of what was ordered."""
    model: str
    """Model id."""
    prompt: str | None
    """None where the request has none."""
    request: str
    """JSON, as it was sent."""
    price: Decimal | None
    """US dollars, by the published hint; None: none is known."""
    state: OrderState
    """How far it has got."""
    task_id: str | None = None
    """The API's id of its task, once accepted."""
    result: ImageResult | None = None
    """Its result, once completed."""
    error: str | None = None
    """Why it ended without one, in words."""
    files: tuple[str, ...] = ()
    """Where its pictures were saved."""
    nonce: str | None = None
    """Of its callback address."""
    number: int | None = None
    """Position in its batch."""
    owned: bool = False
    """Whether the session that sent it, or took it up, is alive."""
    handed_over: bool = False
    """Whether its end reached a caller."""
    intended_at: datetime
    """When it was written down, before it was sent."""
    ended_at: datetime | None = None
    """When its end was written down; None: it has not ended."""
    age_s: float = 0.0
    """Seconds since it was intended."""

    @property
    def cost(self) -> Decimal | None:
        """US dollars, as the API stated it."""
        return None if self.result is None else self.result.credits

    @property
    def may_be_charged(self) -> bool:
        """Whether it is paid for, or may be."""
        return self.state not in ORDERED_ANEW

    @property
    def awaits_callback(self) -> bool:
        """Whether its fate is unknown, and its callback may still come."""
        lost = self.state in {OrderState.INTENDED, OrderState.UNKNOWN}
        return lost and self.nonce is not None and self.age_s < CALLED_BACK_S


@define(frozen=True, eq=False, repr=False)
class Claim(Value):
    """What a store answers to ``NewOrder``."""

    granted: bool
    """Whether it may be sent; then *record* is that of the new attempt."""
    record: OrderRecord
    """The new attempt, or the one that is in its place."""


def is_replaceable(record: OrderRecord, anew: Collection[OrderState]) -> bool:
    """
    Return whether a new attempt may take the place of *record*.

    Args:
        anew: States that may be ordered anew. One that is being sent never is.
    """
    under_way = record.state is OrderState.INTENDED and record.owned
    return record.state in anew and not under_way


class Standing(Enum):
    """What an order that was there already means for the one who comes again."""

    RESULT = auto()
    TASK = auto()
    UNDER_WAY = auto()
    """Another caller is sending it now: its outcome is worth waiting for."""
    FAILED = auto()
    LOST = auto()
    """Nobody knows whether it was charged."""


def standing_of(record: OrderRecord, digest: str) -> Standing:
    """
    Return what *record*, which was not granted anew, means for the same order again.

    Raises:
        InvalidRequestError: It was another request.
    """
    if record.digest != digest and comparable(record.digest, digest):
        msg = (
            f"idempotency_key={record.idempotency_key!r} names another request, which "
            f"is {record.state.value} (ordered {record.intended_at:%Y-%m-%d %H:%M:%S} "
            "UTC): give this one a key of its own"
        )
        error = InvalidRequestError(msg, parameter="idempotency_key")
        error.idempotency_key = record.idempotency_key
        raise error
    if record.state is OrderState.COMPLETED:
        return Standing.RESULT
    if record.state is OrderState.ACCEPTED:
        return Standing.TASK
    if record.state is OrderState.FAILED:
        return Standing.FAILED
    if record.state is OrderState.INTENDED and record.owned:
        return Standing.UNDER_WAY
    return Standing.LOST


def lost_words(record: OrderRecord) -> str:
    """Return what to tell of an order of unknown fate."""
    why = f": {printable(record.error)}" if record.error else ""
    return (
        f"the order under idempotency_key={record.idempotency_key!r} of "
        f"{record.intended_at:%Y-%m-%d %H:%M:%S} UTC is of unknown fate and may have "
        f"been charged; it is not sent again. {FORGET_HINT}{why}"
    )
