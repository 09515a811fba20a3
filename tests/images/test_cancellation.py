"""Every public coroutine, cancelled at every turn of the event loop, once and twice."""

from __future__ import annotations

import asyncio
import itertools

import anyio
import pytest
from support.batches import prompts_ordered
from support.cases import check_all_at_once
from support.raw import PICTURE, PNG, RawServer, hang, in_turn, respond
from support.sessions import IMPATIENT, PATIENT
from support.waiting import until

from apimodels_async import (
    ImageResult,
    OutcomeUnknownError,
    PollPolicy,
    TaskHandle,
)
from apimodels_async.emulator import Emulator

TURNS_MAX = 60  # places to cancel at; of longer calls, as many spread evenly


@pytest.fixture
async def emulator():
    """Serve the API with work that takes no time, unless its prompt says so."""
    async with Emulator(credits="10000", service_times={"*": 0.001}) as emulator:
        yield emulator


@pytest.fixture
async def session(emulator, connect):
    """Open a session that polls every 5 ms."""
    return connect(emulator, polling=PollPolicy.unchecked(interval=0.005))


class Sweep:
    """Runs one coroutine again and again, cancelled a turn later each time."""

    def __init__(self, session, make):
        self.session, self.make = session, make
        self.products = []
        """What the calls returned that were not cancelled in time."""
        self.number = 0

    async def once(self, turn, times):
        """
        Call, cancel *times* from turn *turn* on; return whether it was over before.
        """
        self.number += 1
        balance = []

        async def call():
            try:
                return await self.make(self.session, f"turn {self.number}")
            except asyncio.CancelledError:
                balance.append(asyncio.current_task().cancelling())
                raise

        task = asyncio.create_task(call())
        for _ in range(turn):
            await asyncio.sleep(0)
        if task.done():
            self.products.append(task.result())
            return True
        asked = 0
        for _ in range(times):
            asked += task.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([task], timeout=5)
        assert task.cancelled(), f"turn {turn}: not cancelled: {task!r}"
        # Cancelled before its first step, the call never saw it.
        assert balance in ([asked], [1], []), f"turn {turn}: {balance}"
        return False

    async def count(self):
        """Return how many turns the call takes."""
        task = asyncio.create_task(self.make(self.session, "turn 0"))
        turns = 0
        while not task.done():
            await asyncio.sleep(0)
            turns += 1
        self.products.append(task.result())
        return turns


