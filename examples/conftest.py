"""What the tests of these programs share."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def anyio_backend():
    """Run async tests on asyncio."""
    return "asyncio"


@pytest.fixture
async def emulator():
    """Serve the image API on loopback: pictures take half a second to a second."""
    from apimodels_async.emulator import Emulator

    async with Emulator(service_times={"*": (0.5, 1.0)}) as emulator:
        yield emulator


@pytest.fixture
async def telegram(emulator, tmp_path):
    """Serve a Telegram with one chat, and a bot to start."""
    from bot_studio.stub import serving
    from telegram_bot.stub import Telegram

    async with serving(Telegram(), tmp_path, emulator) as telegram:
        yield telegram


@pytest.fixture
async def discord(emulator, tmp_path):
    """Serve a Discord with one channel, and a bot to start."""
    from bot_studio.stub import serving
    from discord_bot.stub import Discord

    async with serving(Discord(), tmp_path, emulator) as discord:
        yield discord


@pytest.fixture
def log(tmp_path):
    """Return what gives all that a bot has logged so far."""
    return (tmp_path / "log").read_text


@pytest.fixture
def let_leases_end(tmp_path):
    """Return what lets the minute pass for which a killed bot counts as alive."""

    def let_leases_end(file=tmp_path / "data" / "orders.sqlite"):
        with closing(sqlite3.connect(file)) as rows, rows:
            rows.execute("DELETE FROM owners")

    return let_leases_end
