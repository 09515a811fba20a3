"""One order of a run, as the page and ``apimodels ls`` show it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, Literal

from attrs import field, frozen, validators

from apimodels_async.models import SavedAt

State = Literal["completed", "pending", "failed", "refused", "unknown"]
STATES: Final[dict[State, str]] = {
    "completed": "Completed",
    "failed": "Failed",
    "refused": "Refused",
    "unknown": "Unknown",
    "pending": "Pending",
}
"""State -> what the page calls it, in the order of the page."""


@frozen(kw_only=True)
class Card:
    """What is known of one order."""

    number: int
    """Place in the run; the page is sorted by it."""
    prompt: str
    model: str
    state: State = field(validator=validators.in_(STATES))
    files: tuple[SavedAt, ...] = ()
    """
    Its pictures, in the order of the result: absolute or relative to the working
    directory, as the index is; or their addresses in object storage.
    """
    seed: int | None = None
    time_s: float | None = None
    """Seconds of service time, by the API's own clock."""
    price: Decimal = Decimal(0)
    """US dollars, by the published hint when it was ordered; 0 if there was none."""
    cost: Decimal | None = None
    """US dollars, as the API stated it."""
    task_id: str | None = None
    error: str | None = None
    """Why there is no picture."""
    params: Mapping[str, Any] | None = None
    """
    What was sent besides prompt and model, in the API's names; None: no command orders
    it again.
    """
