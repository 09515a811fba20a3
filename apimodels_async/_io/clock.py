"""
The event loop's time, the wall clock and sleeping.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apimodels_async._ports import Waitable


class LoopClock:
    """The ``Clock`` of one event loop."""

    def __init__(self) -> None:
        self._time = asyncio.get_running_loop().time

    def time(self) -> float:
        """Return the loop's monotonic seconds."""
        return self._time()

    def utcnow(self) -> datetime:
        """Return the wall clock, in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Wait for *seconds*."""
        await asyncio.sleep(seconds)

    async def wait(self, event: Waitable, until: float | None) -> None:
        """Wait for *event*, at most until *until* (None: for ever)."""
        try:
            async with asyncio.timeout_at(until):
                await event.wait()
        except TimeoutError:
            return
