"""Both transports on uvloop, which web servers bring along."""

from __future__ import annotations

import asyncio

import pytest
from support.raw import in_turn, message, raw
from support.transports import body_of, get, order
from support.waiting import until

uvloop = pytest.importorskip("uvloop")
uvloop.run(asyncio.sleep(0))  # it opens a pipe, once for the process

SAID = b'{"said": "so"}'
LARGE = b"x" * 300_000


@pytest.fixture(scope="module")
def anyio_backend():
    """Run the tests of this module on uvloop."""
    return "asyncio", {"use_uvloop": True}


async def test_orders_and_polls_go_by_one_connection(way):
    """Small ones, and those that the other transport carries."""
    async with way.server(raw(message(SAID))) as server, way.to(server) as transport:
        for request in (order(), get(), order(LARGE), order(bytes(2 << 20)), get()):
            assert await body_of(transport, request) == SAID
        assert server.connections <= 3
    await until(lambda: server.open_now == 0)


async def test_closing_cuts_what_junk_had_closed(way):
    """Behind an answer longer than it said, aiohttp closes a connection twice."""
    answers = in_turn(raw(message(LARGE) + b"junk"), raw(message(SAID)))
    async with way.server(answers) as server:
        async with way.to(server) as transport:
            assert await body_of(transport) == LARGE
            assert await body_of(transport) == SAID
        await until(lambda: transport.connections == 0)
