"""The /imagine command, and how the Discord bot answers."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import discord
from bot_studio import MODELS, RATIOS, LimitError, Order
from discord import app_commands

from apimodels_async import ImageRequest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bot_studio import Studio

COUNT_MAX = 4
FILES_MAX = 10
"""Pictures in one message; a model may give several for one order."""
TEXT_MAX = 2000  # Discord's own
TOKEN_S = 14 * 60
"""An interaction's token lives 15 minutes; after that, answers go to the channel."""


class Painter(discord.Client):
    """A bot that needs no intents: it hears of its own command, and of nothing else."""

    studio: Studio

    def __init__(self) -> None:
        # No prompt makes it ping everyone.
        nobody = discord.AllowedMentions.none()
        super().__init__(intents=discord.Intents.none(), allowed_mentions=nobody)
        self.tree = app_commands.CommandTree(self)
        self.tree.add_command(imagine)

    async def setup_hook(self) -> None:
        """Tell Discord of the command; takes part in every start."""
        await self.tree.sync()


@app_commands.command(description="Make pictures of what you describe")
@app_commands.describe(
    prompt="What to draw",
    count="How many pictures",
    ratio="Width to height",
    model="Which model draws",
)
@app_commands.choices(
    ratio=[app_commands.Choice(name=ratio, value=ratio) for ratio in RATIOS],
    model=[app_commands.Choice(name=model, value=model) for model in MODELS],
)
async def imagine(
    interaction: discord.Interaction[Painter],
    prompt: app_commands.Range[str, 1, 1000],
    count: app_commands.Range[int, 1, COUNT_MAX] = 1,
    ratio: app_commands.Choice[str] | None = None,
    model: app_commands.Choice[str] | None = None,
) -> None:
    """Acknowledge within Discord's 3 seconds, and hand the order to the studio."""
    deferred = await interaction.response.defer(thinking=True)
    message = deferred.message_id if deferred is not None else None
    if message is None:
        message = (await interaction.original_response()).id
    answer = {
        "application": interaction.application_id,
        "token": interaction.token,
        "until": time.time() + TOKEN_S,
        "message": message,
    }
    params = {"aspect_ratio": ratio.value} if ratio else {}
    order = Order(
        interaction.channel_id or 0,
        interaction.user.id,
        interaction.id,
        ImageRequest(model.value if model else MODELS[0], prompt, params),
        count,
        answer,
    )
    try:
        await interaction.client.studio.take(order)
    except LimitError as error:
        await interaction.edit_original_response(content=str(error))


class DiscordDesk:
    """
    Edits the deferred answer, or writes to the channel: once that is too old, or the
    bot was restarted, since the token to edit it is a secret and is not stored.
    """

    def __init__(self, client: discord.Client) -> None:
        self._client = client

    async def progress(self, order: Order, text: str) -> None:
        """Edit the answer; nobody misses an edit that does not come."""
        with suppress(discord.HTTPException):
            await self._edit(order, content=text[:TEXT_MAX])

    async def deliver(self, order: Order, files: Sequence[Path], text: str) -> None:
        """Put the pictures into the answer, all in one message if they fit."""
        words = text or order.prompt
        first, rest = files[:FILES_MAX], files[FILES_MAX:]
        await self._answer(order, first, words)
        channel = self._client.get_partial_messageable(order.chat)
        while rest:
            more, rest = rest[:FILES_MAX], rest[FILES_MAX:]
            await channel.send(files=[discord.File(file) for file in more])

    async def _answer(self, order: Order, files: Sequence[Path], words: str) -> None:
        with suppress(discord.NotFound):  # deleted, or older than we thought
            if await self._edit(
                order,
                content=words[:TEXT_MAX],
                attachments=[discord.File(file) for file in files],
            ):
                return
        channel = self._client.get_partial_messageable(order.chat)
        mention = f"<@{order.user}> "
        await channel.send(
            (mention + words)[:TEXT_MAX],
            files=[discord.File(file) for file in files],
            allowed_mentions=discord.AllowedMentions(
                users=[discord.Object(order.user)]
            ),
        )

    async def _edit(self, order: Order, **changes: object) -> bool:
        """Edit the answer; return False if its token has expired, or is not known."""
        answer = order.answer
        if not answer or time.time() > answer["until"]:
            return False
        webhook = discord.Webhook.partial(
            answer["application"], answer["token"], client=self._client
        )
        await webhook.edit_message(answer["message"], **changes)
        return True
