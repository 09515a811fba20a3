"""
What a journal's record of an earlier run means for this one.
"""

from __future__ import annotations

from decimal import Decimal
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from apimodels_async._core.money.retry import REFUSALS, status_of
from apimodels_async.errors import GenerationFailedError

if TYPE_CHECKING:
    from apimodels_async.errors import ApiModelsError

CALLED_BACK_S: Final = 3600.0
"""A task ends within 30 minutes or so, and the API goes on calling for 30 more."""


class OrderState(StrEnum):
    """How far an order has got, as the ``state`` column spells it."""

    INTENDED = "intended"
    """Written before the request was sent: after a crash, of unknown fate."""
    ACCEPTED = "accepted"
    """The API named a task: attach it."""
    COMPLETED = "completed"
    FAILED = "failed"
    """The generation failed; not charged."""
    REFUSED = "refused"
    """Not taken: refused by the API, or never sent."""
    UNKNOWN = "unknown"
    """Sent, and of unknown fate."""


@frozen
class Record:
    """One item's row."""

    key: str
    state: OrderState
    task_id: str | None = None
    result: str | None = None
    """The result as JSON, once completed."""
    file: str | None = None
    error: str | None = None
    price: Decimal = Decimal(0)
    """US dollars, reserved when it was ordered."""
    nonce: str | None = None
    """Of its callback address."""
    age_s: float = field(default=0.0, eq=False)
    """Seconds since it was intended."""

    @property
    def is_lost(self) -> bool:
        """Whether its fate is unknown: it may be paid for."""
        return self.state in {OrderState.INTENDED, OrderState.UNKNOWN}

    @property
    def awaits_callback(self) -> bool:
        """Whether its fate is unknown, and its callback may still come."""
        return self.is_lost and self.nonce is not None and self.age_s < CALLED_BACK_S


class Step(Enum):
    """What to do with an item."""

    SUBMIT = auto()
    ATTACH = auto()
    REPLAY = auto()
    """Hand over what the journal knows; nothing is sent."""


def next_step(
    record: Record | None, *, retry_failed: bool, resubmit_unknown: bool
) -> Step:
    """
    Return what to do with an item of which *record* is known, if anything.

    Nothing that may have been paid for is ever ordered anew without being told to.
    """
    # What was refused was never taken; whoever runs the batch again wants it.
    if record is None or record.state is OrderState.REFUSED:
        return Step.SUBMIT
    if record.state is OrderState.ACCEPTED:
        return Step.ATTACH
    if record.state is OrderState.COMPLETED:
        return Step.REPLAY
    anew = retry_failed if record.state is OrderState.FAILED else resubmit_unknown
    return Step.SUBMIT if anew else Step.REPLAY


def state_after(error: ApiModelsError, accepted: str | None) -> OrderState:
    """
    Return the state of an order that ended with *error*.

    Args:
        accepted: The id of its task, if the API had named one before.
    """
    if isinstance(error, GenerationFailedError):
        return OrderState.FAILED
    if accepted is not None:
        # Whatever ended our waiting (a refused key, say), the task lives on.
        return OrderState.ACCEPTED
    if error.task_id is not None and error.charged is not False:
        # A refusal that names a task says no and yes in one: that is no acceptance, and
        # whoever reads the error decides what that task is. Any other is attached in
        # the next run.
        doubtful = status_of(error) in REFUSALS
        return OrderState.UNKNOWN if doubtful else OrderState.ACCEPTED
    return OrderState.REFUSED if error.charged is False else OrderState.UNKNOWN
