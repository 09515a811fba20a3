"""The clock that can be moved, and the timers on it."""

import asyncio

import pytest

from apimodels_async.emulator.service.timeline import Timeline


async def test_the_clock_moves_forward_only():
    """A negative step is refused; advancing runs what is due, in order."""
    timeline, seen = Timeline(), []
    start = timeline.now()
    for delay in (3, 1, 2, 60):
        timeline.at(start + delay, lambda delay=delay: seen.append(delay))
    timeline.advance(5)

    assert seen == [1, 2, 3]
    with pytest.raises(ValueError, match="only moves forward"):
        timeline.advance(-1)
    timeline.close()


async def test_a_jump_over_everything_that_was_due_leaves_the_clock_running():
    """What is ordered after a jump is due in its own time, not in that of the past."""
    timeline, seen = Timeline(), asyncio.Event()
    timeline.at(timeline.now() + 600, lambda: None)
    timeline.advance(601)
    timeline.at(timeline.now() + 0.01, seen.set)
    async with asyncio.timeout(5):
        await seen.wait()
    timeline.close()
