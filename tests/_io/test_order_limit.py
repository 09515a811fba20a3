"""Orders of one account wait for each other, within one process."""

from __future__ import annotations

import asyncio

import pytest
from support.virtual_time import virtual_time

from apimodels_async import ConfigurationError, LocalLimit

anyio_backend = virtual_time


def now():
    """Return the loop's seconds."""
    return asyncio.get_running_loop().time()


async def test_orders_are_free_until_the_first_429():
    """A thousand permits are had at once."""
    limit = LocalLimit()
    permits = [await limit.acquire() for _ in range(1000)]

    assert now() == 0
    assert len(permits) == 1000


async def test_a_429_holds_everybody_back_for_as_long_as_it_says():
    """After a Retry-After of 7 s nobody gets a permit for 7 s."""
    limit = LocalLimit()
    (await limit.acquire()).throttled(7.0)
    await limit.acquire()

    assert now() == pytest.approx(7.0)


async def test_permits_are_given_in_the_sequence_they_were_asked_for():
    """Whoever came first goes first, and who was cancelled is left out."""
    limit, came = LocalLimit(per_second=10), []

    async def order(number):
        await limit.acquire()
        came.append(number)

    orders = [asyncio.create_task(order(number)) for number in range(10)]
    await asyncio.sleep(0.25)
    orders[5].cancel()
    await asyncio.wait(orders)

    assert came == [0, 1, 2, 3, 4, 6, 7, 8, 9]


async def test_so_many_are_pending_and_no_more():
    """With pending=2 a third order waits until one of two has ended."""
    limit = LocalLimit(pending=2)
    first, _ = await limit.acquire(), await limit.acquire()
    first.taken()
    third = asyncio.create_task(limit.acquire())
    await asyncio.sleep(100)
    assert not third.done()
    first.release()
    first.release()  # again, it changes nothing
    fourth = asyncio.create_task(limit.acquire())
    await asyncio.sleep(1)

    assert third.done()
    assert not fourth.done()
    fourth.cancel()


async def test_cancelling_at_any_step_takes_no_permit():
    """A cancelled order gives its turn back, also in the step in which it came."""
    for steps in range(8):
        limit = LocalLimit(pending=1)
        held = await limit.acquire()
        waiting = asyncio.create_task(limit.acquire())
        await asyncio.sleep(0)
        held.release()
        for _ in range(steps):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        if not waiting.cancelled():
            waiting.result().release()
        async with asyncio.timeout(1):
            await limit.acquire()


async def test_a_probe_that_is_cancelled_blocks_nobody():
    """While the pace is being found out, a cancelled order lets the next one try."""
    limit = LocalLimit()
    (await limit.acquire()).throttled(None)
    first = asyncio.create_task(limit.acquire())
    second = asyncio.create_task(limit.acquire())
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(1.0, first.cancel)
    await asyncio.sleep(5)
    if first.done() and not first.cancelled():
        first.result().release()

    async with asyncio.timeout(60):
        await second


def test_numbers_that_make_no_sense_are_refused():
    """Zero, less than zero and truth values are no limits."""
    for value in (0, -1, True, "2"):
        with pytest.raises(ConfigurationError):
            LocalLimit(pending=value)
        with pytest.raises(ConfigurationError):
            LocalLimit(per_second=value)
    with pytest.raises(ConfigurationError):
        LocalLimit(pending=1.5)


async def test_a_permit_that_is_given_back_unanswered_blocks_nobody():
    """The one order that all wait for may be cancelled before it was answered."""
    limit = LocalLimit()
    (await limit.acquire()).throttled(None)
    probe = await limit.acquire()
    waiting = asyncio.create_task(limit.acquire())
    await asyncio.sleep(10)
    assert not waiting.done()
    probe.release()

    async with asyncio.timeout(1):
        await waiting


async def test_who_is_cancelled_leaves_no_timer():
    """Once nobody waits for a permit, the loop has nothing left to do."""
    limit = LocalLimit()
    (await limit.acquire()).throttled(600.0)
    waiting = [asyncio.create_task(limit.acquire()) for _ in range(3)]
    await asyncio.sleep(1)
    for order in waiting:
        order.cancel()
    await asyncio.wait(waiting)

    timers = asyncio.get_running_loop()._scheduled
    assert not [timer for timer in timers if not timer.cancelled()]
