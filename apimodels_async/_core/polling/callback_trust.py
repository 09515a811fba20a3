"""
Whether callbacks can be relied on just now.
"""

from __future__ import annotations

from typing import Final

from attrs import define

MISSES_MAX: Final = 3
"""In a row. Of callbacks that get lost one time in ten, a thousandth does that."""


@define(eq=False, repr=False)
class CallbackTrust:
    """
    Callbacks are trusted from the first that came true until some stay away in a row.
    """

    interval: float
    """Seconds between polls of a task that expects a callback, while trusted."""
    trusted: bool = False
    _misses: int = 0

    def ended(self, *, hinted: bool) -> None:
        """Note that a task that expected a callback has ended; *hinted*: one came."""
        self._misses = 0 if hinted else self._misses + 1
        self.trusted = hinted or (self.trusted and self._misses < MISSES_MAX)
