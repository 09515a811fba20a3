"""One Redis server for the tests of this folder, emptied for each."""

from __future__ import annotations

import pytest
from support.ports import free_port
from support.redis import ABSENT, FOUND, SAFE, RedisServer


@pytest.fixture(scope="session")
def running_broker():
    """Serve for all tests of this process."""
    if not FOUND:
        pytest.skip(ABSENT)
    # Over TCP: anyio 4.16 has an exception in the loop, now and then, of a Unix socket
    # whose reader is cancelled as it wakes (add_reader(..., future.set_result)).
    with RedisServer(SAFE, port=free_port()) as server:
        yield server


@pytest.fixture
def broker(running_broker):
    """Return a server that holds nothing."""
    with running_broker.client() as client:
        client.flushall()
    return running_broker


@pytest.fixture
async def queue(broker, emulator):
    """Return the queue that it has, for orders at the emulator."""
    from apimodels_async.integrations.streaq import OrderQueue

    async with OrderQueue(broker.url, base_url=emulator.base_url) as queue:
        yield queue
