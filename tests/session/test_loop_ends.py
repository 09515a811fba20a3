"""What a session says and closes when its loop ends before it was closed."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys

import pytest
from support.raw import RawServer, hang
from support.sessions import PATIENT
from support.waiting import until

from apimodels_async import SessionClosedError
from apimodels_async.testing import serve_emulator

TASK = {"model": "gpt-image-2"}


def warnings_of(caplog):
    """Return what was logged as a warning."""
    return [line.getMessage() for line in caplog.records if line.levelname == "WARNING"]


async def test_orders_cut_with_all_tasks_are_in_the_warning(connect, caplog):
    """Where all tasks are cancelled at once, unanswered orders are named as well."""
    async with RawServer(hang) as server:
        session = connect(server, timeouts=PATIENT)
        session.images.attach("clx1")
        order = asyncio.create_task(session.images.generate("a fox"))
        await server.arrived.wait()
        ours = {
            task
            for task in asyncio.all_tasks()
            if task.get_name().startswith("apimodels-")
        }
        for task in (order, *ours):
            task.cancel()
        await asyncio.wait([order, *ours])
        await until(lambda: caplog.records)

    (line,) = warnings_of(caplog)
    assert "clx1" in line
    assert line.count("was cut when the session closed") == 1


def test_a_dropped_session_logs_its_ids_once(caplog):
    """Dropped in a living loop it names what is pending; what comes later, later."""

    async def program(emulator):
        session = emulator.session()
        handle = await session.images.submit("a moose [stuck]", **TASK)
        images = session.images
        with pytest.warns(ResourceWarning):  # noqa: PT031
            del session
            gc.collect()
        return [handle.task_id, (await images.submit("[stuck]", **TASK)).task_id]

    with serve_emulator() as emulator:
        ids = asyncio.run(program(emulator))

    first, second = warnings_of(caplog)
    assert ids[0] in first
    assert ids[1] in second
    assert ids[0] not in second


async def test_a_forked_child_leaves_the_log_to_its_parent(emulator, connect, caplog):
    """What another process opened is not reported here."""
    session = connect(emulator)
    await session.images.submit("a moose [stuck]", **TASK)
    parts = session._runtime.parts
    parts.pid += 1  # as a child sees it
    session._runtime.report()
    parts.pid = os.getpid()

    assert warnings_of(caplog) == []


def run(code, folder):
    """Run a program with all warnings shown; return what it says, and of what."""
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", code],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_a_loop_that_just_stops_leaves_no_order_unnamed(tmp_path):
    """Closed without cancelling anything, orders on their way are named as well."""
    code = """
import asyncio, logging, os, sys
from apimodels_async import SessionClosedError
from apimodels_async.testing import serve_emulator
logging.basicConfig(format="%(message)s", stream=sys.stdout)

async def begin(emulator):
    session = emulator.session()
    order = asyncio.create_task(session.images.generate("a fox"))
    while not emulator.record.orders:
        await asyncio.sleep(0.01)
    return session, order, asyncio.all_tasks()

with serve_emulator() as emulator:
    emulator.faults.slow(60)
    loop = asyncio.new_event_loop()
    session, *kept = loop.run_until_complete(begin(emulator))
    loop.close()
    asyncio.run(session.aclose())
    sys.stdout.flush()
    os._exit(0)
"""
    said, _ = run(code, tmp_path)

    assert said.count("session closed with") == 1
    assert "images/generations-sync was cut" in said


@pytest.mark.parametrize("closing", ["asyncio.run(session.aclose())", "pass"])
def test_after_its_loop_nothing_of_a_session_is_left_open(closing, tmp_path):
    """Nobody warns of connections, or of what was never awaited."""
    code = f"""
import asyncio, gc, warnings
from apimodels_async import Session
from apimodels_async import SessionClosedError
from apimodels_async.testing import serve_emulator

async def begin(emulator):
    session = emulator.session()
    result = await session.images.generate("a fox", width=256, height=256)
    await session.download(result, "fox")
    return session

with serve_emulator() as emulator:
    session = asyncio.run(begin(emulator))
    {closing}
    del session
    gc.collect()
"""
    _, warned = run(code, tmp_path)

    for word in ("Unclosed", "unclosed", "never awaited", "destroyed"):
        assert word not in warned, warned
    assert warned.count("never closed") == (closing == "pass")


async def test_an_order_answered_after_the_tracker_ended_is_named(emulator, connect):
    """The error of a picture that nobody can wait for any more has its task's id."""
    from apimodels_async import SessionClosedError

    session = connect(emulator)
    await session.balance()
    emulator.fault("create", "slow", seconds=0.1)
    order = asyncio.create_task(session.images.generate("a moose", **TASK))
    await until(lambda: session.stats().under_way)
    (tracker,) = [
        task for task in asyncio.all_tasks() if task.get_name() == "apimodels-tracker"
    ]
    tracker.cancel()
    with pytest.raises(SessionClosedError) as caught:
        await order

    (task_id,) = emulator.tasks
    assert caught.value.task_id == task_id
    assert task_id in caught.value.task_ids
    assert caught.value.charged is None


async def test_a_session_that_is_closed_meanwhile_is_wound_up_once(emulator, connect):
    """Closed in the step in which its tracker ended, it closes as ever."""
    session = connect(emulator)
    handle = await session.images.submit("a moose [stuck]", **TASK)
    session._runtime._on_tracker_end()
    await session.aclose()

    with pytest.raises(SessionClosedError) as caught:
        await handle
    assert caught.value.task_ids == (handle.task_id,)


async def test_what_ended_and_nobody_heard_of_is_in_the_warning(emulator, connect):
    """In a loop that turns no more, an order stays named until its caller ran."""
    session = connect(emulator)
    call = asyncio.create_task(session.images.generate("a fox"))
    ordering = session._runtime.open().ordering
    await until(lambda: ordering.left_open)
    (runner,) = ordering._under_way
    seen = []
    runner.add_done_callback(lambda _: seen.extend(ordering.left_open))
    result = await call

    assert seen == [result]
    assert ordering.left_open == []
