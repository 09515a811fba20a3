"""The bot before a chat and an image API on loopback."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parent.parent))

from bot_studio import stub

from telegram_bot.stub import TOKEN, Telegram

anyio_backend = stub.asyncio_backend
emulator = stub.emulator
log = stub.log
let_leases_end = stub.let_leases_end


@pytest.fixture
async def telegram():
    """Serve the Bot API on loopback."""
    telegram = Telegram()
    app = web.Application()
    app.router.add_post("/bot{token}/{method}", telegram.handle)
    async with stub.serving(app) as host:
        telegram.url = f"http://{host}"
        yield telegram


@pytest.fixture
async def start(telegram, emulator, tmp_path):
    """Return a context manager that runs the bot; told to stop at the end."""
    return partial(
        stub.running,
        Path(__file__).parent,
        tmp_path,
        emulator,
        TELEGRAM_BOT_TOKEN=TOKEN,
        TELEGRAM_API_URL=telegram.url,
    )
