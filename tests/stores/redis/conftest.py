"""Redis servers that a test may break."""

from __future__ import annotations

import pytest
from support.redis import ABSENT, FOUND, SAFE, SERVERS, RedisServer


@pytest.fixture(params=SERVERS)
def start(request):
    """Return what starts a server with options of its own."""
    if not FOUND:
        pytest.skip(ABSENT)
    servers = []

    def start(*options):
        server = RedisServer(options, program=request.param)
        servers.append(server)
        return server.start()

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def server(start):
    """Return a server that holds nothing."""
    return start(*SAFE)
