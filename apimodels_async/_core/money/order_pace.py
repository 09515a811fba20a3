"""
How fast orders may be sent: free until the API's first 429, then at a pace it bears.

The API's limit counts for the account and its documentation gives no number, so the
pace is found: by how many orders were taken in which time, then a little faster with
each one that is taken and slower with each 429.
"""

from __future__ import annotations

import math
from typing import Final

from apimodels_async.policies import RETRY_AFTER_MAX_S

PAUSE_MIN_S: Final = 1.0
PAUSE_MAX_S: Final = 30.0
"""Between probes at least, doubling from one that is refused to the next, whatever a
Retry-After says: "0" would be asked again with each round trip."""
FASTER: Final = 0.98
"""What an order that is taken makes of the interval, at least."""
FASTER_MOST: Final = 5
"""Times that it may do so at once: by a tenth."""
RUN_MIN: Final = 20
"""Orders taken in a row after which the estimate counts as too careful: from there on
the interval shrinks with each by ever more."""
SLOWER: Final = 1.3
"""What a 429 makes of it."""
FREE_S: Final = 0.005
"""An interval below this is none."""


class OrderPace:
    """Decides when the next order may be sent. Times are monotonic seconds."""

    def __init__(self, interval_min: float = 0.0) -> None:
        self.interval_min = interval_min
        """Seconds between two orders at least, by the user's own word."""
        self._interval: float | None = None
        """Found out; None before the first 429 and while that is being found out."""
        self._blocked_until = 0.0
        self._next_at = 0.0
        self._probing = False
        """The pace is not known: one order at a time, after each pause."""
        self._probe_at = math.inf
        """Start of the order that is out; infinite if none is."""
        self._braked_at = -1.0
        self._streak = 0
        """Pauses in a row without an order that was taken."""
        self._run = 0
        """Orders taken in a row."""
        self._counted_from: float | None = None
        """Start of the first order since the last finding."""
        self._taken = 0

    def next_start(self, now: float) -> float | None:
        """
        Return when the next order may be sent, *now* at the earliest.

        None: only after an order that is out has been answered.
        """
        if self._probing and self._probe_at < math.inf:
            return None
        return max(now, self._blocked_until, self._next_at)

    def started(self, now: float) -> None:
        """Note that an order is sent now."""
        if self._counted_from is None:
            self._counted_from = now
        self._probe_at = now
        interval = max(self.interval_min, self._interval or 0.0)
        self._next_at = max(now, self._next_at) + interval

    def unsent(self) -> None:
        """Note that an order that was let go will not be answered."""
        self._probe_at = math.inf

    def taken(self, now: float) -> None:
        """Note that the API took an order, or refused it for another reason."""
        self._taken += 1
        self._streak = 0
        self._run += 1
        if self._probing:
            self._find(now, 0.0)
        elif self._interval is not None:
            # A long interval is measured in few orders, and those of a quiet time: once
            # for each of its seconds, or it would take an hour to be rid of it.
            times = max(1.0, self._run - RUN_MIN, self._interval)
            faster = self._interval * FASTER ** min(times, FASTER_MOST)
            self._interval = faster if faster >= FREE_S else None

    def throttled(self, started: float, now: float, retry_after: float | None) -> None:
        """Note a 429 to an order that *started* then."""
        if retry_after is not None:
            # A longer wish is that of one order. The others are not held up for hours
            # by it; they ask again.
            retry_after = min(retry_after, RETRY_AFTER_MAX_S)
            self._blocked_until = max(self._blocked_until, now + retry_after)
        if not self._probing or started >= self._probe_at:
            self._probe_at = math.inf  # an older order's 429 is not the probe's
        if started <= self._braked_at:
            return  # it left before the brake, and says nothing new
        self._braked_at = now
        self._run = 0
        if self._interval is not None:
            self._interval = min(self._interval * SLOWER, PAUSE_MAX_S)
            self._blocked_until = max(self._blocked_until, now + self._interval)
            self._next_at = self._blocked_until
        else:
            pause = min(PAUSE_MAX_S, PAUSE_MIN_S * 2.0 ** min(self._streak, 10))
            if self._taken and retry_after is not None and retry_after >= pause:
                self._find(now, retry_after)
            else:
                self._blocked_until = max(self._blocked_until, now + pause)
                self._probing = True
        self._streak += 1

    def _find(self, now: float, wait: float) -> None:
        span = now - (self._counted_from if self._counted_from is not None else now)
        self._interval = min((span + wait) / max(1, self._taken), PAUSE_MAX_S)
        self._next_at = max(now, self._blocked_until)
        self._probing = False
        self._counted_from, self._taken = None, 0
