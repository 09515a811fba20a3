"""
What the tests of both bots share: a chat that is waited for, and the bot as its owner
runs it, a process of its own.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from apimodels_async.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Chat:
    """Something that a bot says things to."""

    def __init__(self) -> None:
        self.files: list[list[bytes]] = []
        """Of each message with pictures, the pictures."""
        self._news = asyncio.Condition()

    @property
    def texts(self) -> list[str]:
        """Everything the bot said, edits included."""
        raise NotImplementedError

    async def _changed(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def until(self, *words: str) -> str:
        """Wait until the bot has said something with all *words*; return it."""
        async with self._news:
            while True:
                for text in self.texts:
                    if all(word in text for word in words):
                        return text
                await self._news.wait()

    async def until_files(self, count: int) -> None:
        """Wait until the bot has sent that many messages with pictures."""
        async with self._news:
            await self._news.wait_for(lambda: len(self.files) >= count)


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """Serve *app* on loopback; yield its host and port."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@asynccontextmanager
async def running(
    bot: Path, home: Path, emulator: Emulator, **settings: str
) -> AsyncIterator[Any]:
    """Run the bot in the folder *bot*; it is told to stop at the end."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "BOT_DATA": str(home / "data"),
        "APIMODELS_API_KEY": emulator.api_key,
        "APIMODELS_BASE_URL": emulator.base_url,
        **settings,
    }
    with (home / "log").open("a") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(bot), env=environment, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


@pytest.fixture(scope="session")
def asyncio_backend():
    """Run async tests on asyncio."""
    return "asyncio"


@pytest.fixture
async def emulator():
    """Serve the image API on loopback: pictures take half a second to a second."""
    async with Emulator(service_times={"*": (0.5, 1.0)}) as emulator:
        yield emulator


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


def orders(emulator):
    """Return the paid requests that reached the image API."""
    return [record for record in emulator.requests if record.endpoint == "create"]


async def ordered(emulator, count):
    """Wait until that many orders have arrived."""
    while len(orders(emulator)) < count:  # noqa: ASYNC110  no event
        await asyncio.sleep(0.01)
