"""
An emulator with its port, and impatient sessions.
"""

from __future__ import annotations

import pytest

KEY = "sk_canary_4b1d9e7a60"


@pytest.fixture
async def emulator():
    """Serve the API with service times of 20 ms."""
    from apimodels_async.emulator import Emulator

    async with Emulator(api_key=KEY, service_times={"*": 0.02}) as emulator:
        yield emulator


@pytest.fixture
def port(emulator):
    """Return where the emulator listens."""
    return int(emulator.origin.rpartition(":")[2])


@pytest.fixture
async def connect():
    """Return a maker of impatient sessions; they are closed after the test."""
    from apimodels_async import PollPolicy, RetryPolicy, Session, Timeouts

    made = []

    def connect(server, **options):
        defaults = {
            "api_key": KEY,
            "base_url": server.base_url,
            "polling": PollPolicy.unchecked(interval=0.05),
            "retry": RetryPolicy(base=0.01),
            "timeouts": Timeouts(connect=20, read=20, generate=20, download=20),
        }
        session = Session(**(defaults | options))
        made.append(session)
        return session

    yield connect
    for session in made:
        await session.aclose()
