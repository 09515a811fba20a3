"""Conversations with the bot, over real sockets."""

from __future__ import annotations

import pytest
from bot_studio import LimitError, Limits, explain
from bot_studio.stub import ordered, orders

from apimodels_async import (
    TaskNotFoundError,
    TransportError,
    UnexpectedResponseError,
)
from telegram_bot.bot import WishError, read_wish
from telegram_bot.stub import TOKEN

# Importing aiogram takes many seconds on a busy machine, and most tests start a bot.
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]


async def test_a_picture_is_made_and_sent(telegram, emulator, start):
    """/imagine is acknowledged at once, edited meanwhile, and ends in a photo."""
    async with start():
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


async def test_several_pictures_are_an_album(telegram, emulator, start):
    """--n 4 orders four pictures and sends them as one album."""
    async with start():
        await telegram.write("/imagine a red fox --n 4")
        await telegram.until_files(1)
    assert len(telegram.files[0]) == 4
    assert len(orders(emulator)) == 4


UNREADABLE = {
    "/imagine": "Usage",
    "/imagine --n 4": "Usage",
    "/imagine a fox --n 9": "argument --n",
    "/imagine a fox --ar 5:7": "argument --ar",
    "/imagine a fox --seed 3": "Usage",
    "/start": "Usage",
}


async def test_what_cannot_be_read_is_answered_with_usage(telegram, emulator, start):
    """A wish that makes no sense costs nothing and explains how to write one."""
    async with start():
        for count, (text, says) in enumerate(UNREADABLE.items(), 1):
            await telegram.write(text)
            await telegram.until_answers(count)
            assert says in telegram.texts[-1]
    assert orders(emulator) == []


async def test_a_refused_prompt_is_explained(telegram, start):
    """A picture the service will not make is told of in words, with the reason."""
    async with start():
        await telegram.write("/imagine [refused] something")
        said = await telegram.until("could not be made")
    assert "Nothing was charged" in said


async def test_no_credit_is_explained_and_ends_the_order(telegram, emulator, start):
    """Without credit one request is made, not four, and the user is told why."""
    emulator.fault("create", "envelope", code=402, times=None)
    async with start():
        await telegram.write("/imagine a red fox --n 4")
        await telegram.until("run out of credit")
    assert len(orders(emulator)) == 1


async def test_a_lost_answer_is_told_and_not_ordered_again(telegram, emulator, start):
    """A paid request without an answer is sent once, and nothing after it."""
    emulator.fault("create", "drop", after=True)
    async with start():
        await telegram.write("/imagine a red fox --n 2")
        await telegram.until("did not send it again")
        await telegram.write("/help")
        await telegram.until("Usage")
    assert len(orders(emulator)) == 1


async def test_a_task_in_a_broken_answer_is_delivered(telegram, emulator, start):
    """An answer that breaks off after the task's id loses no picture."""
    emulator.fault("create", "truncated", after=True, at=90)
    async with start():
        await telegram.write("/imagine a red fox --n 2")
        await telegram.until_files(1)
        await telegram.until("done")
    assert len(telegram.files[0]) == 2
    assert len(orders(emulator)) == 2


@pytest.mark.parametrize(
    ("charged", "says"),
    [(False, "Nothing was charged"), (None, "may have been"), (True, "was paid for")],
)
def test_words_about_money_are_those_of_the_error(charged, says):
    """Whatever kind of error it is, what it says of money is what the user is told."""
    for kind in (UnexpectedResponseError, TaskNotFoundError, TransportError):
        error = kind("x")
        error.charged = charged
        assert says in explain(error)


async def test_a_user_has_limits(telegram, start):
    """A third order at once is refused, with what to do."""
    async with start():
        for prompt in ("a fox", "a hare", "a moose"):
            await telegram.write(f"/imagine {prompt} --n 4")
        await telegram.until("2 orders under way")
        await telegram.until_files(2)
    assert len(telegram.files) == 2


