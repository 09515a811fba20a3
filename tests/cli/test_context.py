"""
Ctrl-C: what it ends, what it lets finish, and what is said.
"""

from __future__ import annotations

import asyncio
import signal

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


async def test_ctrl_c_in_the_demo(interrupted, folder):
    """The demo ends without a list of tasks that die with its emulator."""
    done = await interrupted(
        lambda: list(folder.glob("demo/*.jpg")), "demo", "--speed", 1, "--count", 12
    )

    assert done.code == 130
    assert "Find it again" not in done.err


async def test_a_second_ctrl_c_leaves_at_once(program, environment, emulator):
    """While a paid request is let finish, the next signal ends the process."""
    emulator.fault("sync", "hang")
    process = program("generate", "a fox")
    async with asyncio.timeout(10):
        while not emulator.requests:  # noqa: ASYNC110  it has no event to wait for
            await asyncio.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said = await asyncio.to_thread(process.stderr.readline)
    process.send_signal(signal.SIGINT)

    assert await asyncio.to_thread(process.wait, 5) == -signal.SIGINT
    assert "let finish" in said


def test_the_emulator_serves_until_ctrl_c(program):
    """The emulator prints its exports, serves, and sums up on Ctrl-C."""
    server = program("emulator", "--port", "0", "--speed", "10")
    exports = [server.stdout.readline() for _ in range(2)]
    server.send_signal(signal.SIGINT)
    _, said = server.communicate(timeout=10)

    assert exports[0].startswith("export APIMODELS_BASE_URL=http://127.0.0.1:")
    assert exports[1].startswith("export APIMODELS_API_KEY=sk_")
    assert "Served 0 requests" in said
    assert "Traceback" not in said
    assert server.returncode == 130


def test_sigterm_ends_the_emulator_too(program):
    """SIGTERM is handled as Ctrl-C, with its own exit code."""
    server = program("emulator", "--port", "0")
    server.stdout.readline()
    server.terminate()

    assert server.wait(10) == 143
