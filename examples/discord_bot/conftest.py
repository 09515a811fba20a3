"""
The bot as its owner runs it: a process of its own, a Discord and an image API on
loopback.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parent.parent))

from apimodels_async.emulator import Emulator
from discord_bot.stub import TOKEN, Discord


@pytest.fixture(scope="session")
def anyio_backend():
    """Run async tests on asyncio."""
    return "asyncio"


@pytest.fixture
async def chat():
    """Serve Discord's REST API and gateway on loopback."""
    chat = Discord()
    app = web.Application()
    app.router.add_get("/gateway/", chat.connect)
    app.router.add_route("*", "/api/v10/{path:.*}", chat.rest)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host = f"127.0.0.1:{runner.addresses[0][1]}"
    chat.url, chat.gateway = f"http://{host}/api/v10", f"ws://{host}/gateway/"
    yield chat
    await runner.cleanup()


@pytest.fixture
async def emulator():
    """Serve the image API on loopback: pictures take half a second to a second."""
    async with Emulator(service_times={"*": (0.5, 1.0)}) as emulator:
        yield emulator


@pytest.fixture
async def start(chat, emulator, tmp_path):
    """Return a context manager that runs the bot; told to stop at the end."""

    @asynccontextmanager
    async def start():
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "BOT_DATA": str(tmp_path / "data"),
            "DISCORD_BOT_TOKEN": TOKEN,
            "DISCORD_API_URL": chat.url,
            "DISCORD_GATEWAY_URL": chat.gateway,
            "APIMODELS_API_KEY": emulator.api_key,
            "APIMODELS_BASE_URL": emulator.base_url,
        }
        with (tmp_path / "log").open("a") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(Path(__file__).parent),
                env=environment,
                stdout=log,
                stderr=log,
            )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            await process.wait()

    return start


@pytest.fixture
def log(tmp_path):
    """Return what the bot has logged so far."""
    return (tmp_path / "log").read_text


@pytest.fixture
def let_leases_end(tmp_path):
    """Return what lets the minute pass for which a killed bot counts as alive."""

    def let_leases_end():
        with (
            closing(sqlite3.connect(tmp_path / "data" / "orders.sqlite")) as rows,
            rows,
        ):
            rows.execute("DELETE FROM owners")

    return let_leases_end
