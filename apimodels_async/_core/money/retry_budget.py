"""
A limit on retries for the whole session: an outage must not be made worse.

Retries are paid for with tokens. Every request earns a tenth of one, so that retries
add at most a tenth to the traffic, and time earns a few, so that a quiet session can
still retry. Source: the retry budgets of Finagle (20 %) and of SRE practice (10 %).
"""

from __future__ import annotations

from typing import Final

PER_REQUEST: Final = 0.1
PER_S: Final = 1.0
TOKENS_MAX: Final = 10.0


class RetryBudget:
    """Decides whether one more retry is affordable. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._tokens = TOKENS_MAX
        self._at = 0.0

    def earn(self, now: float) -> None:
        """Note a request that is not a retry."""
        self._refill(now)
        self._tokens = min(TOKENS_MAX, self._tokens + PER_REQUEST)

    def spend(self, now: float) -> bool:
        """Take one token for a retry; False: there is none, give up."""
        self._refill(now)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _refill(self, now: float) -> None:
        passed, self._at = max(0.0, now - self._at), now
        self._tokens = min(TOKENS_MAX, self._tokens + passed * PER_S)
