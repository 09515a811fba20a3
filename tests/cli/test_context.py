"""Ctrl-C: what it ends, what it lets finish, and what is said."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from support.waiting import until

from apimodels_async import GenerationFailedError, ImageResult, OutcomeUnknownError
from apimodels_async.cli.context import (
    SIGNALS,
    CommandContext,
    InterruptedCommand,
    interruptible,
    unfinished_words,
)
from apimodels_async.cli.output import Output

TASK = ("generate", "a moose [stuck]", "--model", "gpt-image-2")


async def test_ctrl_c_names_the_task_that_goes_on(interrupted, emulator):
    """A task that was submitted is named with the command that finds it again."""
    done = await interrupted(
        lambda: any(task.polls for task in emulator.tasks.values()), *TASK
    )

    (task_id,) = emulator.tasks
    assert done.code == 130
    assert f"Find it again: apimodels wait {task_id}" in done.err
    assert "Traceback" not in done.err


async def test_ctrl_c_for_programs(interrupted, emulator):
    """With --json the task that goes on is an object on stdout."""
    done = await interrupted(
        lambda: any(task.polls for task in emulator.tasks.values()), *TASK, "--json"
    )

    assert done.events[-1] == "running"
    assert {done.records[-1]["task_id"]} == set(emulator.tasks)


async def test_ctrl_c_lets_a_paid_request_finish(interrupted, emulator):
    """A synchronous picture under way is finished, and its URL is told."""
    emulator.fault("sync", "slow", seconds=0.4)
    done = await interrupted(lambda: emulator.requests, "generate", "a fox", "--json")

    assert done.code == 130
    assert "A paid request is under way: it is let finish" in done.err
    assert "Finished and paid for" in done.err
    assert done.records[-1]["url"].startswith("http")


async def test_ctrl_c_while_a_task_is_submitted(interrupted, emulator):
    """A task whose id arrives only after Ctrl-C is named too."""
    emulator.fault("create", "slow", seconds=0.4)
    done = await interrupted(lambda: emulator.requests, *TASK)

    (task_id,) = emulator.tasks
    assert done.code == 130
    assert f"apimodels wait {task_id}" in done.err


async def test_ctrl_c_and_a_paid_request_of_unknown_fate(interrupted, emulator):
    """A paid request that breaks after Ctrl-C is told as what it is: unknown."""
    emulator.fault("sync", "drop", after=True)
    argv = ["generate", "a fox [slow]", "--json"]
    done = await interrupted(lambda: emulator.requests, *argv)

    assert done.code == 130
    assert done.records[-1]["type"] == "OutcomeUnknownError"
    assert done.records[-1]["charged"] is None


async def test_ctrl_c_before_anything_was_taken(interrupted, emulator):
    """An order that pauses after a 429 is not sent again, and that is said."""
    emulator.fault("sync", "rate_limit", retry_after=60)
    done = await interrupted(lambda: emulator.requests, "generate", "a fox")

    assert done.code == 130
    assert done.err.endswith("This command ordered nothing: not charged.\n")
    assert emulator.generations == {}


async def test_a_second_ctrl_c_leaves_at_once(program, environment, emulator):
    """While a paid request is let finish, the next signal ends the process."""
    emulator.fault("sync", "hang")
    process = program("generate", "a fox")
    await until(lambda: emulator.requests)
    process.send_signal(signal.SIGINT)
    said = await asyncio.to_thread(process.stderr.readline)
    process.send_signal(signal.SIGTERM)

    assert await asyncio.to_thread(process.wait, 20) == 128 + signal.SIGTERM
    assert "let finish" in said
    rest = await asyncio.to_thread(process.stderr.read)
    assert "Leaving at once." in rest
    assert "Paid requests without an answer: 1" in rest


async def test_last_words_name_whatever_may_be_paid_for(session, emulator):
    """Tasks by their ids, pictures by their addresses, the unknown by its error."""
    emulator.fault("create", "slow", seconds=0.5)
    ordering = asyncio.create_task(session.images.submit("a", model="gpt-image-2"))
    await until(lambda: emulator.requests)
    mine = session.images.attach("clmine")
    context = CommandContext(session, Output(), [mine])
    context.due += [mine, ImageResult(urls=("https://x.org/a.png", "data:,x"))]
    session.images.attach("clother")
    words = context.last_words()
    lost = unfinished_words(session, [OutcomeUnknownError("gone", task_id="cllost")])

    assert "Task clmine may still be running; it is charged when it completes." in words
    assert words.count("clmine") == 2  # once each: the sentence and its command
    assert "Find it again: apimodels wait clother" in words
    assert "Finished and paid for: https://x.org/a.png (sent inline)" in words
    assert "Paid requests without an answer: 1; they" in words
    assert "gone | may have been charged | tip: it may still finish" in lost
    assert "apimodels wait cllost" in lost
    await ordering
    assert "without an answer" not in context.last_words()


async def test_what_has_ended_and_was_not_told_is_said(session, emulator, capsys):
    """A task that ended as its command was stopped is named; a failed one is free."""
    fox = await session.images.submit("a fox", model="gpt-image-2")
    bad = await session.images.submit("[refused]", model="gpt-image-2")
    await fox
    with pytest.raises(GenerationFailedError):
        await bad
    context = CommandContext(session, Output(), [fox, bad], [fox, bad])
    context.print_unfinished()

    said = capsys.readouterr().err
    assert f"Task {fox.task_id} has ended; it is charged if it was completed" in said
    assert bad.task_id not in said


async def test_ctrl_c_while_a_picture_is_saved_names_it(interrupted, emulator):
    """What is paid for and not on the disk yet is told by its address."""
    emulator.fault("file", "hang")
    argv = ("generate", "a fox")
    done = await interrupted(
        lambda: any(each.endpoint == "file" for each in emulator.requests), *argv
    )

    assert done.code == 130
    assert "Finished and paid for:" in done.err
    assert "url      http" in done.out


async def signal_itself(number):
    """Work until a signal that comes at once."""
    with interruptible():
        os.kill(os.getpid(), number)
        await asyncio.Event().wait()


async def test_each_signal_has_its_exit_code():
    """A signal cancels the body; the exit code is 128 and its number."""
    for number in SIGNALS:
        before = signal.getsignal(number)
        with pytest.raises(InterruptedCommand) as caught:
            await signal_itself(number)

        assert caught.value.exit_code == 128 + number
        assert signal.getsignal(number) is before


async def test_a_hangup_that_nohup_ignores_stays_ignored():
    """A program under nohup lives on when its terminal is closed."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.sleep(0)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_sigterm_and_hangup_end_a_command_as_ctrl_c_does(
    program, environment, emulator
):
    """The task that goes on is named on stderr, and the code is 128 + the signal."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        seen = set(emulator.tasks)
        process = program(*TASK, "--poll-interval", "0.05")
        await until(lambda seen=seen: emulator.tasks.keys() - seen)
        (task_id,) = emulator.tasks.keys() - seen
        await until(lambda task_id=task_id: emulator.tasks[task_id].polls)
        process.send_signal(number)

        assert await asyncio.to_thread(process.wait, 20) == 128 + number
        said = await asyncio.to_thread(process.stderr.read)
        assert f"apimodels wait {task_id}" in said
        assert "Traceback" not in said


async def test_a_cancellation_that_is_no_signal_passes():
    """Whoever cancels the program from inside a loop gets the cancellation."""

    async def body():
        with interruptible():
            await asyncio.Event().wait()

    runner = asyncio.create_task(body())
    await asyncio.sleep(0)
    runner.cancel()

    with pytest.raises(asyncio.CancelledError):
        await runner
