"""Bodies whose connection is gone before anybody reads them."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler
from aiohttp.streams import StreamReader

from apimodels_async._io.http.bodies import read_into

ENOUGH = 1000


def lost():
    """Return a connection that is lost, and a body that was on its way over it."""
    loop = asyncio.get_running_loop()
    protocol = ResponseHandler(loop)
    payload = StreamReader(protocol, ENOUGH, loop=loop)
    payload.feed_data(b"half")
    protocol.connection_lost(None)
    return protocol, payload


async def test_a_body_that_nobody_ended_is_not_waited_for():
    """aiohttp told it nothing: the loss itself is the error."""
    protocol, payload = lost()
    arrived = bytearray()
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await read_into(arrived, payload, protocol, ENOUGH)

    assert arrived == b"half"


async def test_a_body_that_came_whole_outlives_its_connection():
    """What had its end before the loss is read as ever."""
    loop = asyncio.get_running_loop()
    protocol = ResponseHandler(loop)
    payload = StreamReader(protocol, ENOUGH, loop=loop)
    payload.feed_data(b"whole")
    payload.feed_eof()
    protocol.connection_lost(None)
    arrived = bytearray()
    await read_into(arrived, payload, protocol, ENOUGH)

    assert arrived == b"whole"


async def test_what_came_before_an_error_is_kept():
    """The error goes on, and the bytes that it overtook are there."""
    protocol, payload = lost()
    payload.set_exception(aiohttp.ClientPayloadError("cut"))
    arrived = bytearray()
    with pytest.raises(aiohttp.ClientPayloadError):
        await read_into(arrived, payload, protocol, ENOUGH)

    assert arrived == b"half"


async def test_a_loss_that_aiohttp_no_longer_waits_for_is_no_trouble():
    """A closing that was cancelled has cancelled what tells of the loss."""
    loop = asyncio.get_running_loop()
    protocol = ResponseHandler(loop)
    payload = StreamReader(protocol, ENOUGH, loop=loop)
    protocol.closed.cancel()
    with pytest.raises(RuntimeError, match="Connection closed"):
        await read_into(bytearray(), payload, protocol, ENOUGH)
    await asyncio.sleep(0)  # its callbacks run
