"""The one clock of a session."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from support.virtual_time import virtual_time

from apimodels_async._io.clock import LoopClock

anyio_backend = virtual_time


async def test_the_clock_is_the_loops():
    """Seconds and sleeps are the loop's, dates the wall clock's."""
    clock = LoopClock()
    before = datetime.now(UTC)
    assert before <= clock.utcnow() <= datetime.now(UTC)

    await clock.sleep(90)
    assert clock.time() == asyncio.get_running_loop().time() == 90
    event = asyncio.Event()
    await clock.wait(event, 100)
    assert clock.time() == 100
    event.set()
    await clock.wait(event, None)
    assert clock.time() == 100
