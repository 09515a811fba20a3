"""
How long a session counts as alive in a store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define, field

if TYPE_CHECKING:
    from apimodels_async._ports import Clock

SPARE: Final = 1 / 6
"""Of a lease, before its end, from which it counts as ended: clocks differ."""


@define(eq=False, repr=False)
class Lease:
    """
    How long the others will take this session for alive.

    By both clocks: the monotonic one stands still while a machine sleeps, and the
    other one may be set.
    """

    _clock: Clock
    seconds: float
    _until: float = field(init=False, default=float("-inf"))
    _wall_until: float = field(init=False, default=float("-inf"))

    def times(self) -> tuple[float, float]:
        """Return the moment from which a renewal that begins now will count."""
        return self._clock.time(), self._clock.utcnow().timestamp()

    def renewed(self, began: tuple[float, float]) -> None:
        """Note that the store renewed it; that was asked for at *began*."""
        counts_for = self.seconds * (1 - SPARE)
        self._until = max(self._until, began[0] + counts_for)
        self._wall_until = began[1] + counts_for

    @property
    def held(self) -> bool:
        """Whether it has not run out."""
        now, wall = self.times()
        return now < self._until and wall < self._wall_until
