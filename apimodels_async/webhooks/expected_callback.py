"""
The callback that one order is to get, and what hints have said of its task.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from attrs import define, field

if TYPE_CHECKING:
    import asyncio

    from apimodels_async.stores.sent_order import SentOrder

NAMED_MAX: Final = 16
"""Tasks that wait to be looked at, for one order. The API will call again."""
REFUTED_MAX: Final = 256


@define(eq=False, repr=False)
class ExpectedCallback:
    """The callback that an order is to get."""

    nonce: str
    model: str | None
    made_at: float
    sent_since: float
    """When it was sent at the earliest."""
    record: SentOrder | None = None
    """Where the order is written down, if it is."""
    task_id: str | None = None
    """Of its task, once known; empty where the answer was the picture itself."""
    salvaged: str | None = None
    """The task that its broken answer shows."""
    lost_at: float = 0.0
    """When it was sent at the latest, where its answer was lost."""
    called: bool = False
    """Whether a hint has come."""
    named: dict[str, None] = field(factory=dict[str, None])
    """The tasks that hints named and that are still to be looked at, oldest first."""
    refuted: set[str] = field(factory=set[str])
    """Those of which the API has said that they are something else."""
    looked_at: float = -math.inf
    wake: asyncio.Event | None = None
    """Set by a hint, while one is waited for."""
    lost: bool = False
    """Its fate was reported as unknown: what is found now is an orphan."""

    @property
    def settled(self) -> bool:
        """
        Whether its callback is not needed again.

        With a record not before that names the task: after a crash in between the
        callback may be the only one who still knows it.
        """
        if self.task_id is None:
            return False
        return self.record is None or self.record.durable

    def refute(self, task_id: str) -> None:
        """Take note that the API has said that a task is something else."""
        if len(self.refuted) < REFUTED_MAX:
            self.refuted.add(task_id)
