"""
The emulator's clock, and the timers on it.

Rules: all due actions live in one heap with one loop timer, so ten thousand
tasks cost ten thousand heap entries and no asyncio task. Actions are plain
functions and run in order of due time, whether the clock moved by itself or by
``Timeline.advance``.
"""

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from math import inf


class Timeline:
    """A clock in seconds that can be moved forward, with timers on it."""

    def __init__(self) -> None:
        self._offset_s = 0.0
        self._epoch_s = time.time() - time.monotonic()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = inf

    def now(self) -> float:
        """Return clock seconds: monotonic plus what was advanced."""
        return time.monotonic() + self._offset_s

    def epoch_ms(self, at: float) -> int:
        """Return clock time *at* as milliseconds since 1970, the API's unit."""
        return int((self._epoch_s + at) * 1000)

    def at(self, due: float, action: Callable[[], None]) -> None:
        """Run *action* once the clock reaches *due*; an infinite one never runs."""
        if due == inf:
            return
        heapq.heappush(self._due, (due, next(self._numbers), action))
        if due < self._armed_for:
            self._arm()

    def run_due(self) -> None:
        """Run what is due now, in order."""
        now = self.now()
        while self._due and self._due[0][0] <= now:
            heapq.heappop(self._due)[2]()

    def advance(self, seconds: float) -> None:
        """Move the clock forward and run what became due."""
        if seconds < 0:
            msg = f"the clock only moves forward, got {seconds}"
            raise ValueError(msg)
        self._offset_s += seconds
        self.run_due()
        self._arm()

    def close(self) -> None:
        """Drop all timers."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._armed_for = inf

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._armed_for = self._due[0][0] if self._due else inf
        if not self._due:
            return
        delay = max(0.0, self._armed_for - self.now())
        self._timer = asyncio.get_running_loop().call_later(delay, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.run_due()
        self._arm()
