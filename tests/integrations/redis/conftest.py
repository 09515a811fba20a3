"""One Redis server for the tests of a module, emptied for each."""

from __future__ import annotations

import pytest
from support.redis import ABSENT, FOUND, RedisProxy, RedisServer


@pytest.fixture(scope="session")
def running_server():
    """Serve for all tests of this process."""
    if not FOUND:
        pytest.skip(ABSENT)
    with RedisServer(()) as server:
        yield server


@pytest.fixture
def server(running_server):
    """Return a server that holds nothing, and that the test leaves running."""
    with running_server.client() as client:
        client.flushall()
    return running_server


@pytest.fixture
def mortal():
    """Return a server that the test may end and start, with nothing in it."""
    if not FOUND:
        pytest.skip(ABSENT)
    with RedisServer(()) as server:
        yield server


@pytest.fixture
async def proxy(server):
    """Return a proxy before the server."""
    async with RedisProxy(server) as proxy:
        yield proxy
