"""``apimodels status`` and ``wait``."""

from __future__ import annotations

import pytest

from apimodels_async import PollPolicy, Session, TaskTimeoutError
from apimodels_async.cli.context import command_context
from apimodels_async.cli.delivery import follow
from apimodels_async.cli.output import Output

MODEL = ("--model", "gpt-image-2", "--no-wait", "--json")


@pytest.fixture
def submit(run):
    """Submit a task and return its id."""

    async def submit(prompt):
        done = await run("generate", prompt, *MODEL)
        return done.records[0]["task_id"]

    return submit


async def test_the_status_of_a_running_task(run, submit):
    """A task whose state does not change is told as soon as the API has answered."""
    task_id = await submit("a moose [stuck]")

    done = await run("status", task_id, "--json")

    (state,) = done.records
    assert done.code == 0
    assert {"event": "state", "task_id": task_id, "state": "pending"} == state


async def test_the_status_of_a_finished_task_has_its_picture(run, submit, emulator):
    """A completed task is told with the URL of its picture."""
    task_id = await submit("a moose")
    emulator.advance(1000)

    done = await run("status", task_id)

    assert done.code == 0
    assert "state    completed" in done.out
    assert "url      http" in done.out


async def test_the_status_of_a_failed_task_has_its_reason(run, submit, emulator):
    """A failed task ends with code 1 and the API's reason on stderr."""
    task_id = await submit("a moose [refused]")
    emulator.advance(1000)

    done = await run("status", task_id)

    assert done.code == 1
    assert "state    failed" in done.out
    assert "Content policy violation" in done.err
    assert "charged: no" in done.err


async def test_the_status_without_readable_answers_gives_up(run, submit, emulator):
    """A status nobody answers for is a network failure, not an endless wait."""
    task_id = await submit("a moose")
    emulator.fault("poll", "drop", times=None)

    done = await run("status", task_id)

    assert done.code == 1
    assert "no readable answer in 3 tries" in done.err
    assert "charged: unknown" in done.err


async def test_the_status_of_an_unknown_task(run):
    """An id the API does not know ends with code 1."""
    done = await run("status", "nobody", "--json")

    assert done.code == 1
    assert done.events == ["error"]
    assert done.records[0]["type"] == "TaskNotFoundError"


async def test_wait_saves_the_picture(run, submit, folder):
    """A task is waited for by its id, and its picture saved."""
    task_id = await submit("a moose")

    done = await run("wait", task_id, "--out", "moose")

    assert done.code == 0
    assert [path.name for path in folder.iterdir()] == ["moose.jpg"]


async def test_wait_without_saving(run, submit, folder):
    """--no-save prints the URL only."""
    task_id = await submit("a moose")

    done = await run("wait", task_id, "--no-save", "--json")

    assert done.events[-1] == "result"
    assert list(folder.iterdir()) == []


async def test_wait_gives_up_in_time(run, submit):
    """After --timeout the task goes on, and the error says how to find it."""
    task_id = await submit("a moose [stuck]")

    done = await run("wait", task_id, "--timeout", 0.2)

    assert done.code == 4
    assert "after 0.2 s" in done.err
    assert "charged: unknown" in done.err
    assert f"apimodels wait {task_id}" in done.err


async def test_the_deadline_of_the_session_passes(emulator):
    """A task that outlives the session's own deadline ends with that error."""
    polling = PollPolicy.unchecked(interval=0.05, deadline=0.2)
    session = Session(emulator.api_key, base_url=emulator.base_url, polling=polling)
    async with command_context(session, Output()) as context:
        handle = await session.images.submit("a moose [stuck]", model="gpt-image-2")

        with pytest.raises(TaskTimeoutError, match=r"after 0\.2 s"):
            await follow(context, handle)
