"""Commands of the Telegram bot, and how it answers."""

from __future__ import annotations

import asyncio
import shlex
from argparse import ArgumentError, ArgumentParser
from contextlib import suppress
from typing import TYPE_CHECKING

from aiogram import Bot, Router
from aiogram.exceptions import TelegramBadRequest, TelegramRetryAfter
from aiogram.filters import Command, CommandObject
from aiogram.types import FSInputFile, InputMediaPhoto, Message, ReplyParameters
from bot_studio import MODELS, RATIOS, LimitError, Order, Studio

from apimodels_async import ImageRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path
    from typing import TypeVar

    T = TypeVar("T")

COUNT_MAX = 4
ALBUM_MAX = 10
"""Pictures in one message; a model may give several for one order."""
CAPTION_MAX = 1024  # Telegram's own
USAGE = f"""Usage: /imagine a red fox in snow --n 4 --ar 16:9
--n  how many pictures, 1 to {COUNT_MAX}
--ar  {", ".join(RATIOS)}
--model  {", ".join(MODELS)}"""

router = Router()


class WishError(Exception):
    """The text after /imagine cannot be read; the message is for the user."""


def read_wish(text: str) -> tuple[ImageRequest, int]:
    """Return what a user wants and how often, by what they typed after /imagine."""
    parser = ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--n", type=int, choices=range(1, COUNT_MAX + 1), default=1)
    parser.add_argument("--ar", choices=RATIOS)
    parser.add_argument("--model", choices=MODELS, default=MODELS[0])
    try:
        # Phones turn two hyphens into a dash.
        words = shlex.split(text.replace("—", "--"))
    except ValueError:  # an apostrophe, most likely
        words = text.replace("—", "--").split()
    try:
        options, prompt = parser.parse_known_args(words)
    except ArgumentError as error:
        msg = f"{error}\n\n{USAGE}"
        raise WishError(msg) from None
    if not prompt or any(word.startswith("--") for word in prompt):
        raise WishError(USAGE)
    params = {"aspect_ratio": options.ar} if options.ar else {}
    return ImageRequest(options.model, " ".join(prompt), params), options.n


@router.message(Command("start", "help"))
async def help_(message: Message) -> None:
    """Say what this bot does."""
    await message.answer(USAGE)


@router.message(Command("imagine"))
async def imagine(message: Message, command: CommandObject, studio: Studio) -> None:
    """Hand the order to the studio, which acknowledges it at once."""
    chat = message.chat.id
    user = message.from_user.id if message.from_user else chat
    try:
        request, count = read_wish(command.args or "")
        await studio.take(Order(chat, user, message.message_id, request, count))
    except (WishError, LimitError) as error:
        await message.reply(str(error))


class TelegramDesk:
    """Replies, edits the reply, and sends one photo or an album."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot

    async def progress(self, order: Order, text: str) -> None:
        """Reply, or edit the reply; nobody misses an edit that does not come."""
        with suppress(TelegramRetryAfter):
            await self._reply(order, text)

    async def _reply(self, order: Order, text: str) -> None:
        if "message" not in order.answer:
            to = ReplyParameters(
                message_id=order.message, allow_sending_without_reply=True
            )
            reply = await self._bot.send_message(order.chat, text, reply_parameters=to)
            order.answer["message"] = reply.message_id
            return
        with suppress(TelegramBadRequest):  # unchanged, or deleted by the user
            await self._bot.edit_message_text(
                text, chat_id=order.chat, message_id=order.answer["message"]
            )

    async def deliver(self, order: Order, files: Sequence[Path], text: str) -> None:
        """Send the pictures and close the reply."""
        caption = order.prompt[:CAPTION_MAX]
        for first in range(0, len(files), ALBUM_MAX):
            await self._send(order.chat, files[first : first + ALBUM_MAX], caption)
        end = text or f"{caption[:80]}: done"
        await _patiently(lambda: self._reply(order, end))

    async def _send(self, chat: int, files: Sequence[Path], caption: str) -> None:
        if len(files) == 1:
            photo = FSInputFile(files[0])
            await _patiently(lambda: self._bot.send_photo(chat, photo, caption=caption))
            return
        album = [
            InputMediaPhoto(media=FSInputFile(file), caption=None if index else caption)
            for index, file in enumerate(files)
        ]
        await _patiently(lambda: self._bot.send_media_group(chat, album))


async def _patiently(send: Callable[[], Awaitable[T]]) -> T:
    while True:
        try:
            return await send()
        except TelegramRetryAfter as error:
            await asyncio.sleep(error.retry_after)
