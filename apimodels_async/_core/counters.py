"""
What a session has counted so far, in one place.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from apimodels_async.errors import GenerationFailedError
from apimodels_async.models import ImageResult, SessionStats

if TYPE_CHECKING:
    from apimodels_async.errors import ApiModelsError


class Counters:
    """The numbers behind ``session.stats()``."""

    def __init__(self) -> None:
        self.submitted: int = 0
        self.completed: int = 0
        """Tasks, not the pictures of synchronous calls."""
        self.failed: int = 0
        self.unknown: int = 0
        self.polls: int = 0
        self.poll_errors: int = 0
        self.late_s: float = 0.0
        """Sum over all polls of the seconds between being due and being started."""
        self.late_max_s: float = 0.0
        self.callbacks: int = 0
        self.spent: Decimal = Decimal(0)
        self._ended = set[str]()
        """Ids of the tasks whose end was counted; 100 bytes each."""

    def polled(self, late_s: float) -> None:
        """Count a poll that was started *late_s* seconds after it was due."""
        self.polls += 1
        self.late_s += late_s
        self.late_max_s = max(self.late_max_s, late_s)

    def accepted(self, product: object) -> None:
        """Count an order that the API took; *product* may already be its result."""
        self.submitted += 1
        if isinstance(product, ImageResult):
            self.spent += product.credits or 0

    def ended(self, task_id: str, outcome: ImageResult | ApiModelsError | None) -> None:
        """Count how a task ended; one that is attached again is counted once."""
        if isinstance(outcome, (ImageResult, GenerationFailedError)):
            if task_id in self._ended:
                return
            self._ended.add(task_id)
        if isinstance(outcome, ImageResult):
            self.completed += 1
            self.spent += outcome.credits or 0
        elif isinstance(outcome, GenerationFailedError):
            self.failed += 1

    def stats(
        self, *, pending: int, under_way: int, connections: int | None
    ) -> SessionStats:
        """Return the counts, with the numbers that are only true now."""
        return SessionStats(
            pending=pending,
            under_way=under_way,
            submitted=self.submitted,
            completed=self.completed,
            failed=self.failed,
            unknown=self.unknown,
            polls=self.polls,
            poll_errors=self.poll_errors,
            lateness_s=self.late_s / max(1, self.polls),
            lateness_max_s=self.late_max_s,
            callbacks=self.callbacks,
            connections=connections,
            spent=self.spent,
        )
