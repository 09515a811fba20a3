"""
Which tasks are pending, when each is due, and what an answer about it settles.

Rules of this file:
1. Everything that decides about pending tasks is here; nothing here waits, sends or
   reads a clock. Times are monotonic seconds, given by the caller as *now*.
2. An entry leaves the ledger only by settling (result, failure, 404, refused key,
   deadline) or by ``Ledger.close``. No other answer removes it. What nobody waits
   for, a mere look (``Entry.glance``), may be given up by ``Ledger.drop``.
3. An entry settles once. Answers about an id that is not here change nothing: the
   deadline or a close may have settled it while its poll was under way.
4. Only the word "failed" is free of charge. Whatever else ends a wait says nothing
   about money, since the task was accepted: ``charged`` is None.
5. A word about one request is no word about the others: that the key is refused is
   believed after three times, and a 404 only from the API itself.

Theory of operation:
1. ``due`` hands out what is due and takes it off the grid (``grid.py``): an entry
   is either on the grid or being polled, so no task ever has two polls in flight.
2. ``apply`` takes the answer and puts the entry back, one interval after the
   *start* of its last poll, or settles it.
3. All deadlines are the same span after watching, so the oldest entry always has the
   next one; the dict's order is the deadline order.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, TypeGuard

from attrs import define, field

from apimodels_async._core.polling.entry import Entry
from apimodels_async._core.polling.grid import Grid
from apimodels_async.errors import (
    ApiModelsError,
    APIStatusError,
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    TaskNotFoundError,
    TaskTimeoutError,
    TransportError,
    UnexpectedResponseError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from apimodels_async._core.polling.callback_trust import CallbackTrust
    from apimodels_async._core.polling.latency import Latency
    from apimodels_async.errors import SessionClosedError
    from apimodels_async.models import ImageResult, TaskSnapshot

NOT_FOUND_GRACE_S: Final = 30.0
"""A replica of the API may not know a new task yet."""
SPREAD, SPREAD_MAX = 0.1, 1.0
"""Intervals added after a failed poll: full jitter, doubling. Those that failed at once
do not come back at once, and an outage is asked less, not more."""
MISSES_MAX: Final = 10  # more change nothing, and 2.0**1024 overflows
STRIKES: Final = 3
"""Answers of one kind in a row (404, completed without a URL, a refused key) before it
is believed."""


@define(eq=False, repr=False)
class Ledger:
    """The state behind the tracker."""

    interval: float = 2.5
    deadline: float = 1800.0
    _draw: Callable[[], float] = lambda: 0.0
    """Uniform in 0-1: the jitter."""
    _max_polls: int = 64
    _max_rate: float | None = None
    """Polls a second, at most."""
    latency: Latency | None = None
    """Where first polls are learned."""
    callback_trust: CallbackTrust | None = None
    """Whether callbacks can be relied on; None: there are none."""
    claimed: set[str] = field(init=False, factory=set[str])
    """Ids of the tasks that orders of this session bought, ended ones too; 100 bytes
    each. No two orders share a task."""
    _attached: set[str] = field(init=False, factory=set[str])
    """Ids that were taken up, ended ones too: none is what a new order bought."""
    _asked: dict[str, float] = field(init=False, factory=dict[str, float])
    """Task -> start of its last poll, of those whose wait ended a moment ago."""
    _key_strikes: int = field(init=False, default=0)
    """Refusals of the key since the last good answer, whatever the task."""
    _key_struck_at: float = field(init=False, default=0.0)
    """When the first of them came."""
    _entries: dict[str, Entry] = field(init=False, factory=dict[str, Entry])
    _grid: Grid = field(init=False)
    _next_deadline: float = field(init=False, default=math.inf)

    def __attrs_post_init__(self) -> None:
        self._grid = Grid(self.interval, self._max_polls, self._max_rate)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[str]:
        return (e.task_id for e in self._entries.values() if not e.glance)

    def get(self, task_id: str) -> Entry | None:
        """Return the pending entry of *task_id*."""
        return self._entries.get(task_id)

    def knows(self, task_id: str) -> bool:
        """Return whether *task_id* is accounted for: bought, tracked or taken up."""
        return (
            task_id in self.claimed
            or task_id in self._attached
            or task_id in self._entries
        )

    def watch(self, entry: Entry, now: float) -> None:
        """
        Take up *entry*: due one interval from now, or at once if it was attached.

        Attached just after a wait for it ended, it is due an interval after that one's
        last poll.
        """
        entry.watched_at = now
        entry.seen = not entry.attached
        self._entries[entry.task_id] = entry
        self._next_deadline = min(self._next_deadline, now + self.deadline)
        if entry.attached:
            if not entry.glance:
                self._attached.add(entry.task_id)
            asked = self._asked.pop(entry.task_id, -math.inf)
            entry.started_at = asked
            self._grid.put(entry, max(now, asked + self.interval))
            return
        if self.latency is not None:
            entry.sample = self.latency.join(entry.group, now)
        first = self._first_poll(entry, now)
        self._grid.put(entry, now + (self._wait(entry) if first is None else first))

    def _wait(self, entry: Entry) -> float:
        wait = self._grid.wait(len(self._entries))
        if self._waits_for_callback(entry) and self.callback_trust is not None:
            return max(wait, self.callback_trust.interval)
        return wait

    def _waits_for_callback(self, entry: Entry) -> bool:
        # After its callback, an entry that is not done (a replica behind, a forger) is
        # polled as any other.
        covers = self.callback_trust is not None and self.callback_trust.trusted
        return covers and entry.expects_callback and not entry.hinted

    def _first_poll(self, entry: Entry, now: float) -> float | None:
        if self.latency is None or entry.attached or self._waits_for_callback(entry):
            return None
        return self.latency.first_poll(entry.group, now)

    def next_due(self) -> float:
        """Return when the next entry is due; infinite if nothing is on the grid."""
        return self._grid.next_due()

    def next_deadline(self) -> float:
        """
        Return a time at or before the next deadline; infinite if nothing is pending.
        """
        return self._next_deadline

    def due(self, now: float) -> list[Entry]:
        """Return the entries to poll *now*, and take them off the grid."""
        return self._grid.take(now, len(self._entries))

    def hint(self, entry: Entry, now: float) -> None:
        """
        Make *entry* due as soon as an interval has passed since its last poll.

        However many hints come, they bring it forward once and ask no faster.
        """
        # A poll of it may be under way (place is -1 then): apply() sees *hinted* and
        # puts it back as a task that no longer waits for its callback.
        entry.hinted = True
        at = max(now, entry.started_at + self.interval)
        if entry.place >= 0 and at < entry.due_at:
            self._grid.put(entry, at)

    def apply(
        self, entry: Entry, answer: TaskSnapshot | ApiModelsError, now: float
    ) -> list[Entry]:
        """
        Take in the answer to a poll; return the entries it settled, with outcomes.

        Three times 401 or 403 of the API's own settle every pending entry: the key is
        refused, not the task. Once is a stumble, and touches no task.
        """
        # While the poll was under way the deadline, a refused key or close() may have
        # settled the entry: whoever waited has been told, and one word is enough.
        if entry.outcome is not None:
            return []
        ended: ImageResult | ApiModelsError | None
        wait = self._wait(entry)
        if isinstance(answer, ApiModelsError):
            if _refuses_key(answer) and self._strike_key(now):
                return self._settle_all(self._key_refused(answer), now)
            entry.misses = min(entry.misses + 1, MISSES_MAX)
            wait *= 1 + self._draw() * min(SPREAD_MAX, SPREAD * 2.0**entry.misses)
            believed = _strikes(entry, answer)
            ended = self._verdict(entry, answer, now) if believed else None
        else:
            entry.strikes = entry.misses = self._key_strikes = 0
            entry.seen = True
            entry.state = answer.state
            entry.created_at, entry.answered_at = answer.created_at, answer.answered_at
            ended = answer.result or answer.error
        self._learn(entry, answer, now)
        if (
            self.callback_trust is not None
            and entry.expects_callback
            and entry.state.finished
        ):
            self.callback_trust.ended(hinted=entry.hinted)
        if ended is None:
            # From the start of the poll, not its answer: a slow answer must not make
            # the next one later. Never in the past: lateness is measured from it.
            first = self._first_poll(entry, now) or 0.0
            again = max(now, entry.started_at + wait, entry.watched_at + first)
            self._grid.put(entry, again)
            return []
        return [self._settle(entry, ended, now)]

    def _strike_key(self, now: float) -> bool:
        """Take note that the key was refused; return whether that is to be believed."""
        if not self._key_strikes:
            self._key_struck_at = now
        self._key_strikes += 1
        lasted = now - self._key_struck_at
        return self._key_strikes >= STRIKES and lasted >= self.interval

    def _key_refused(self, error: APIStatusError) -> APIStatusError:
        self._key_strikes = 0
        ended = error.fresh()
        msg = (
            f"{error.message}; tasks that were accepted before go on and may be "
            "charged: attach them by id with a key that works"
        )
        ended.args = (msg,)
        ended.charged = None
        ended.task_ids = tuple(self)
        return ended

    def _learn(
        self, entry: Entry, answer: TaskSnapshot | ApiModelsError, now: float
    ) -> None:
        sample = entry.sample
        if sample is None or self.latency is None or isinstance(answer, ApiModelsError):
            return
        if answer.result is None and answer.error is None:
            self.latency.polled(sample)
            return
        duration = answer.result.duration_s if answer.result is not None else None
        self.latency.ended(sample, duration, now - entry.watched_at)

    def _verdict(
        self, entry: Entry, error: ApiModelsError, now: float
    ) -> ApiModelsError | None:
        if isinstance(error, UnexpectedResponseError):
            return error
        if not entry.attached and now < entry.watched_at + NOT_FOUND_GRACE_S:
            return None
        msg = f"the API does not know task {entry.task_id} ({error.message})"
        return TaskNotFoundError(msg, task_id=entry.task_id, status=error.status)

    def expire(self, now: float) -> list[Entry]:
        """Settle the entries whose deadline has passed, and return them."""
        settled: list[Entry] = []
        while now >= self._next_deadline:
            oldest = next(iter(self._entries.values()), None)
            if oldest is None:
                self._next_deadline = math.inf
            elif now >= oldest.watched_at + self.deadline:
                settled.append(self._settle(oldest, self._timeout(oldest), now))
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
        """Settle everything that is pending with *error*, and return it."""
        return self._settle_all(error, -math.inf)

    def keep(self, entry: Entry) -> None:
        """Take note that somebody waits for *entry*, which was a mere look perhaps."""
        entry.glance = False
        self._attached.add(entry.task_id)

    def drop(self, entry: Entry, now: float) -> list[Entry]:
        """Give *entry* up, if it still is a mere look and pending; return it then."""
        if not entry.glance or entry.outcome is not None:
            return []
        msg = f"nobody waits for task {entry.task_id}"
        return [self._settle(entry, TaskNotFoundError(msg, task_id=entry.task_id), now)]

    def _settle(
        self, entry: Entry, ended: ImageResult | ApiModelsError, now: float
    ) -> Entry:
        entry.outcome = ended
        if isinstance(ended, ApiModelsError) and not entry.state.finished:
            self._remember(entry, now)
        del self._entries[entry.task_id]
        return entry

    def _remember(self, entry: Entry, now: float) -> None:
        # A task that is taken up again is not asked for sooner than if its wait had
        # gone on. Oldest first, and none is needed for longer than an interval.
        while self._asked:
            task_id, asked = next(iter(self._asked.items()))
            if asked > now - self.interval:
                break
            del self._asked[task_id]
        if entry.started_at > now - self.interval:
            self._asked[entry.task_id] = entry.started_at

    def _settle_all(self, error: ApiModelsError, now: float) -> list[Entry]:
        return [
            self._settle(entry, error.fresh(task_id=entry.task_id), now)
            for entry in list(self._entries.values())
        ]


def _refuses_key(error: ApiModelsError) -> TypeGuard[APIStatusError]:
    # Without the API's envelope it is a firewall's or a gateway's page.
    return _is_the_apis(error) and isinstance(
        error, (AuthenticationError, PermissionDeniedError)
    )


def _is_the_apis(error: ApiModelsError) -> bool:
    return isinstance(error, APIStatusError) and error.code is not None


def _strikes(entry: Entry, error: ApiModelsError) -> bool:
    """Count *error* with those of its kind; return whether it is to be believed."""
    if isinstance(error, TransportError):  # nobody answered: that says nothing
        return False
    kind = _kind(error)
    entry.strikes = entry.strikes + 1 if kind is entry.struck_by else 1
    entry.struck_by = kind
    return kind is not None and entry.strikes >= STRIKES


def _kind(error: ApiModelsError) -> type[ApiModelsError] | None:
    if isinstance(error, NotFoundError):
        return NotFoundError if _is_the_apis(error) else None
    without_urls = isinstance(error, UnexpectedResponseError) and error.charged is True
    return UnexpectedResponseError if without_urls else None
