"""
Turns: bounded, patient, and over at once when stopped.
"""

from __future__ import annotations

import asyncio

import pytest
from support.virtual_time import virtual_time

from apimodels_async._io.files.turns import StoppedError, Turns

anyio_backend = virtual_time


async def test_waiting_for_a_place_is_no_ones_time():
    """Ten files of 8 s each, two at once, 10 s for each: all of them end well."""
    turns, running, most = Turns(2, 10), 0, 0

    async def work():
        nonlocal running, most
        async with turns.take():
            running += 1
            most = max(most, running)
            await asyncio.sleep(8)
            running -= 1

    await asyncio.gather(*(work() for _ in range(10)))
    assert most == 2
    assert asyncio.get_running_loop().time() >= 40


async def test_a_turn_that_takes_too_long_ends():
    """Its own time is bounded, and the place is free for the next."""
    turns = Turns(1, 10)
    with pytest.raises(TimeoutError):  # noqa: PT012  a context is what is tried
        async with turns.take() as turn:
            assert turn.left == pytest.approx(10)
            await asyncio.sleep(11)
    async with turns.take():
        pass


async def test_who_pauses_makes_room():
    """A pause is part of a file's time, the wait after it is not."""
    turns, order = Turns(1, 100), []

    async def pausing():
        async with turns.take() as turn:
            order.append("begun")
            await turn.pause(asyncio.sleep(60))
            order.append("goes on")
            assert turn.left == pytest.approx(40)

    async def other():
        async with turns.take():
            order.append("other")
            await asyncio.sleep(90)

    await asyncio.gather(pausing(), other())
    assert order == ["begun", "other", "goes on"]


async def test_stopping_ends_all_and_cancels_nobody():
    """Running, pausing, waiting or new: each gets an error, no task is cancelled."""
    turns = Turns(2, 1000)

    async def run(pause):
        async with turns.take() as turn:
            if pause:
                await turn.pause(asyncio.sleep(500))
            await asyncio.sleep(500)

    tasks = [asyncio.create_task(run(n == 0)) for n in range(6)]
    await asyncio.sleep(1)
    turns.stop()
    turns.stop()
    begun = asyncio.get_running_loop().time()
    ended = await asyncio.gather(*tasks, run(pause=False), return_exceptions=True)

    assert {type(each) for each in ended} == {StoppedError}
    assert asyncio.get_running_loop().time() - begun < 0.1
    assert not any(task.cancelling() for task in tasks)


async def test_a_turn_stopped_before_it_pauses_does_not_go_on():
    """What stop() did is not taken back by a turn that reckons its time anew."""
    turns = Turns(1, 10)
    with pytest.raises(StoppedError):  # noqa: PT012  a context is what is tried
        async with turns.take() as turn:
            turns.stop()
            turn.end()
            await turn.begin()


async def test_a_cancelled_turn_is_cancelled():
    """A cancellation of the caller's stays one, and gives the place back."""
    turns = Turns(1, 10)

    async def run():
        async with turns.take():
            await asyncio.sleep(5)

    held, waiting = (asyncio.create_task(run()) for _ in range(2))
    await asyncio.sleep(1)
    waiting.cancel()
    held.cancel()
    await asyncio.wait([held, waiting])
    assert held.cancelled()
    assert waiting.cancelled()
    await run()
