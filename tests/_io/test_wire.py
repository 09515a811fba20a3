"""What only requests written by hand have; the rest is in test_transports*.py."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from support.raw import RawServer

from apimodels_async._io.http.failures import BrokenError
from apimodels_async._io.wire import LOST, _ready


async def test_a_connection_that_is_closing_is_sent_nothing():
    """It was looked at when it was idle; lost since, the request counts as unsent."""
    async with RawServer() as server:
        port = int(server.origin.rpartition(":")[2])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.transport.abort()
        with pytest.raises(BrokenError, match=LOST):
            _ready(SimpleNamespace(transport=writer.transport), None)
        await asyncio.sleep(0)

    assert server.received == []
