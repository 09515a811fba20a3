"""
Leaving a batch early: ordering stops, nothing paid is cut, the rest stays tracked.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading

import anyio
import pytest
from support.batches import TASK, drain, orders, prompts_ordered, rows, tasks
from support.raw import CREATED, RawServer, message
from support.waiting import until

from apimodels_async import ImageRequest, Session, SessionClosedError, TaskHandle
from apimodels_async._adapters import Adapters
from apimodels_async.stores.sqlite.journal import Journal, holder_of

SLOW = [ImageRequest(TASK, f"[slow] moose {number}") for number in range(20)]


async def test_break_stops_ordering_and_keeps_the_rest_tracked(emulator, session):
    """What was paid for is in *pending*, and its results can still be awaited."""
    items = [ImageRequest(TASK, "hare"), *SLOW]
    async with session.images.batch(items, max_pending=5) as outcomes:
        async for _ in outcomes:
            break
    ordered = len(emulator.tasks)
    handles = outcomes.pending

    assert 1 <= len(handles) <= 5
    assert session.stats().pending == len(handles)
    results = await asyncio.gather(*handles)
    assert {h.task_id for h in handles} == {r.task_id for r in results}
    assert tuple(h for h in handles if not h.done) == ()
    assert ordered == len(emulator.tasks) <= 6
    assert ordered == emulator.spent / emulator.tasks[handles[0].task_id].price


async def test_an_error_of_the_body_arrives_unwrapped(emulator, session):
    """A KeyError stays a KeyError, not a group."""
    batch = session.images.batch(SLOW, max_pending=3)

    async def body():
        async with batch as outcomes:
            await until(lambda: len(outcomes.pending) == 3)
            {}["mine"]

    with pytest.raises(KeyError, match="mine"):
        await body()
    assert 3 == len(batch.pending) == len(emulator.tasks)
    assert all(isinstance(handle, TaskHandle) for handle in batch.pending)


async def test_an_order_under_way_is_awaited_not_cut(emulator, session):
    """Leaving waits for the answers of orders, so that each task is known."""
    emulator.fault("create", "slow", times=None, seconds=0.3)
    async with session.images.batch(SLOW, max_pending=3):
        await until(lambda: orders(emulator))
    assert 3 == session.stats().pending == len(emulator.tasks)
    assert session.orphans == ()


async def test_a_synchronous_order_is_not_cut_either(emulator, session):
    """A generation that answers at once ends, is paid for and is no orphan."""
    async with session.images.batch(["[slow] moose"] * 2, max_pending=2):
        await until(lambda: orders(emulator))
    assert 2 == len(emulator.generations) == session.stats().submitted


async def test_cancelling_leaves_now_and_cuts_nothing(emulator, session):
    """A cancelled caller leaves; what was ordered stays tracked by the session."""
    ready = asyncio.Event()
    made = []

    async def run():
        async with session.images.batch(SLOW, max_pending=3) as outcomes:
            made.append(outcomes)
            ready.set()
            await asyncio.sleep(60)

    runner = asyncio.get_running_loop().create_task(run())
    await ready.wait()
    await until(lambda: len(emulator.tasks) == len(made[0].pending) == 3)
    runner.cancel()
    with pytest.raises(asyncio.CancelledError):
        await runner
    assert len(await asyncio.gather(*made[0].pending)) == 3


async def test_cancelling_the_leaving_hands_orders_to_the_session(
    emulator, session, tmp_path
):
    """Cancelled while it waits for answers, the batch goes; they become orphans."""
    emulator.fault("create", "slow", times=None, seconds=0.4)
    journal = tmp_path / "j.sqlite"

    async def run():
        async with session.images.batch(SLOW, max_pending=2, journal=journal):
            await until(lambda: len(orders(emulator)) >= 2)

    runner = asyncio.get_running_loop().create_task(run())
    await until(lambda: len(orders(emulator)) >= 2)
    await asyncio.sleep(0.05)
    runner.cancel()
    with pytest.raises(asyncio.CancelledError):
        await runner
    assert rows(journal) == ["intended"] * 2
    await until(lambda: len(session.orphans) >= 2)
    assert {*emulator.tasks} == {handle.task_id for handle in session.orphans}


async def test_a_cancelled_scope_leaves_a_batch(emulator, session, tmp_path):
    """Cancelled from outside, a batch leaves no thread, no lock and no task behind."""
    journal = tmp_path / "j.sqlite"
    with anyio.CancelScope() as scope:
        async with session.images.batch(SLOW, max_pending=2, journal=journal) as left:
            await until(lambda: len(left.pending) == 2)
            scope.cancel()
            await asyncio.sleep(60)
    assert rows(journal) == ["accepted"] * 2
    assert len(await asyncio.gather(*left.pending)) == 2


@pytest.mark.parametrize("kind", ["queue", "generator"])
async def test_a_source_that_waits_does_not_hold_up_leaving(emulator, session, kind):
    """A worker that waits for the next item goes home at once."""
    queue = asyncio.Queue()
    closed = []

    async def generator():
        try:
            while True:
                yield await queue.get()
        finally:
            closed.append(True)

    class Source:
        def __aiter__(self):
            return self

        async def __anext__(self):
            return await queue.get()

    queue.put_nowait("a moose")
    source = generator() if kind == "generator" else Source()
    async with asyncio.timeout(30):
        async with session.images.batch(source, max_pending=3) as outcomes:
            async for outcome in outcomes:
                assert outcome.result is not None
                break
    assert prompts_ordered(emulator) == {"a moose": 1}
    assert [True] * (kind == "generator") == closed


async def test_cancelling_while_the_source_waits_leaves(session):
    """A caller cancelled while nothing comes ends with its own cancellation."""

    async def source():
        await asyncio.sleep(60)
        yield "never"

    async def run():
        async with session.images.batch(source()) as outcomes:
            async for _ in outcomes:
                pass

    runner = asyncio.get_running_loop().create_task(run())
    await asyncio.sleep(0.05)
    runner.cancel()
    with pytest.raises(asyncio.CancelledError):
        await runner


async def test_leaving_cuts_a_download_and_not_its_result(emulator, session, tmp_path):
    """The file is not there in part; the journal knows the result."""
    emulator.fault("file", "slow", times=None, seconds=50)
    journal, out = tmp_path / "j.sqlite", tmp_path / "out"
    batch = session.images.batch(tasks(2), journal=journal, download_to=out)
    async with asyncio.timeout(30):
        async with batch:
            await until(
                lambda: [r.endpoint for r in emulator.requests].count("file") == 2
            )
    assert rows(journal) == ["completed"] * 2
    assert not out.exists() or not [*out.iterdir()]
    assert batch.pending == ()


async def test_leaving_before_the_answer_still_records_the_end(connect, tmp_path):
    """An order answered after its batch was left is in the journal with its id."""
    release = asyncio.Event()

    async def answer(request, peer):
        if request.method == "POST":
            await release.wait()
            await peer.say(message(CREATED))

    journal = tmp_path / "j.sqlite"
    async with RawServer(answer) as server:
        session = connect(server)

        batch = session.images.batch(tasks(1), journal=journal)
        async with batch:
            await server.arrived.wait()
            asyncio.get_running_loop().call_later(0.1, release.set)
        assert rows(journal, "state, task_id") == [("accepted", "clraw1")]
        assert [handle.task_id for handle in batch.pending] == ["clraw1"]
        await session.aclose()


async def test_a_session_closed_in_the_middle_ends_the_batch(
    emulator, session, tmp_path
):
    """Outcomes so far are handed over; the tasks can be attached in the next run."""
    journal = tmp_path / "j.sqlite"
    batch = session.images.batch(SLOW, max_pending=3, journal=journal)

    async def close():
        await until(lambda: len(batch.pending) == 3)
        await session.aclose()

    (outcomes, raised), _ = await asyncio.gather(drain(batch), close())
    assert isinstance(raised, SessionClosedError)
    assert {SessionClosedError} == {type(o.error) for o in outcomes.values()}
    assert len(emulator.tasks) == 3
    states = rows(journal)
    assert states.count("accepted") == 3
    assert {"accepted", "refused"} >= set(states)


async def test_a_batch_of_a_closed_session_is_not_entered(emulator, session, tmp_path):
    """Nothing is opened, sent or paid."""
    journal = tmp_path / "j.sqlite"
    await session.aclose()
    batch = session.images.batch(tasks(3), max_pending=1, journal=journal)
    with pytest.raises(SessionClosedError) as caught:
        await drain(batch)
    assert caught.value.charged is False
    assert not journal.exists()
    assert orders(emulator) == []


async def test_a_batch_left_twice_over_leaves_a_sound_journal(
    emulator, session, connect, tmp_path
):
    """After leaving early, the same call finishes what is left, each once."""
    journal = tmp_path / "j.sqlite"
    items = tasks(10)
    for taken in (2, 5):
        async with session.images.batch(items, max_pending=3, journal=journal) as some:
            for _ in range(taken):
                assert (await anext(some)).error is None
    outcomes, _ = await drain(session.images.batch(items, journal=journal))
    assert len(outcomes) == 10
    assert {1} == set(prompts_ordered(emulator).values())
    assert rows(journal) == ["completed"] * 10
    with sqlite3.connect(journal) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


async def test_what_had_ended_unread_is_kept(emulator, session):
    """Paid synchronous results that nobody read are in *unread* after leaving early."""
    async with session.images.batch(["a", "b", "c"], max_pending=3) as outcomes:
        await until(lambda: len(emulator.generations) == 3)
        async for _ in outcomes:
            break
    assert [outcome.error for outcome in outcomes.unread] == [None, None]
    assert all(outcome.result.url for outcome in outcomes.unread)


class SlowJournal(Journal):
    """Takes its time over writing down how an order ended."""

    ending = False

    async def ended(self, *facts, **more):
        """Wait until nobody works in the batch any more."""
        self.ending = True
        await until(lambda: "apimodels-batch-0" not in names_of_tasks())
        await super().ended(*facts, **more)


def names_of_tasks():
    """Return the names of the tasks that run."""
    return [task.get_name() for task in asyncio.all_tasks()]


class SlowAdapters(Adapters):
    """Those of a session, with a slow journal."""

    def __init__(self, journal):
        self._journal = journal

    def journal(self, path):
        """Return it."""
        return self._journal


async def test_an_end_that_is_being_written_down_is_unread(emulator, connect, tmp_path):
    """A worker that is cut in that moment has handed over nothing, and lost nothing."""
    journal = SlowJournal(tmp_path / "j.sqlite")

    class SlowSession(Session):
        def _make_adapters(self):
            return SlowAdapters(journal)

    session = connect(emulator, kind=SlowSession)
    batch = session.images.batch(tasks(1), journal=journal.path, max_pending=1)
    async with batch:
        await until(lambda: journal.ending and not batch.pending)
    (left,) = batch.unread

    assert left.result.task_id in emulator.tasks
    assert rows(journal.path) == ["completed"]


async def cancel_twice(runner):
    """Cancel it in two steps of the loop, one after the other."""
    for _ in range(2):
        runner.cancel()
        await asyncio.sleep(0)


@pytest.mark.parametrize("item", [tasks(1)[0], "a fox"], ids=["task", "picture"])
async def test_a_journal_is_not_closed_before_its_orders(
    emulator, session, tmp_path, item
):
    """Cancelled twice, a batch goes; its next run waits, and buys nothing anew."""
    emulator.fault("paid", "slow", seconds=0.5)
    journal = tmp_path / "j.sqlite"

    def batch():
        return session.images.batch([item], journal=journal)

    runner = asyncio.create_task(drain(batch()))
    await until(lambda: orders(emulator))
    await cancel_twice(runner)
    with pytest.raises(asyncio.CancelledError):
        await runner
    assert rows(journal) == ["intended"]
    await cancel_twice(asyncio.create_task(drain(batch())))
    outcomes, _ = await drain(batch())

    assert outcomes[0].error is None
    assert len(orders(emulator)) == 1


async def test_closing_waits_for_journals_that_were_left(emulator, session, tmp_path):
    """Once the session is closed, the journal says what was bought."""
    emulator.fault("paid", "slow", seconds=0.5)
    journal = tmp_path / "j.sqlite"
    runner = asyncio.create_task(drain(session.images.batch(["fox"], journal=journal)))
    await until(lambda: orders(emulator))
    await cancel_twice(runner)
    await session.aclose()

    assert runner.cancelled()
    assert rows(journal) == ["completed"]
    assert holder_of(journal) is None


class GatedJournal(Journal):
    """Open, and waits for *gate* before it says so."""

    def __init__(self, path):
        super().__init__(path)
        self.opened, self.gate = threading.Event(), threading.Event()

    def _acquire(self):
        writer = super()._acquire()
        self.opened.set()
        self.gate.wait()
        return writer


async def test_a_journal_left_while_it_opens_is_opened_again(
    emulator, connect, tmp_path
):
    """A deadline that strikes while it opens keeps the same batch out of nothing."""
    first = GatedJournal(tmp_path / "j.sqlite")
    journals = [Journal(first.path), first]

    class GatedSession(Session):
        def _make_adapters(self):
            adapters = SlowAdapters(None)
            adapters.journal = lambda _path: journals.pop()
            return adapters

    session = connect(emulator, kind=GatedSession)

    def run():
        batch = session.images.batch(["a fox"], journal=first.path)
        return asyncio.create_task(drain(batch))

    runner = run()
    await until(first.opened.is_set)
    await cancel_twice(runner)
    again = run()
    await asyncio.wait([again], timeout=0.2)  # it would be refused by then
    first.gate.set()
    outcomes, _ = await again

    assert runner.cancelled()
    assert outcomes[0].result.url