def places(turns):
    """Return the turns to cancel at."""
    step = max(1, -(-turns // TURNS_MAX))
    return range(0, turns + 1, step)


async def consume(handle):
    """Return the states a handle showed."""
    return [event.state async for event in handle]


async def result(session, prompt):
    """Submit and wait for the handle's result."""
    handle = await session.images.submit(prompt, model="gpt-image-2")
    return await handle.result()


async def events(session, prompt):
    """Submit and read the handle's events."""
    handle = await session.images.submit(prompt, model="gpt-image-2")
    await consume(handle)
    return handle


FREE = {
    "balance": lambda session, _prompt: session.balance(),
    "models": lambda session, _prompt: session.models(),
    "upload": lambda session, _prompt: session.upload(PNG, name="a.png"),
}
PAID = {
    "generate": lambda session, prompt: session.images.generate(prompt),
    "generate-model": lambda session, prompt: session.images.generate(
        prompt, model="gpt-image-2"
    ),
    "edit": lambda session, prompt: session.images.edit(
        prompt, images=["https://files.example/a.png"]
    ),
    "submit": lambda session, prompt: session.images.submit(
        prompt, model="gpt-image-2"
    ),
    "result": result,
    "aiter": events,
}


async def settle(session, emulator):
    """Wait until no order is under way and every task has ended."""

    def settled():
        stats = session.stats()
        works = (*emulator.tasks.values(), *emulator.generations.values())
        return not stats.under_way + stats.pending and all(w.settled for w in works)

    await until(settled)


def lost(emulator, products, prompt=""):
    """Return the charged works, of *prompt* or all, that nobody was told about."""
    known = set()
    for product in products:
        if isinstance(product, TaskHandle):
            known.add(product.task_id)
        elif isinstance(product, ImageResult):
            known.update(product.urls)
    works = (*emulator.tasks.values(), *emulator.generations.values())
    return [
        work.prompt
        for work in works
        if work.charged
        and prompt in work.prompt
        and work.id not in known
        and not known & set(work.urls)
    ]


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("name", [*FREE, *PAID])
async def test_a_cancelled_call_ends_and_loses_nothing_paid(
    emulator, session, name, times
):
    """At each turn CancelledError comes through, and what was bought is an orphan."""
    sweep = Sweep(session, (FREE | PAID)[name])
    await sweep.count()  # imports, connections
    turns = await sweep.count()
    over = [await sweep.once(turn, times) for turn in places(turns)]
    await settle(session, emulator)
    taken = [*sweep.products, *session.orphans]

    assert over.count(False) >= min(10, turns // 3)
    if name in {"generate", "edit", "submit"}:
        assert lost(emulator, taken) == []
    posts = [record for record in emulator.requests if record.prompt]
    assert len(posts) == len({record.prompt for record in posts}) + (name in PAID)


@pytest.mark.parametrize("times", [1, 2])
async def test_a_cancelled_wait_leaves_its_task_tracked(emulator, session, times):
    """Handles whose waiters are cancelled at any turn all get their result."""
    handles, turn = [], 0
    while turn < TURNS_MAX:
        handle = await session.images.submit(f"turn {turn}", model="gpt-image-2")
        waiter = asyncio.create_task(handle.result())
        reader = asyncio.create_task(consume(handle))
        for _ in range(turn):
            await asyncio.sleep(0)
        for _ in range(times):
            waiter.cancel()
            reader.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([waiter, reader], timeout=5)
        handles.append(handle)
        turn += 2
    results = await asyncio.gather(*handles)

    assert [emulator.tasks[one.task_id].prompt for one in results] == [
        f"turn {turn}" for turn in range(0, TURNS_MAX, 2)
    ]


async def test_a_cancelled_download_leaves_no_file(session, tmp_path):
    """At each turn the folder stays empty, or holds the whole file."""
    picture = await session.images.generate("a fox")

    async def make(session, name):
        return await session.download(picture, tmp_path / name)

    sweep = Sweep(session, make)
    turns = min(200, await sweep.count())  # the rest is waiting for the disk
    whole = (await make(session, "whole")).read_bytes()
    for turn in places(turns):
        await sweep.once(turn, 1)
        for file in tmp_path.iterdir():
            assert file.read_bytes() == whole, f"turn {turn}: {file.name}"


@pytest.mark.parametrize("times", [1, 2])
async def test_a_cancelled_close_still_closes(emulator, connect, times):
    """At each turn the session ends up closed, with no task and no socket left."""
    for turn in range(24):
        session = connect(emulator, polling=PollPolicy.unchecked(interval=0.005))
        await session.images.submit(f"turn {turn} [slow]", model="gpt-image-2")
        order = asyncio.create_task(session.images.generate(f"sync {turn}"))
        closing = asyncio.create_task(session.aclose())
        for _ in range(turn):
            await asyncio.sleep(0)
        for _ in range(times):
            closing.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([closing], timeout=5)
        await session.aclose()
        await asyncio.wait([order], timeout=5)

        assert order.done()
        assert isinstance(order.exception(), (Exception, type(None)))
        names = [task.get_name() for task in asyncio.all_tasks()]
        assert not [name for name in names if name.startswith("apimodels-")]
        assert not session.stats().connections


# --- other ways to be cancelled ----------------------------------------------------


@pytest.mark.parametrize("name", PAID)
async def test_a_timeout_of_nothing_buys_nothing(emulator, session, name):
    """Under asyncio.timeout(0) the order is cancelled before it leaves."""
    await session.balance()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await PAID[name](session, "a fox")
    await settle(session, emulator)

    assert asyncio.current_task().cancelling() == 0
    assert lost(emulator, session.orphans) == []


@pytest.mark.parametrize("turns", [1, 4, 8, 12, 20])
@pytest.mark.parametrize("name", ["generate", "submit"])
async def test_a_failing_sibling_loses_nothing(emulator, session, name, turns):
    """When a task group cancels an order, what it bought is an orphan."""

    async def fail():
        for _ in range(turns):
            await asyncio.sleep(0)
        raise KeyError(turns)

    products = []

    async def order():
        products.append(await PAID[name](session, "a fox"))

    async def both():
        async with asyncio.TaskGroup() as group:
            group.create_task(order())
            group.create_task(fail())

    with pytest.raises(ExceptionGroup) as caught:
        await both()
    await settle(session, emulator)

    assert [type(error) for error in caught.value.exceptions] == [KeyError]
    assert lost(emulator, [*products, *session.orphans]) == []


@pytest.mark.parametrize("delay", [0, 0.001, 0.003, 0.006])
@pytest.mark.parametrize("name", ["generate", "submit"])
async def test_an_anyio_scope_gets_its_cancellation(emulator, session, name, delay):
    """Under anyio.move_on_after an order ends in time, and is kept if it was sent."""
    products = []
    with anyio.move_on_after(delay) as scope:
        products.append(await PAID[name](session, "a fox"))
    await settle(session, emulator)

    assert scope.cancelled_caught != bool(products)
    assert lost(emulator, [*products, *session.orphans]) == []


# --- what becomes of it -------------------------------------------------------------


async def turns(number):
    """Let the loop turn."""
    for _ in range(number):
        await asyncio.sleep(0)


async def cancelled(task):
    """Cancel a task and check that it ends cancelled."""
    task.cancel()
    await asyncio.wait([task])
    return task.cancelled()


async def test_an_order_cancelled_on_a_new_connection_is_unsent_or_kept(
    emulator, connect
):
    """Either the API has no task, or the session holds the very task it has."""

    async def check(how, after):
        session, prompt = connect(emulator), f"<{how} {after}>"
        order = asyncio.create_task(PAID[how](session, prompt))
        await turns(after)
        bought = [order.result()] if order.done() else []
        assert await cancelled(order) != bool(bought)
        await until(lambda: not session.stats().under_way)
        bought += session.orphans

        assert len(bought) == prompts_ordered(emulator)[prompt]
        assert lost(emulator, bought, prompt) == []

    await check_all_at_once(
        itertools.product(("submit", "generate"), range(0, 60, 4)), check
    )


async def test_an_orphaned_task_is_still_tracked(emulator, connect):
    """The handle of a cancelled submit gives the result that was paid for."""
    session = connect(emulator)
    fault = emulator.fault("create", "slow", seconds=0.1)
    order = asyncio.create_task(session.images.submit("a moose", model="gpt-image-2"))
    await until(lambda: fault.hits)
    assert await cancelled(order)
    await until(lambda: not session.stats().under_way)

    [orphan] = session.orphans
    assert isinstance(orphan, TaskHandle)
    assert (await orphan).task_id in emulator.tasks
    assert session.stats().completed == 1


async def test_an_orphan_may_be_of_unknown_fate(connect, caplog):
    """A cancelled order whose answer never came is listed, and logged at the close."""
    async with RawServer(hang) as server:
        session = connect(server, timeouts=IMPATIENT)
        order = asyncio.create_task(
            session.images.submit("a moose", model="gpt-image-2")
        )
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
    order = asyncio.create_task(
        session.images.generate("a moose [slow]", model="gpt-image-2")
    )
    await until(lambda: emulator.tasks and session.stats().submitted)
    assert await cancelled(order)

    [task_id] = emulator.tasks
    assert session.stats().pending == 1
    assert (await session.images.attach(task_id)).task_id == task_id


async def test_cancelling_the_close_cuts_and_tells(connect):
    """A cancelled aclose ends in CancelledError, closed, every caller told."""

    async def check(after):
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

    await check_all_at_once(range(0, 40, 3), check)
