"""
How far a job is, for whoever enqueued it.
"""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen

from apimodels_async._text import Value
from apimodels_async.integrations.streaq.jobs import Answer


class JobState(StrEnum):
    """Where a job is."""

    MISSING = "missing"
    """The broker knows none: never put, or its answer was kept long enough."""
    QUEUED = "queued"
    """It waits for a worker."""
    RUNNING = "running"
    """A worker has it; or had it, and is gone: then another one will."""
    ENDED = "ended"
    """Its answer is there."""


@frozen(eq=False, repr=False, kw_only=True)
class Progress(Value):
    """What the broker says of one job."""

    state: JobState
    """Where the job is."""
    tries: int = 0
    """How often it was given to a worker."""
    task_id: str | None = None
    """The API's id of its task, once accepted."""
    answer: Answer | None = None
    """Once it has ended."""


def progress_key(queue: str, job: str) -> str:
    """Return where a worker puts the task of *job*."""
    return f"apimodels:{queue}:accepted:{job}"
