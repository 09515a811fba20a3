"""
Which tasks are pending, when each is due, and what an answer about it settles.

Rules of this file:
1. Everything that decides about pending tasks is here; nothing here waits, sends or
   reads a clock. Times are monotonic seconds, given by the caller as *now*.
2. An entry leaves the ledger only by settling (result, failure, 404, refused key,
   deadline) or by :meth:`Ledger.close`. No other answer removes it.
3. An entry settles once. Answers about an id that is not here change nothing: the
   deadline or a close may have settled it while its poll was under way.

Theory of operation:
1. Due times live on one grid of ticks, so that one wake-up serves many polls. Each
   tick has a list of entries; a heap holds the ticks themselves.
2. :meth:`due` hands out what is due and takes it off the grid: an entry is either on
   the grid or being polled, so no task ever has two polls in flight.
3. :meth:`apply` takes the answer and puts the entry back, one interval after the
   *start* of its last poll, or settles it.
4. All deadlines are the same span after watching, so the oldest entry always has the
   next one; the dict's order is the deadline order.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Final

from attrs import define, field

from apimodels_async.errors import (
    ApiModelsError,
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    TaskNotFoundError,
    TaskTimeoutError,
    UnexpectedResponseError,
)
from apimodels_async.models import ImageResult, TaskState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from apimodels_async.errors import SessionClosedError
    from apimodels_async.models import TaskSnapshot

TICK_S: Final = 0.05
"""Seconds. 50-100 ms: 3.9 times less CPU than one timer a poll (500 tasks, 2.5 s)."""
NOT_FOUND_GRACE_S: Final = 30.0
"""A replica of the API may not know a new task yet."""
SPREAD, SPREAD_MAX = 0.1, 1.0
"""Intervals added after a failed poll: full jitter, doubling. Those that failed at once
do not come back at once, and an outage is asked less, not more."""
MISSES_MAX: Final = 10  # more change nothing, and 2.0**1024 overflows
STRIKES: Final = 3
"""Answers in a row (404, or completed without a URL) before one is believed."""


@define(eq=False)
class Entry:
    """
    One task being tracked: what is known, and how it ended.
    """

    task_id: str
    model: str | None = None
    state: TaskState = TaskState.PENDING
    outcome: ImageResult | ApiModelsError | None = None
    """How it ended; None while pending. Set once."""
    watched_at: float = 0.0
    attached: bool = False
    """Taken up by id: this session did not create it."""
    seen: bool = True
    """The state is the API's word; an attached task's is not, before its first poll."""
    started_at: float = -math.inf
    """Start of the last poll."""
    due_at: float = 0.0
    strikes: int = 0
    misses: int = 0
    """Polls in a row without a readable answer."""

    @property
    def done(self) -> bool:
        """
        Whether the task has ended for us.
        """
        return self.outcome is not None


@define(eq=False)
class Ledger:
    """
    The state behind the tracker.
    """

    interval: float = 2.5
    deadline: float = 1800.0
    _draw: Callable[[], float] = lambda: 0.0
    """Uniform in 0-1: the jitter."""
    _tick: float = field(init=False)
    _entries: dict[str, Entry] = field(init=False, factory=dict[str, Entry])
    _grid: dict[int, list[Entry]] = field(init=False, factory=dict[int, "list[Entry]"])
    _ticks: list[int] = field(init=False, factory=list[int])
    _next_deadline: float = field(init=False, default=math.inf)

    def __attrs_post_init__(self) -> None:
        # An unchecked policy (an emulator) may poll faster than the usual tick.
        self._tick = min(TICK_S, self.interval / 10)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def get(self, task_id: str) -> Entry | None:
        """
        Return the pending entry of *task_id*.
        """
        return self._entries.get(task_id)

    def watch(self, entry: Entry, now: float) -> None:
        """
        Take up *entry*: due one interval from now, or at once if it was attached.
        """
        entry.watched_at = now
        entry.seen = not entry.attached
        self._entries[entry.task_id] = entry
        self._next_deadline = min(self._next_deadline, now + self.deadline)
        self._put(entry, now if entry.attached else now + self.interval)

    def _put(self, entry: Entry, at: float) -> None:
        tick = math.ceil(at / self._tick)
        entry.due_at = tick * self._tick
        if tick in self._grid:
            self._grid[tick].append(entry)
        else:
            self._grid[tick] = [entry]
            heapq.heappush(self._ticks, tick)

    def next_due(self) -> float:
        """
        Return when the next entry is due; infinite if nothing is on the grid.
        """
        return self._ticks[0] * self._tick if self._ticks else math.inf

    def next_deadline(self) -> float:
        """
        Return a time at or before the next deadline; infinite if nothing is pending.
        """
        return self._next_deadline

    def due(self, now: float) -> list[Entry]:
        """
        Return the entries due by *now*, oldest tick first, and take them off the grid.
        """
        found: list[Entry] = []
        while self._ticks and self._ticks[0] * self._tick <= now:
            tick = heapq.heappop(self._ticks)
            # One that has settled since it was put here needs no poll.
            found.extend(e for e in self._grid.pop(tick) if e.outcome is None)
        return found

    def apply(
        self, entry: Entry, answer: TaskSnapshot | ApiModelsError, now: float
    ) -> list[Entry]:
        """
        Take in the answer to a poll; return the entries it settled, with outcomes.

        401 and 403 settle every pending entry: the key is refused, not the task.
        """
        if entry.outcome is not None:
            return []
        ended: ImageResult | ApiModelsError | None
        wait = self.interval
        if isinstance(answer, ApiModelsError):
            if _refuses_key(answer):
                return self._settle_all(answer)
            entry.misses = min(entry.misses + 1, MISSES_MAX)
            wait *= 1 + self._draw() * min(SPREAD_MAX, SPREAD * 2.0**entry.misses)
            entry.strikes = entry.strikes + 1 if _is_strike(answer) else 0
            ended = self._verdict(entry, answer, now)
        else:
            entry.strikes = entry.misses = 0
            entry.seen = True
            entry.state = answer.state
            ended = answer.result or answer.error
        if ended is None:
            self._put(entry, max(now, entry.started_at + wait))
            return []
        return [self._settle(entry, ended)]

    def _verdict(
        self, entry: Entry, error: ApiModelsError, now: float
    ) -> ApiModelsError | None:
        if entry.strikes < STRIKES:
            return None
        if isinstance(error, UnexpectedResponseError):
            return error
        if not entry.attached and now < entry.watched_at + NOT_FOUND_GRACE_S:
            return None
        msg = f"the API does not know task {entry.task_id} ({error.message})"
        return TaskNotFoundError(msg, task_id=entry.task_id, status=error.status)

    def expire(self, now: float) -> list[Entry]:
        """
        Settle the entries whose deadline has passed, and return them.
        """
        settled: list[Entry] = []
        while now >= self._next_deadline:
            oldest = next(iter(self._entries.values()), None)
            if oldest is None:
                self._next_deadline = math.inf
            elif now >= oldest.watched_at + self.deadline:
                settled.append(self._settle(oldest, self._timeout(oldest)))
            else:
                self._next_deadline = oldest.watched_at + self.deadline
        return settled

    def _timeout(self, entry: Entry) -> TaskTimeoutError:
        msg = (
            f"task {entry.task_id} was still {entry.state.value!r} after "
            f"{self.deadline:g} s; it may still finish: attach({entry.task_id!r})"
        )
        return TaskTimeoutError(msg, task_id=entry.task_id)

    def close(self, error: SessionClosedError) -> list[Entry]:
        """
        Settle everything that is pending with *error*, and return it.
        """
        return self._settle_all(error)

    def _settle(self, entry: Entry, ended: ImageResult | ApiModelsError) -> Entry:
        entry.outcome = ended
        del self._entries[entry.task_id]
        return entry

    def _settle_all(self, error: ApiModelsError) -> list[Entry]:
        return [
            self._settle(entry, error.fresh(task_id=entry.task_id))
            for entry in list(self._entries.values())
        ]


def _refuses_key(error: ApiModelsError) -> bool:
    # A 403 without the API's envelope is a firewall's page: it touches one poll only.
    return isinstance(error, AuthenticationError) or (
        isinstance(error, PermissionDeniedError) and error.code is not None
    )


def _is_strike(error: ApiModelsError) -> bool:
    if isinstance(error, NotFoundError):
        return True
    return isinstance(error, UnexpectedResponseError) and error.charged is True
