"""The bot before a Discord and an image API on loopback."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parent.parent))

from bot_studio import stub

from discord_bot.stub import TOKEN, Discord

anyio_backend = stub.asyncio_backend
emulator = stub.emulator
log = stub.log
let_leases_end = stub.let_leases_end


@pytest.fixture
async def chat():
    """Serve Discord's REST API and gateway on loopback."""
    chat = Discord()
    app = web.Application()
    app.router.add_get("/gateway/", chat.connect)
    app.router.add_route("*", "/api/v10/{path:.*}", chat.rest)
    async with stub.serving(app) as host:
        chat.url, chat.gateway = f"http://{host}/api/v10", f"ws://{host}/gateway/"
        yield chat


@pytest.fixture
async def start(chat, emulator, tmp_path):
    """Return a context manager that runs the bot; told to stop at the end."""
    return partial(
        stub.running,
        Path(__file__).parent,
        tmp_path,
        emulator,
        DISCORD_BOT_TOKEN=TOKEN,
        DISCORD_API_URL=chat.url,
        DISCORD_GATEWAY_URL=chat.gateway,
    )
