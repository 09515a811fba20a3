"""
A quick emulator, and sessions that are made by the dozen and closed at the end.
"""

from __future__ import annotations

import pytest

from apimodels_async import Timeouts

KEY = "sk_canary_7f3a9c51d2"
# A server that means well is never too late, however busy the machine is.
PATIENT = Timeouts(connect=20, read=20, generate=20, download=20)
IMPATIENT = Timeouts(connect=3, read=0.2, generate=0.4, download=20)
ENDLESS = {"hang", "slow head", "slow body"}


def patience(fault):
    """Return time-outs for a fault of ``raw.CUTS``: only what never ends is cut off."""
    return IMPATIENT if fault in ENDLESS else PATIENT


@pytest.fixture
async def emulator():
    """Serve the API with service times of 80 ms."""
    from apimodels_async.emulator import Emulator

    async with Emulator(speed=50, service_times={"*": 4}) as emulator:
        yield emulator


@pytest.fixture
async def connect():
    """
    Return a maker of quick, impatient sessions; they are closed after the test.
    """
    from apimodels_async import PollPolicy, RetryPolicy, Session

    made = []

    def connect(server, **options):
        defaults = {
            "api_key": getattr(server, "api_key", KEY),
            "base_url": server.base_url,
            "polling": PollPolicy.unchecked(interval=0.05),
            "retry": RetryPolicy(base=0.01),
            "timeouts": PATIENT,
        }
        session = Session(**(defaults | options))
        made.append(session)
        return session

    yield connect
    for session in made:
        await session.aclose()
