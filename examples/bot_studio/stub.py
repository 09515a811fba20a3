"""
What the tests of both bots share: a chat that is waited for, and the bot as its owner
runs it, a process of its own.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from apimodels_async.emulator import Emulator


class Chat:
    """A chat service with one user and one bot, which may be started again."""

    folder: Path
    """Of the bot."""
    token: str
    """By which the service knows the bot."""
    start: Callable[[], AbstractAsyncContextManager[Any]]
    """Runs the bot; it is told to stop at the end."""

    def __init__(self) -> None:
        self.files: list[list[bytes]] = []
        """Of each message with pictures, the pictures."""
        self._news = asyncio.Condition()

    @property
    def texts(self) -> list[str]:
        """Everything the bot said, edits included."""
        raise NotImplementedError

    def routes(self) -> list[web.RouteDef]:
        """Return the service's own API."""
        raise NotImplementedError

    def settings(self, host: str) -> dict[str, str]:
        """Return what the bot is told, with the service at *host*."""
        raise NotImplementedError

    async def order(self, prompt: str, count: int = 1) -> None:
        """Let the user ask for pictures."""
        raise NotImplementedError

    async def repeat(self) -> None:
        """Deliver the last order once more, as services do now and then."""
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
async def serving(chat: Chat, home: Path, emulator: Emulator) -> AsyncIterator[Any]:
    """Serve *chat* on loopback, for a bot that keeps what it has in *home*."""
    app = web.Application()
    app.add_routes(chat.routes())
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    settings = chat.settings(f"127.0.0.1:{runner.addresses[0][1]}")
    chat.start = partial(running, chat.folder, home, emulator, settings)
    yield chat
    await runner.cleanup()


@asynccontextmanager
async def running(
    bot: Path, home: Path, emulator: Emulator, settings: dict[str, str]
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


def orders(emulator):
    """Return the paid requests that reached the image API."""
    return [record for record in emulator.requests if record.endpoint == "create"]


async def ordered(emulator, count):
    """Wait until that many orders have arrived."""
    while len(orders(emulator)) < count:  # noqa: ASYNC110  no event
        await asyncio.sleep(0.01)
