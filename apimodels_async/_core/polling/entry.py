"""
One task being tracked.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from attrs import define

from apimodels_async.errors import GenerationFailedError, UnexpectedResponseError
from apimodels_async.models import ImageResult, TaskState

if TYPE_CHECKING:
    from datetime import datetime

    from apimodels_async._core.polling.latency import Sample
    from apimodels_async._ports import EndListener, Permit
    from apimodels_async.errors import ApiModelsError


@define(eq=False, repr=False)
class Entry:
    """What is known of a task, and how it ended."""

    task_id: str
    model: str | None = None
    state: TaskState = TaskState.PENDING
    outcome: ImageResult | ApiModelsError | None = None
    """How it ended; None while pending. Set once."""
    watched_at: float = 0.0
    attached: bool = False
    """Taken up by id: this session did not create it."""
    glance: bool = False
    """Nobody waits for it: a callback named it, and the API is asked what it is."""
    seen: bool = True
    """The state is the API's word; an attached task's is not, before its first poll."""
    started_at: float = -math.inf
    """Start of the last poll."""
    due_at: float = 0.0
    place: int = -1
    """Its tick on the grid; -1 while it is in the backlog or being polled."""
    expects_callback: bool = False
    """Its end is announced by a callback."""
    hinted: bool = False
    """A callback has come."""
    created_at: datetime | None = None
    """When the API took it on, by the API's clock; once it has ended, if told."""
    answered_at: datetime | None = None
    """The date of that answer, by the same clock."""
    strikes: int = 0
    """Answers in a row of the same kind, see the ledger."""
    struck_by: type[ApiModelsError] | None = None
    """That kind."""
    heard: int | None = None
    """Hash of the last answer that left it unfinished: the same says nothing new."""
    misses: int = 0
    """Polls in a row without a readable answer."""
    group: str = ""
    """Model and size: tasks that take about as long."""
    permit: Permit | None = None
    """Of its order; released when it ends."""
    record: EndListener | None = None
    """Where its order is written down, if it is."""
    sample: Sample | None = None
    """What this task teaches about its group."""

    def follow(self, record: EndListener | None) -> None:
        """Let *record* know how it ends, or has ended, unless another one does."""
        if self.record is None and record is not None:
            self.record = record
            if self.outcome is not None:
                record.settled(self.outcome)

    @property
    def ended_by_word(self) -> bool:
        """Whether the API said that it has ended, and how."""
        words = (ImageResult, GenerationFailedError, UnexpectedResponseError)
        return isinstance(self.outcome, words)

    @property
    def done(self) -> bool:
        """Whether the task has ended for us."""
        return self.outcome is not None
