"""Conversations with the bot; ``bot_studio/test_bots.py`` has more of them."""

from __future__ import annotations

import pytest
from bot_studio.stub import ordered, orders

from telegram_bot.bot import WishError, read_wish

# Importing aiogram takes many seconds on a busy machine, and most tests start a bot.
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]


async def test_a_picture_is_made_and_sent(telegram, emulator):
    """/imagine is acknowledged at once, edited meanwhile, and ends in a photo."""
    async with telegram.start():
        await telegram.write("/imagine a red fox in snow --ar 16:9")
        await telegram.until("ordering")
        await telegram.until_files(1)
        await telegram.until("done")
    methods = [method for method, _ in telegram.calls]
    assert methods[0] == "sendMessage"
    assert "sendPhoto" in methods
    assert any("pending" in text or "processing" in text for text in telegram.texts)
    assert telegram.files[0][0][:3] in {b"\xff\xd8\xff", b"\x89PN", b"RIF"}
    (task,) = emulator.tasks.values()
    assert task.params["aspect_ratio"] == "16:9"


UNREADABLE = {
    "/imagine": "Usage",
    "/imagine --n 4": "Usage",
    "/imagine a fox --n 9": "argument --n",
    "/imagine a fox --ar 5:7": "argument --ar",
    "/imagine a fox --seed 3": "Usage",
    "/start": "Usage",
}


async def test_what_cannot_be_read_is_answered_with_usage(telegram, emulator):
    """A wish that makes no sense costs nothing and explains how to write one."""
    async with telegram.start():
        for count, (text, says) in enumerate(UNREADABLE.items(), 1):
            await telegram.write(text)
            await telegram.until_answers(count)
            assert says in telegram.texts[-1]
    assert orders(emulator) == []


async def test_a_task_in_a_broken_answer_is_delivered(telegram, emulator):
    """An answer that breaks off after the task's id loses no picture."""
    emulator.fault("create", "truncated", after=True, at=90)
    async with telegram.start():
        await telegram.write("/imagine a red fox --n 2")
        await telegram.until_files(1)
        await telegram.until("done")
    assert len(telegram.files[0]) == 2
    assert len(orders(emulator)) == 2


async def test_an_unknown_fate_is_told_once(telegram, emulator):
    """What was told of is closed: no redelivery and no restart comes back to it."""
    emulator.fault("create", "drop", after=True)
    async with telegram.start():
        await telegram.write("/imagine a red fox")
        await telegram.until("did not send it again")
        await telegram.repeat()
    async with telegram.start():
        await telegram.repeat()
        await telegram.write("/help")
        await telegram.until("Usage")
    assert len(orders(emulator)) == 1
    assert not any("restarted" in text for text in telegram.texts)


async def test_an_order_on_its_way_is_not_cut(telegram, emulator):
    """Told to stop before a paid request is answered, the bot waits for the answer."""
    emulator.fault("create", "slow", seconds=1.0, after=True)
    async with telegram.start():
        await telegram.write("/imagine a red fox")
        await ordered(emulator, 1)
    async with telegram.start():
        await telegram.until_files(1)
        await telegram.until("done")
    assert len(orders(emulator)) == 1
    assert not any("restarted" in text for text in telegram.texts)


async def test_a_delivery_is_not_cut(telegram):
    """Told to stop while it sends a picture, the bot does not send it again later."""
    telegram.patience_s = 0.5
    async with telegram.start():
        await telegram.write("/imagine a red fox")
        await telegram.until_files(1)
    assert telegram.texts[-1] == "a red fox: done"
    async with telegram.start():
        await telegram.write("/help")
        await telegram.until("Usage")
    assert len(telegram.files) == 1


def test_a_wish_is_read_as_people_type():
    """Dashes from phones, apostrophes and options in any place are understood."""
    request, count = read_wish("it's —n 2 a fox --ar 16:9 in snow")
    assert (request.prompt, count) == ("it's a fox in snow", 2)
    assert request.params == {"aspect_ratio": "16:9"}
    with pytest.raises(WishError, match="--model"):
        read_wish("a fox --model nothing")
