"""
A quick emulator, sessions made by the dozen, and batches that are run to their end.
"""

from __future__ import annotations

import pytest


@pytest.fixture
async def emulator():
    """Serve the API with service times of 20 to 60 ms."""
    from apimodels_async.emulator import Emulator

    async with Emulator(service_times={"*": (0.02, 0.06)}) as emulator:
        yield emulator


@pytest.fixture
async def connect():
    """Return a maker of quick, impatient sessions; they are closed after the test."""
    from apimodels_async import PollPolicy, RetryPolicy, Session, Timeouts

    made = []

    def connect(server, **options):
        defaults = {
            "api_key": getattr(server, "api_key", "sk_canary_7f3a9c51d2"),
            "base_url": server.base_url,
            "polling": PollPolicy.unchecked(interval=0.03),
            "retry": RetryPolicy(base=0.01),
            "timeouts": Timeouts(connect=20, read=20, generate=20, download=20),
        }
        session = Session(**(defaults | options))
        made.append(session)
        return session

    yield connect
    for session in made:
        await session.aclose()


@pytest.fixture
def session(emulator, connect):
    """Return a session on the emulator."""
    return connect(emulator)
