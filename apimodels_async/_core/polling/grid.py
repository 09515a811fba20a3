"""
When it is whose turn: due times on a grid of ticks, handed out at a bounded rate.

Theory of operation:
1. Each tick has a list of entries; a heap holds the ticks themselves. One wake-up so
   serves many polls.
2. What is due joins a backlog, and a token bucket says how much of it goes now. 500
   tasks made in one instant are asked for over some ticks, and as each comes back one
   interval after its own poll, they stay apart.
3. After a stall (the program was busy for seconds) the bucket holds one tick's worth
   and no more: missed ticks are skipped, never made up for in a burst.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from typing import TYPE_CHECKING, Final

from attrs import define, field

if TYPE_CHECKING:
    from apimodels_async._core.polling.entry import Entry

TICK_S: Final = 0.05
"""Seconds. 50-100 ms: 3.9 times less CPU than one timer a poll (500 tasks, 2.5 s)."""
SLACK: Final = 1.25
"""Handed out faster than the pending tasks need by this, or a backlog would stay."""

WHOLE: Final = 1.0 - 1e-6
"""A token, but for rounding."""


@define(eq=False, repr=False)
class Grid:
    """Entries that wait for their turn. Times are monotonic seconds."""

    _interval: float
    _at_once: int
    """Entries a tick, while that is enough for all of them."""
    _max_rate: float | None
    """Entries a second, at most."""
    _tick: float = field(init=False)
    _places: dict[int, list[Entry]] = field(
        init=False, factory=dict[int, "list[Entry]"]
    )
    _ticks: list[int] = field(init=False, factory=list[int])
    _backlog: deque[Entry] = field(init=False, factory=deque)
    _tokens: float = field(init=False, default=0.0)
    _counted_at: float = field(init=False, default=-math.inf)
    _rate: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        # An unchecked policy (an emulator) may poll faster than the usual tick.
        self._tick = min(TICK_S, self._interval / 10)
        self._rate = self._rate_for(0)

    def _rate_for(self, pending: int) -> float:
        if self._max_rate is not None:
            return self._max_rate
        return max(self._at_once / self._tick, SLACK * pending / self._interval)

    def wait(self, pending: int) -> float:
        """Return the seconds between two polls of one task, *pending* being pending."""
        if self._max_rate is None:
            return self._interval
        return max(self._interval, pending / self._max_rate)

    def put(self, entry: Entry, at: float) -> None:
        """Place *entry* on the first tick at or after *at*, and nowhere else."""
        tick = math.ceil(at / self._tick)
        entry.due_at = tick * self._tick
        if tick == entry.place:  # still listed there
            return
        entry.place = tick
        if tick in self._places:
            self._places[tick].append(entry)
        else:
            self._places[tick] = [entry]
            heapq.heappush(self._ticks, tick)

    def next_due(self) -> float:
        """Return when ``take`` will next have something; infinite if never."""
        if self._backlog:
            pause = (1.0 - self._tokens) / self._rate
            return self._counted_at + max(self._tick, pause)
        return self._ticks[0] * self._tick if self._ticks else math.inf

    def take(self, now: float, pending: int) -> list[Entry]:
        """Return the entries whose turn it is, and take them off the grid."""
        self._rate = rate = self._rate_for(pending)
        # A tick's worth at most, or one: what was not used in a stall is gone.
        gained = min(now - self._counted_at, max(self._tick, 1.0 / rate)) * rate
        self._tokens, self._counted_at = min(self._tokens, 1.0) + gained, now
        while self._ticks and self._ticks[0] * self._tick <= now:
            tick = heapq.heappop(self._ticks)
            for entry in self._places.pop(tick):
                # One that has settled or moved since it was put here is passed over.
                if entry.outcome is None and entry.place == tick:
                    entry.place = -1
                    ahead = len(self._backlog) / (rate * self._tick)
                    entry.due_at += int(ahead) * self._tick
                    self._backlog.append(entry)
        taken: list[Entry] = []
        while self._backlog and self._tokens >= WHOLE:
            entry = self._backlog.popleft()
            if entry.outcome is None:
                self._tokens -= 1.0
                taken.append(entry)
        return taken
