"""Run the bot: ``python examples/telegram_bot``; see README.md beside this file."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # bot_studio, telegram_bot


from aiogram import Bot, Dispatcher
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from bot_studio import Limits, Studio

from telegram_bot.bot import TelegramDesk, router


async def main(token: str, folder: Path) -> None:
    """
    Poll for messages until SIGINT or SIGTERM; keep orders and pictures in *folder*.
    """
    server = os.environ.get("TELEGRAM_API_URL")  # your own Bot API server, or a test's
    http = AiohttpSession(api=TelegramAPIServer.from_base(server)) if server else None
    dispatcher = Dispatcher()
    dispatcher.include_router(router)
    async with (
        Bot(token, session=http) as bot,
        Studio.open(TelegramDesk(bot), Limits(), folder) as studio,
    ):
        # The studio may still have to deliver: the bot is closed after it, above.
        await dispatcher.start_polling(bot, studio=studio, close_bot_session=False)


if __name__ == "__main__":
    logging.basicConfig(
        level=logging.INFO, format="%(levelname)s %(name)s: %(message)s"
    )
    if "TELEGRAM_BOT_TOKEN" not in os.environ:
        sys.exit("set TELEGRAM_BOT_TOKEN to the token that @BotFather gave you")
    data = Path(os.environ.get("BOT_DATA", "telegram_bot_data"))
    data.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(os.environ["TELEGRAM_BOT_TOKEN"], data))
