"""Kinds of requests that share one pool."""

from __future__ import annotations

import asyncio

import pytest
from support.virtual_time import virtual_time

from apimodels_async._io.http.places import ConnectionPlaces
from apimodels_async._ports import Kind

anyio_backend = virtual_time


async def hold(places, kind, seconds, most=None):
    """Hold a place for some seconds; keep count in *most*."""
    if not places.take(kind):
        await places.wait(kind)
    try:
        if most is not None:
            most[0] += 1
            most[1] = max(most)
        await asyncio.sleep(seconds)
        if most is not None:
            most[0] -= 1
    finally:
        places.release(kind)


async def test_orders_leave_a_quarter_to_the_others():
    """However many slow orders there are, a poll finds a place at once."""
    places = ConnectionPlaces(8)
    orders = [asyncio.create_task(hold(places, Kind.GENERATE, 150)) for _ in range(50)]
    await asyncio.sleep(1)
    async with asyncio.timeout(0.01):
        await hold(places, Kind.FREE, 0)
    for order in orders:
        order.cancel()
    await asyncio.wait(orders)


async def test_polls_cannot_keep_orders_out():
    """An order gets the next place for it although polls never stop coming."""
    places = ConnectionPlaces(3)

    async def poll():
        while True:
            await hold(places, Kind.FREE, 1)

    polls = [asyncio.create_task(poll()) for _ in range(2)]
    async with asyncio.timeout(3):
        await hold(places, Kind.CREATE, 0)
    for each in polls:
        each.cancel()
    await asyncio.wait(polls)


async def test_no_more_places_than_there_are():
    """All kinds together never hold more than the pool has."""
    places, most = ConnectionPlaces(5), [0, 0]
    kinds = [Kind.FREE, Kind.CREATE, Kind.GENERATE, Kind.UPLOAD] * 20
    await asyncio.gather(*(hold(places, kind, 1, most) for kind in kinds))

    assert most == [0, 5]


async def test_a_pool_of_one_serves_all_kinds():
    """With a single connection everybody has a turn."""
    places = ConnectionPlaces(1)
    kinds = [Kind.CREATE, Kind.FREE, Kind.CREATE, Kind.FREE]
    await asyncio.gather(*(hold(places, kind, 1) for kind in kinds))

    assert asyncio.get_running_loop().time() == pytest.approx(4)


async def test_cancelling_at_any_step_loses_no_place():
    """A request cancelled while it waits, or as its turn comes, holds nothing."""
    for steps in range(6):
        places = ConnectionPlaces(1)
        held = asyncio.create_task(hold(places, Kind.CREATE, 1))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(hold(places, Kind.CREATE, 1))
        await asyncio.sleep(0)
        held.cancel()
        for _ in range(steps):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([held, waiting])
        async with asyncio.timeout(0.01):
            await hold(places, Kind.FREE, 0)