async def test_a_message_that_comes_twice_is_bought_once(telegram, emulator, start):
    """Redelivered at once, after the answer and after a restart, it orders nothing."""
    async with start():
        await telegram.write("/imagine a red fox --n 2")
        await telegram.repeat()
        await telegram.until_files(1)
        await telegram.until("done")
        await telegram.repeat()
        await telegram.write("/help")
        await telegram.until("Usage")
    async with start():
        await telegram.write("/imagine a red fox --n 2")  # the same words, a new order
        await telegram.repeat()
        await telegram.until_files(2)
    assert len(orders(emulator)) == 4
    assert len(telegram.files) == 2


async def test_an_unknown_fate_is_told_once(telegram, emulator, start):
    """What was told of is closed: no redelivery and no restart comes back to it."""
    emulator.fault("create", "drop", after=True)
    async with start():
        await telegram.write("/imagine a red fox")
        await telegram.until("did not send it again")
        await telegram.repeat()
    async with start():
        await telegram.repeat()
        await telegram.write("/help")
        await telegram.until("Usage")
    assert len(orders(emulator)) == 1
    assert not any("restarted" in text for text in telegram.texts)


async def test_a_bot_that_is_killed_delivers_after_its_restart(
    telegram, emulator, start, let_leases_end
):
    """Killed with four pictures ordered, it sends them once it is back."""
    async with start() as bot:
        await telegram.write("/imagine a red fox --n 4")
        await ordered(emulator, 4)
        await telegram.until("pending")
        bot.kill()
    assert telegram.files == []
    let_leases_end()
    async with start():
        await telegram.until_files(1)
        await telegram.until("done")
    assert len(telegram.files[0]) == 4
    assert len(orders(emulator)) == 4
    assert len(telegram.files) == 1


async def test_a_bot_that_is_killed_while_ordering_says_so(
    telegram, emulator, start, let_leases_end
):
    """What was cut off is told of; what was never sent is ordered after the restart."""
    emulator.fault("create", "hang", after=True)
    async with start() as bot:
        await telegram.write("/imagine a red fox --n 3")
        await ordered(emulator, 1)
        bot.kill()
    let_leases_end()
    async with start():
        await telegram.until("I was restarted")
        await telegram.until_files(1)
    assert len(telegram.files[0]) == 2
    assert len(orders(emulator)) == 3


async def test_a_bot_told_to_stop_loses_nothing(telegram, emulator, start, log):
    """SIGTERM in the middle ends it cleanly; the next start delivers."""
    async with start() as bot:
        await telegram.write("/imagine a red fox")
        await telegram.until("pending")
    assert bot.returncode == 0
    async with start():
        await telegram.until_files(1)
    assert len(orders(emulator)) == 1
    assert emulator.api_key not in log()
    assert TOKEN not in log()
    assert "Traceback" not in log()


async def test_an_order_on_its_way_is_not_cut(telegram, emulator, start):
    """Told to stop before a paid request is answered, the bot waits for the answer."""
    emulator.fault("create", "slow", seconds=1.0, after=True)
    async with start():
        await telegram.write("/imagine a red fox")
        await ordered(emulator, 1)
    async with start():
        await telegram.until_files(1)
        await telegram.until("done")
    assert len(orders(emulator)) == 1
    assert not any("restarted" in text for text in telegram.texts)


async def test_a_delivery_is_not_cut(telegram, start):
    """Told to stop while it sends a picture, the bot does not send it again later."""
    telegram.patience_s = 0.5
    async with start():
        await telegram.write("/imagine a red fox")
        await telegram.until_files(1)
    assert telegram.texts[-1] == "a red fox: done"
    async with start():
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


def test_limits_are_by_user_and_by_hour():
    """Pictures count for an hour, users do not share, and what ended makes room."""
    now = [0.0]
    limits = Limits(hourly=5, at_once=1, clock=lambda: now[0])
    limits.enter("ann", 4)
    with pytest.raises(LimitError, match="under way"):
        limits.enter("ann", 1)
    limits.enter("bob", 5)
    limits.leave("ann")
    with pytest.raises(LimitError, match="60 min"):
        limits.enter("ann", 2)
    limits.enter("ann", 1)
    limits.leave("ann")
    now[0] = 3601.0
    limits.enter("ann", 5)
