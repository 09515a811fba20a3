"""
Cancelling: nothing paid is lost, nothing unsent is sent, CancelledError comes through.
"""

from __future__ import annotations

import asyncio

import anyio
import pytest
from support.raw import PICTURE, RawServer, envelope, hang, in_turn, respond
from support.sessions import IMPATIENT, PATIENT
from support.waiting import until

from apimodels_async import ImageResult, OutcomeUnknownError, TaskHandle

TASK = {"model": "gpt-image-2"}


async def turns(number):
    """Let the loop turn."""
    for _ in range(number):
        await asyncio.sleep(0)


async def cancelled(task):
    """Cancel a task and check that it ends cancelled."""
    task.cancel()
    await asyncio.wait([task])
    return task.cancelled()


async def quiet(session):
    """Wait until the session has no order under way."""
    await session._runtime.open().ordering.drain()


@pytest.mark.parametrize("after", range(0, 60, 3))
async def test_a_submit_cancelled_at_any_turn_is_unsent_or_kept(
    emulator, connect, after
):
    """Either the API has no task, or the session holds the very task it has."""
    session = connect(emulator)
    if after % 2:  # half of them on a connection that is open already
        await session.balance()
    order = asyncio.create_task(session.images.submit("a moose", **TASK))
    await turns(after)
    finished = order.done()
    was_cancelled = await cancelled(order)
    await quiet(session)

    assert was_cancelled is not finished
    known = [orphan.task_id for orphan in session.orphans]
    if finished:
        known.append(order.result().task_id)
    assert known == list(emulator.tasks)
    assert session.stats().pending == len(known)


@pytest.mark.parametrize("after", range(0, 60, 4))
async def test_a_generate_cancelled_at_any_turn_is_unsent_or_kept(
    emulator, connect, after
):
    """A synchronous picture that was sent is kept as an orphan, unsent it is none."""
    session = connect(emulator)
    order = asyncio.create_task(session.images.generate("a fox"))
    await turns(after)
    assert await cancelled(order)
    await quiet(session)

    assert len(session.orphans) == len(emulator.generations)
    assert all(isinstance(orphan, ImageResult) for orphan in session.orphans)


async def test_an_orphaned_task_is_still_tracked(emulator, connect):
    """The handle of a cancelled submit gives the result that was paid for."""
    session = connect(emulator)
    fault = emulator.fault("create", "slow", seconds=0.1)
    order = asyncio.create_task(session.images.submit("a moose", **TASK))
    await until(lambda: fault.hits)
    assert await cancelled(order)
    await quiet(session)

    [orphan] = session.orphans
    assert isinstance(orphan, TaskHandle)
    assert (await orphan).task_id in emulator.tasks
    assert session.stats().completed == 1


async def test_an_orphan_may_be_of_unknown_fate(connect, caplog):
    """A cancelled order whose answer never came is listed, and logged at the close."""
    async with RawServer(hang) as server:
        session = connect(server, timeouts=IMPATIENT)
        order = asyncio.create_task(session.images.submit("a moose", **TASK))
        await server.arrived.wait()
        assert await cancelled(order)
        assert session.orphans == ()
        await session.aclose()

        [orphan] = session.orphans
        assert isinstance(orphan, OutcomeUnknownError)
    assert "unknown fate" in caplog.text


async def test_a_cancelled_generate_of_a_task_leaves_it_tracked(emulator, connect):
    """Cancelling the wait for a task gives up the wait, not the task."""
    session = connect(emulator)
    order = asyncio.create_task(session.images.generate("a moose", **TASK))
    await until(lambda: emulator.tasks and session.stats().submitted)
    assert await cancelled(order)

    [task_id] = emulator.tasks
    assert session.stats().pending == 1
    assert (await session.images.attach(task_id)).task_id == task_id


async def test_one_cancelled_waiter_leaves_the_others(session):
    """Of three waiters one is cancelled; two get the result."""
    handle = await session.images.submit("a moose", **TASK)
    waiters = [asyncio.create_task(handle.result()) for _ in range(3)]
    await turns(3)
    assert await cancelled(waiters[0])

    assert await waiters[1] is await waiters[2]


async def test_an_anyio_scope_is_obeyed(connect):
    """move_on_after around an order ends at its time, and the order goes on."""
    answer = in_turn(hang, respond(envelope({"balance": 1})))
    async with RawServer(answer) as server:
        session = connect(server)
        with anyio.move_on_after(0.05) as scope:
            await session.images.generate("a fox")

        assert scope.cancelled_caught
        assert (await session.balance()).balance == 1
        assert len(server.posts) == 1


async def test_a_neighbour_that_fails_cancels_cleanly(emulator, connect):
    """In a TaskGroup, an order is cancelled with its group and is kept."""
    session = connect(emulator)
    fault = emulator.fault("sync", "slow", seconds=0.1)

    async def fail():
        await until(lambda: fault.hits)
        msg = "mine"
        raise KeyError(msg)

    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with asyncio.TaskGroup() as group:
            order = group.create_task(session.images.generate("a fox"))
            group.create_task(fail())
    await quiet(session)

    assert order.cancelled()
    assert caught.group_contains(KeyError)
    assert len(session.orphans) == 1


async def test_a_free_call_is_cancelled_at_once(connect):
    """Cancelling balance() ends its request."""
    async with RawServer(hang) as server:
        session = connect(server)
        call = asyncio.create_task(session.balance())
        await server.arrived.wait()

        assert await cancelled(call)


@pytest.mark.parametrize("after", range(0, 40, 3))
async def test_cancelling_the_close_cuts_and_tells(connect, after):
    """A cancelled aclose ends in CancelledError, closed, every caller told."""
    async with RawServer(in_turn(hang, respond(PICTURE))) as server:
        session = connect(server, timeouts=PATIENT if after else IMPATIENT)
        order = asyncio.create_task(session.images.generate("a fox"))
        await server.arrived.wait()
        closing = asyncio.create_task(session.aclose())
        await turns(after)
        assert await cancelled(closing)
        await asyncio.wait([order])

        if after:  # else it never began, and the order meets its own timeout
            assert "cut when the session closed" in str(order.exception())
        assert isinstance(order.exception(), OutcomeUnknownError)
        assert len(server.posts) == 1
