"""Bursts of callers are spread over turns of the event loop."""

from __future__ import annotations

import asyncio

import pytest
from support.virtual_time import virtual_time

from apimodels_async._io.pacer import SLICE, StartPacer

pytestmark = pytest.mark.anyio


anyio_backend = virtual_time


async def test_few_callers_do_not_wait():
    """As long as a turn has room, nobody gives way to anything else."""
    turns, others = StartPacer(), []
    asyncio.get_running_loop().call_soon(others.append, "ran")
    for _ in range(SLICE):
        await turns.take()
    assert others == []


async def test_a_burst_comes_in_slices_and_in_order():
    """No turn of the loop lets more than a slice through, and nobody overtakes."""
    turns, through, most = StartPacer(), [], 0

    async def caller(number):
        await turns.take()
        through.append(number)

    callers = [asyncio.create_task(caller(n)) for n in range(10 * SLICE)]
    while len(through) < len(callers):
        before = len(through)
        await asyncio.sleep(0)
        most = max(most, len(through) - before)
    assert through == list(range(10 * SLICE))
    assert most <= SLICE


async def test_a_cancelled_caller_holds_nobody_up():
    """Who stopped waiting takes no place, and those behind still come through."""
    turns = StartPacer()
    callers = [asyncio.create_task(turns.take()) for _ in range(4 * SLICE)]
    await asyncio.sleep(0)
    for each in callers[SLICE : 3 * SLICE]:
        each.cancel()
    await asyncio.wait(callers)
    assert [each.cancelled() for each in callers].count(True) == 2 * SLICE


async def test_room_comes_back():
    """A later turn has all its room again."""
    turns, others = StartPacer(), []
    for _ in range(3):
        for _ in range(SLICE):
            await turns.take()
        await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(others.append, "ran")
    for _ in range(SLICE):
        await turns.take()
    assert others == []
