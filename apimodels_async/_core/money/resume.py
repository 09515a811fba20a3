"""
How far an order has got, and what an error says of that.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

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
    """Its result is known; charged."""
    FAILED = "failed"
    """The generation failed; not charged."""
    REFUSED = "refused"
    """Not taken: refused by the API, or never sent."""
    UNKNOWN = "unknown"
    """Sent, and of unknown fate."""


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
