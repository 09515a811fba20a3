"""Run the bot: ``python examples/discord_bot``; see README.md beside this file."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # bot_studio, discord_bot


import discord
from bot_studio import Limits, Studio
from discord.gateway import DiscordWebSocket
from yarl import URL

from discord_bot.bot import DiscordDesk, Painter


async def main(token: str, folder: Path) -> None:
    """Serve /imagine until SIGINT or SIGTERM; keep orders and pictures in *folder*."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    if task is not None:
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
    bot = Painter()
    async with bot:
        await bot.login(token)  # before the studio, which may have to answer at once
        desk = DiscordDesk(bot)
        async with Studio.open(desk, Limits(), folder) as bot.studio:
            await bot.connect()


def point_at(url: str, gateway: str) -> None:
    """Use another Discord than the real one: a proxy's, or a test's."""
    discord.http.Route.BASE = url
    DiscordWebSocket.DEFAULT_GATEWAY = URL(gateway)


if __name__ == "__main__":
    discord.utils.setup_logging(level=logging.INFO)
    if "DISCORD_BOT_TOKEN" not in os.environ:
        sys.exit("set DISCORD_BOT_TOKEN to the token of your application's bot")
    if "DISCORD_API_URL" in os.environ:
        point_at(os.environ["DISCORD_API_URL"], os.environ["DISCORD_GATEWAY_URL"])
    data = Path(os.environ.get("BOT_DATA", "discord_bot_data"))
    data.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(asyncio.CancelledError, KeyboardInterrupt):
        asyncio.run(main(os.environ["DISCORD_BOT_TOKEN"], data))
