"""A quicker emulator, and whether there is all night."""

from __future__ import annotations

import os

import pytest
from support.sessions import KEY

from apimodels_async.emulator import Emulator

LONG = bool(os.environ.get("SOAK"))
"""Set by the nightly session: everything is tried longer."""


def pytest_itemcollected(item):
    """Give programs, which start more programs, four times the time of a test."""
    if not LONG and item.get_closest_marker("timeout") is None:
        item.add_marker(pytest.mark.timeout(240))


@pytest.fixture
async def emulator():
    """Serve the API with service times of 20 ms."""
    async with Emulator(api_key=KEY, service_times={"*": 0.02}) as emulator:
        yield emulator
