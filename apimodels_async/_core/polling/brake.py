"""
One brake for all polls: a refused or failing API is asked less, by everyone at once.

Backing off per task would multiply the lag of each; a pause for the whole tracker
costs every task the same, and ends for all with the first good answer.
"""

from __future__ import annotations

from typing import Final

from apimodels_async.policies import RETRY_AFTER_MAX_S

PAUSE_MIN_S: Final = 1.0
PAUSE_MAX_S: Final = 30.0
"""Without a Retry-After. With one, up to RETRY_AFTER_MAX_S: a poll never gives its
task up, so a longer wait is cut to it."""

THROTTLED: Final = frozenset({429, 503})
"""Statuses that speak for the whole API, not for one task."""


class Brake:
    """
    Decides until when no poll starts. Times are monotonic seconds.

    A round are the polls between two pauses: what starts after one, and is in flight or
    answered when the next begins. One good answer in a round says that not all are
    refused, be it before or after the refusal, whose task may be refused for ever.
    """

    def __init__(self) -> None:
        self.until = 0.0
        """No poll starts before this."""
        self._round = 0.0
        """When the last round began, that is, when the pause before it ended."""
        self._least = 0.0
        """The end of this pause if nothing was refused before: its first second, or as
        long as a Retry-After says."""
        self._streak = 0
        """Pauses in a row without a good answer between them."""

    def throttled(self, started: float, now: float, retry_after: float | None) -> None:
        """
        Note a 429 or 503 to a poll that *started* then.

        The 64 polls in flight at one refusal will be refused too; only one that started
        after the pause it caused says anything new.
        """
        is_news, ended = started >= self.until, self.until
        if retry_after is not None:
            self._least = max(self._least, now + min(retry_after, RETRY_AFTER_MAX_S))
            self.until = max(self.until, self._least)
        if not is_news:
            return
        self._round = ended
        self._streak += 1
        pause = min(PAUSE_MAX_S, PAUSE_MIN_S * 2.0 ** min(self._streak - 1, 30))
        self._least = max(self._least, now + PAUSE_MIN_S)
        self.until = max(self.until, now + pause)

    def recovered(self, started: float) -> None:
        """Note a good answer to a poll that *started* then."""
        if started >= self._round:
            self._streak = 0
            self.until = min(self.until, self._least)
