"""What both bots promise, over real sockets."""

from __future__ import annotations

import pytest

from apimodels_async import (
    TaskNotFoundError,
    TransportError,
    UnexpectedResponseError,
)
from bot_studio import LimitError, Limits, explain
from bot_studio.stub import ordered, orders

# Importing aiogram takes many seconds on a busy machine, and most tests start a bot.
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]


@pytest.fixture(params=["telegram", "discord"])
def chat(request):
    """Return one chat service after the other."""
    return request.getfixturevalue(request.param)


async def test_several_pictures_are_one_message(chat, emulator):
    """Four pictures are four orders, and one message."""
    async with chat.start():
        await chat.order("a red fox", 4)
        await chat.until_files(1)
    assert len(chat.files[0]) == 4
    assert len(orders(emulator)) == 4


@pytest.mark.parametrize("prompt", ["[refused] a thing", "[fail] a thing"])
async def test_a_refused_prompt_is_explained(chat, prompt):
    """A picture that is not made is told of in words, with the reason."""
    async with chat.start():
        await chat.order(prompt)
        said = await chat.until("could not be made")
    assert "Nothing was charged" in said


async def test_no_credit_is_explained_and_ends_the_order(chat, emulator):
    """Without credit one request is made, not four, and the user is told why."""
    emulator.fault("create", "envelope", code=402, times=None)
    async with chat.start():
        await chat.order("a red fox", 4)
        await chat.until("run out of credit")
    assert len(orders(emulator)) == 1


async def test_a_lost_answer_is_told_and_not_ordered_again(chat, emulator):
    """A paid request without an answer is sent once, and nothing after it."""
    emulator.fault("create", "drop", after=True)
    async with chat.start():
        await chat.order("a red fox", 2)
        await chat.until("did not send it again")
        await chat.order("a hare")
        await chat.until_files(1)
    assert [each.prompt for each in orders(emulator)] == ["a red fox", "a hare"]


async def test_a_user_has_limits(chat):
    """A third order at once is refused, with what to do."""
    async with chat.start():
        for prompt in ("a fox", "a hare", "a moose"):
            await chat.order(prompt, 4)
        await chat.until("2 orders under way")
        await chat.until_files(2)
    assert len(chat.files) == 2


async def test_an_order_that_comes_twice_is_bought_once(chat, emulator):
    """Redelivered at once, after the answer and after a restart, it orders nothing."""
    async with chat.start():
        await chat.order("a red fox", 2)
        await chat.repeat()
        await chat.until_files(1)
        await chat.repeat()
        await chat.order("a hare")
        await chat.until_files(2)
    async with chat.start():
        await chat.order("a hare")  # the same words, a new order
        await chat.repeat()
        await chat.until_files(3)
    assert len(orders(emulator)) == 4
    assert len(chat.files) == 3


async def test_a_bot_that_is_killed_while_ordering_says_so(
    chat, emulator, let_leases_end
):
    """What was cut off is told of; what was never sent is ordered after the restart."""
    emulator.fault("create", "hang", after=True)
    async with chat.start() as bot:
        await chat.order("a red fox", 3)
        await ordered(emulator, 1)
        bot.kill()
    let_leases_end()
    async with chat.start():
        await chat.until("I was restarted")
        await chat.until_files(1)
    assert len(chat.files[0]) == 2
    assert len(orders(emulator)) == 3


async def test_a_bot_that_is_killed_delivers_after_its_restart(
    chat, emulator, let_leases_end
):
    """Killed with four pictures ordered, it sends them once it is back, and once."""
    async with chat.start() as bot:
        await chat.order("a red fox", 4)
        await ordered(emulator, 4)
        await chat.until("pending")
        bot.kill()
    assert chat.files == []
    let_leases_end()
    async with chat.start():
        await chat.until_files(1)
    assert [len(files) for files in chat.files] == [4]
    assert len(orders(emulator)) == 4


async def test_a_bot_told_to_stop_loses_nothing(chat, emulator, log):
    """SIGTERM in the middle ends it cleanly; the next start delivers."""
    async with chat.start() as bot:
        await chat.order("a red fox")
        await chat.until("pending")
    assert bot.returncode == 0
    async with chat.start():
        await chat.until_files(1)
    assert len(orders(emulator)) == 1
    assert emulator.api_key not in log()
    assert chat.token not in log()
    assert "Traceback" not in log()


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
