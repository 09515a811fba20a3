"""How often the tracker wakes up: a matter of ticks, not of tasks."""

from __future__ import annotations

import asyncio

from support.fakes import Rig, done_after
from support.virtual_time import virtual_time

from apimodels_async._core.polling.grid import TICK_S
from apimodels_async._io.tracker import BEGUN

anyio_backend = virtual_time


async def test_tasks_that_begin_at_odd_times_share_wake_ups():
    """However many tasks wait, the tracker wakes at most once a tick."""
    async with Rig(done_after(10_000), latency=0.03) as rig:
        for index in range(400):
            rig.watch(f"t{index}")
            await asyncio.sleep(0.0137)
        before, asked = rig.clock.wakes, len(rig.transport.calls)
        await asyncio.sleep(50)
        wakes = rig.clock.wakes - before
        polls = len(rig.transport.calls) - asked

        assert polls >= 400 * 19
        assert wakes <= 50 / TICK_S + 2


async def test_a_lonely_task_wakes_it_once_a_poll():
    """Ticks on which nothing is due pass unnoticed."""
    async with Rig(done_after(10_000)) as rig:
        rig.watch()
        await asyncio.sleep(250)

        assert rig.clock.wakes <= 2 * len(rig.transport.calls) + 2


async def test_a_sweep_begins_in_slices():
    """Polls that are due at one moment do not take the loop for one long turn."""
    async with Rig(done_after(10_000), latency=0.3) as rig:
        for index in range(3 * BEGUN):
            rig.watch(f"t{index}")
        asked = rig.transport.calls
        turns, before = list[int](), 0
        while len(asked) < 3 * BEGUN:
            await asyncio.sleep(0 if asked else TICK_S)
            turns.append(len(asked) - before)
            before = len(asked)

        assert sum(turns) == 3 * BEGUN
        assert max(turns) <= 2 * BEGUN  # this test itself is a turn behind
