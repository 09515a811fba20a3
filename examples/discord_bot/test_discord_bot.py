"""Slash commands to the bot, over real sockets: REST and gateway."""

from __future__ import annotations

import pytest
from bot_studio.stub import ordered

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


async def test_a_picture_is_made_and_shown(discord, emulator):
    """/imagine is deferred before anything is ordered, and ends in a picture."""
    async with discord.start():
        await discord.imagine("a red fox in snow", ratio="16:9")
        await discord.until_files(1)
    method, path, fields = discord.calls[0]
    assert method == "POST"
    assert path.endswith("/callback")
    assert fields["type"] == 5  # deferred, with "thinking"
    assert any("pending" in text or "processing" in text for text in discord.texts)
    method, path, _ = discord.calls[-1]
    assert method == "PATCH"
    assert path.startswith("/webhooks/100/interaction-")
    assert discord.files[0][0][:3] in {b"\xff\xd8\xff", b"\x89PN", b"RIF"}
    (task,) = emulator.tasks.values()
    assert task.params["aspect_ratio"] == "16:9"


async def test_the_command_has_typed_options(discord):
    """Discord is told of the ranges and choices, so that it checks them itself."""
    async with discord.start():
        await discord.imagine("a red fox")
        await discord.until_files(1)
    (command,) = discord.commands
    options = {option["name"]: option for option in command["options"]}
    assert options["prompt"]["required"]
    assert (options["count"]["min_value"], options["count"]["max_value"]) == (1, 4)
    assert len(options["ratio"]["choices"]) == 7
    assert "gpt-image-2" in [each["value"] for each in options["model"]["choices"]]


async def test_an_answer_too_old_to_edit_goes_to_the_channel(discord, emulator):
    """The pictures are not lost; who asked is mentioned."""
    async with discord.start():
        await discord.imagine("a red fox")
        await ordered(emulator, 1)
        discord.expired = True
        await discord.until_files(1)
    _, path, fields = discord.calls[-1]
    assert path.startswith("/channels/200/messages")
    assert "<@300>" in fields["content"]


async def test_after_a_restart_the_channel_has_the_answer(discord):
    """Who asked is mentioned, and nobody that the prompt would have mentioned."""
    async with discord.start():
        await discord.imagine("@everyone look")
        await discord.until("pending")
    async with discord.start():
        await discord.until_files(1)
    _, path, fields = discord.calls[-1]
    assert path.startswith("/channels/200/messages")
    assert "<@300>" in fields["content"]
    assert fields["allowed_mentions"]["parse"] == []
