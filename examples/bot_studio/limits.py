"""What one user may order."""

from __future__ import annotations

import math
import time
from collections import defaultdict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR_S = 3600.0


class LimitError(Exception):
    """Not now; the message is for the user."""


class Limits:
    """
    Pictures an hour, and orders at once, for each user.

    Args:
        hourly: Pictures a user may order within any 60 minutes.

        at_once: Orders of one user that may be under way.

        clock: Monotonic seconds.
    """

    def __init__(
        self,
        hourly: int = 20,
        at_once: int = 2,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hourly, self._at_once, self._clock = hourly, at_once, clock
        self._ordered: dict[str, deque[float]] = defaultdict(deque)
        self._under_way: dict[str, int] = defaultdict(int)

    def enter(self, user: str, pictures: int) -> None:
        """Count an order; raise ``LimitError`` if it is one too many."""
        if self._under_way[user] >= self._at_once:
            msg = f"You have {self._at_once} orders under way. Wait for one to finish."
            raise LimitError(msg)
        now, past = self._clock(), self._ordered[user]
        while past and past[0] <= now - HOUR_S:
            past.popleft()
        if len(past) + pictures > self._hourly:
            wait = math.ceil((past[0] + HOUR_S - now) / 60) if past else 60
            msg = (
                f"That would be more than {self._hourly} pictures an hour. "
                f"Try again in {wait} min."
            )
            raise LimitError(msg)
        past.extend([now] * pictures)
        self._under_way[user] += 1

    def again(self, user: str) -> None:
        """Count an order of before a restart, which is never one too many."""
        self._under_way[user] += 1

    def leave(self, user: str) -> None:
        """Take note that an order is through."""
        self._under_way[user] -= 1
