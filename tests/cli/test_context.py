"""Ctrl-C: what it ends, what it lets finish, and what is said."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from support.waiting import until

from apimodels_async.cli.context import InterruptedCommand, interruptible

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


async def test_a_second_ctrl_c_leaves_at_once(program, environment, emulator):
    """While a paid request is let finish, the next signal ends the process."""
    emulator.fault("sync", "hang")
    process = program("generate", "a fox")
    await until(lambda: emulator.requests)
    process.send_signal(signal.SIGINT)
    said = await asyncio.to_thread(process.stderr.readline)
    process.send_signal(signal.SIGINT)

    assert await asyncio.to_thread(process.wait, 20) == -signal.SIGINT
    assert "let finish" in said


async def signal_itself(number):
    """Work until a signal that comes at once."""
    with interruptible():
        os.kill(os.getpid(), number)
        await asyncio.Event().wait()


async def test_each_signal_has_its_exit_code():
    """A signal cancels the body; the exit code is 128 and its number."""
    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(number)
        with pytest.raises(InterruptedCommand) as caught:
            await signal_itself(number)

        assert caught.value.exit_code == 128 + number
        assert signal.getsignal(number) is before


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
