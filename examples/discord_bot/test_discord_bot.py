"""Slash commands to the bot, over real sockets: REST and gateway."""

from __future__ import annotations

import pytest
from bot_studio.stub import ordered, orders

from discord_bot.stub import TOKEN

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


async def test_a_picture_is_made_and_shown(chat, emulator, start):
    """/imagine is deferred before anything is ordered, and ends in a picture."""
    async with start():
        await chat.imagine("a red fox in snow", ratio="16:9")
        await chat.until_files(1)
    method, path, fields = chat.calls[0]
    assert method == "POST"
    assert path.endswith("/callback")
    assert fields["type"] == 5  # deferred, with "thinking"
    assert any("pending" in text or "processing" in text for text in chat.texts)
    method, path, _ = chat.calls[-1]
    assert method == "PATCH"
    assert path.startswith("/webhooks/100/interaction-")
    assert chat.files[0][0][:3] in {b"\xff\xd8\xff", b"\x89PN", b"RIF"}
    (task,) = emulator.tasks.values()
    assert task.params["aspect_ratio"] == "16:9"


async def test_several_pictures_are_one_message(chat, emulator, start):
    """count=4 orders four pictures and shows them together."""
    async with start():
        await chat.imagine("a red fox", count=4)
        await chat.until_files(1)
    assert len(chat.files[0]) == 4
    assert len(orders(emulator)) == 4


async def test_the_command_has_typed_options(chat, start):
    """Discord is told of the ranges and choices, so that it checks them itself."""
    async with start():
        await chat.imagine("a red fox")
        await chat.until_files(1)
    (command,) = chat.commands
    options = {option["name"]: option for option in command["options"]}
    assert options["prompt"]["required"]
    assert (options["count"]["min_value"], options["count"]["max_value"]) == (1, 4)
    assert len(options["ratio"]["choices"]) == 7
    assert "gpt-image-2" in [each["value"] for each in options["model"]["choices"]]


@pytest.mark.parametrize(
    ("prompt", "says"),
    [("[refused] a thing", "could not be made"), ("[fail] a thing", "could not be")],
)
async def test_a_refused_prompt_is_explained(chat, start, prompt, says):
    """A picture that is not made is told of in words, with the reason."""
    async with start():
        await chat.imagine(prompt)
        said = await chat.until(says)
    assert "Nothing was charged" in said


async def test_no_credit_is_explained_and_ends_the_order(chat, emulator, start):
    """Without credit one request is made, not four, and the user is told why."""
    emulator.fault("create", "envelope", code=402, times=None)
    async with start():
        await chat.imagine("a red fox", count=4)
        await chat.until("run out of credit")
    assert len(orders(emulator)) == 1


async def test_a_lost_answer_is_told_and_not_ordered_again(chat, emulator, start):
    """A paid request without an answer is sent once, and nothing after it."""
    emulator.fault("create", "drop", after=True)
    async with start():
        await chat.imagine("a red fox", count=2)
        await chat.until("did not send it again")
    assert len(orders(emulator)) == 1


async def test_a_user_has_limits(chat, start):
    """A third order at once is refused, with what to do."""
    async with start():
        for prompt in ("a fox", "a hare", "a moose"):
            await chat.imagine(prompt, count=4)
        await chat.until("2 orders under way")
        await chat.until_files(2)
    assert len(chat.files) == 2


async def test_a_command_that_comes_twice_is_bought_once(chat, emulator, start):
    """Redelivered at once and after the answer, it orders nothing."""
    async with start():
        await chat.imagine("a red fox")
        await chat.repeat()
        await chat.until_files(1)
        await chat.repeat()
        await chat.imagine("a hare")
        await chat.until_files(2)
    assert len(orders(emulator)) == 2


async def test_an_answer_too_old_to_edit_goes_to_the_channel(chat, emulator, start):
    """The pictures are not lost; who asked is mentioned."""
    async with start():
        await chat.imagine("a red fox")
        await ordered(emulator, 1)
        chat.expired = True
        await chat.until_files(1)
    _, path, fields = chat.calls[-1]
    assert path.startswith("/channels/200/messages")
    assert "<@300>" in fields["content"]


async def test_a_bot_that_is_killed_while_ordering_says_so(
    chat, emulator, start, let_leases_end
):
    """What was cut off is told of, and not ordered again."""
    emulator.fault("create", "hang", after=True)
    async with start() as bot:
        await chat.imagine("a red fox")
        await ordered(emulator, 1)
        bot.kill()
    let_leases_end()
    async with start():
        await chat.until("I was restarted")
    assert len(orders(emulator)) == 1


async def test_a_bot_that_is_killed_delivers_after_its_restart(
    chat, emulator, start, let_leases_end
):
    """Killed with two pictures ordered, it shows them once it is back."""
    async with start() as bot:
        await chat.imagine("a red fox", count=2)
        await ordered(emulator, 2)
        await chat.until("pending")
        bot.kill()
    assert chat.files == []
    let_leases_end()
    async with start():
        await chat.until_files(1)
    assert len(chat.files[0]) == 2
    assert len(orders(emulator)) == 2
    _, path, fields = chat.calls[-1]
    assert path.startswith("/channels/200/messages")
    assert "<@300>" in fields["content"]


async def test_a_bot_told_to_stop_loses_nothing(chat, emulator, start, log):
    """SIGTERM in the middle ends it cleanly; the next start delivers."""
    async with start() as bot:
        await chat.imagine("@everyone look")
        await chat.until("pending")
    assert bot.returncode == 0
    async with start():
        await chat.until_files(1)
    assert len(orders(emulator)) == 1
    assert chat.calls[-1][2]["allowed_mentions"]["parse"] == []
    assert emulator.api_key not in log()
    assert TOKEN not in log()
    assert "Traceback" not in log()
