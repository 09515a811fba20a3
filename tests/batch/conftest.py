"""A quicker emulator: batches are run to their end."""

from __future__ import annotations

import pytest
from support.sessions import KEY

from apimodels_async.emulator import Emulator


@pytest.fixture
async def emulator():
    """Serve the API with service times of 20 to 60 ms."""
    async with Emulator(api_key=KEY, service_times={"*": (0.02, 0.06)}) as emulator:
        yield emulator
