"""
What was paid for is handed over, or stays where its user finds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random

import pytest
from support.batches import tasks
from support.waiting import until

from apimodels_async import ConfigurationError, ImageResult, Session, TaskHandle
from apimodels_async._adapters import Adapters


async def test_a_reader_that_is_cancelled_took_nothing(emulator, session):
    """However often waiting readers are cancelled, every outcome comes exactly once."""
    rng, seen = random.Random(1), []  # noqa: S311  a schedule
    async with session.images.batch(tasks(60), max_pending=20) as outcomes:
        while len(seen) < 60:
            try:
                async with asyncio.timeout(rng.random() * 0.01):
                    seen.append(await anext(outcomes))
            except TimeoutError:
                pass
    assert sorted(each.index for each in seen) == list(range(60))
    assert outcomes.unread == ()
    assert len(emulator.tasks) == 60


async def test_many_readers_share_a_batch(session):
    """Each outcome goes to one of the readers, and each reader comes to the end."""

    async def read(outcomes):
        return [outcome.index async for outcome in outcomes]

    async with session.images.batch(["a", "b", "c", "d"], max_pending=2) as outcomes:
        found = await asyncio.gather(*(read(outcomes) for _ in range(3)))
    assert sorted(index for each in found for index in each) == [0, 1, 2, 3]


async def test_what_is_left_while_it_is_saved_is_unread_with_its_result(
    emulator, session, tmp_path
):
    """A paid picture whose file is on its way when the batch is left is not lost."""
    emulator.fault("file", "slow", times=None, seconds=5)
    items = ["a fox", *tasks(2)]
    async with session.images.batch(
        items, max_pending=3, download_to=tmp_path
    ) as outcomes:
        await until(lambda: [r.endpoint for r in emulator.requests].count("file") == 3)
    assert sorted(outcome.index for outcome in outcomes.unread) == [0, 1, 2]
    assert all(outcome.result.url and not outcome.path for outcome in outcomes.unread)


async def test_a_batch_is_entered_once(session, tmp_path):
    """Reading before it, a second entrance and reading after leaving are refused."""
    for journal in (None, tmp_path / "j.sqlite"):
        batch = session.images.batch(["a"], journal=journal)
        with pytest.raises(ConfigurationError) as early:
            async for _ in batch:
                pass
        async with batch as outcomes:
            assert len([outcome async for outcome in outcomes]) == 1
            assert [outcome async for outcome in outcomes] == []
        with pytest.raises(ConfigurationError) as again:
            async with batch:
                pass
        with pytest.raises(ConfigurationError) as late:
            async for _ in outcomes:
                pass
        assert str(early.value) == (
            "enter the batch first: async with session.images.batch(...) as outcomes "
            "(without async in apimodels_async.sync); nothing is ordered before that"
        )
        assert str(again.value) == (
            "a batch is entered once: make another with session.images.batch(...)"
        )
        assert str(late.value) == (
            "this batch was left: iterate it inside its `async with`; what it did not "
            "hand over is in outcomes.unread and outcomes.pending"
        )
        charged = [each.value.charged for each in (early, again, late)]
        assert charged == [False, False, None]


async def test_entering_that_is_cancelled_leaves_no_journal_open(session, tmp_path):
    """At whatever step entering is cancelled, the next batch can use the journal."""
    journal = tmp_path / "j.sqlite"
    for steps in range(0, 40, 2):

        async def enter():
            async with session.images.batch([], journal=journal):
                pass

        entering = asyncio.create_task(enter())
        for _ in range(steps):
            await asyncio.sleep(0)
        entering.cancel()
        await asyncio.wait([entering])
        async with asyncio.timeout(10):
            while True:
                try:
                    await enter()
                    break
                except Exception:  # noqa: BLE001  the thread is about to end
                    await asyncio.sleep(0.01)


async def test_a_generator_left_in_the_middle_is_closed_with_its_batch(session):
    """Clean-up in a source runs when the batch is left, not at some collection."""
    closed = []

    def plain():
        try:
            yield from map(str, range(100))
        finally:
            closed.append("plain")

    async def asynchronous():
        try:
            for number in range(100):
                yield str(number)
        finally:
            closed.append("async")

    for source in (plain(), asynchronous()):
        async with session.images.batch(source, max_pending=2) as outcomes:
            async for _ in outcomes:
                break
    assert closed == ["plain", "async"]


async def test_a_task_that_ends_as_its_batch_is_left_is_not_lost(emulator, session):
    """Whatever settles in the very step of leaving is pending or unread."""
    lost = set()
    for _ in range(12):
        before = set(emulator.tasks)
        known = set()
        async with session.images.batch(tasks(25), max_pending=25) as outcomes:
            async for outcome in outcomes:
                known.add(outcome.result.task_id)
                if len(known) == 8:
                    break
        known |= {handle.task_id for handle in outcomes.pending}
        known |= {outcome.result.task_id for outcome in outcomes.unread}
        lost |= set(emulator.tasks) - before - known
    assert lost == set()


async def test_a_picture_is_handed_over_although_saving_breaks(emulator, tmp_path):
    """Whatever saving ends in, the paid result is in the outcome, with the error."""

    class Broken(Adapters):
        tried = False

        def sink(self, *args, **options):
            if not self.tried:  # whether anything can be written there
                self.tried = True
                return super().sink(*args, **options)
            msg = "no place for files"
            raise ConfigurationError(msg)

    class BrokenSession(Session):
        def _make_adapters(self):
            return Broken()

    async with (
        BrokenSession(emulator.api_key, base_url=emulator.base_url) as session,
        session.images.batch(["a fox"], download_to=tmp_path) as outcomes,
    ):
        outcome = await anext(outcomes)
    assert outcome.result.url
    assert isinstance(outcome.error, ConfigurationError)


class Rude:
    """An observer that raises at the end of an order, or when a task is accepted."""

    def __init__(self, *, at_once):
        self.at_once = at_once

    @contextlib.contextmanager
    def ordering(self, _request, _idempotency_key=None):
        """Surround one order."""
        yield self.accepted
        raise KeyError

    def accepted(self, _task_id):
        """Hear of a task."""
        if self.at_once:
            raise KeyError


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("model", [None, "gpt-image-2"])
async def test_an_observer_that_raises_costs_no_result(
    emulator, session, model, at_once
):
    """What was bought is in unread or pending when the batch ends by its error."""
    session.observe(Rude(at_once=at_once))
    item = {"prompt": "a fox", **({"model": model} if model else {})}
    batch = session.images.batch([item])
    with pytest.raises(KeyError):
        async with batch as outcomes:
            [_ async for _ in outcomes]

    assert len(batch.unread) + len(batch.pending) == 1


async def test_a_source_is_closed_however_often_leaving_is_cancelled(session):
    """Cancelled twice while it is left, a batch still closes its suspended source."""
    closed, held = [], []

    async def source():
        try:
            for number in itertools.count():
                yield f"fox {number}"
        finally:
            await asyncio.sleep(0.05)
            closed.append(True)

    async def use():
        async with session.images.batch(source(), max_pending=2) as outcomes:
            held.append(await anext(outcomes))

    user = asyncio.create_task(use())
    await until(lambda: held)
    for _ in range(3):
        user.cancel()
        await asyncio.sleep(0)
    await asyncio.wait([user])
    assert user.cancelled()
    await until(lambda: closed)


async def test_a_batch_that_was_never_entered_can_be_given_up(session):
    """There is nothing to leave, and nothing to keep."""
    batch = session.images.batch(["a fox"])
    await batch._give_up()

    assert session.orphans == ()


async def test_what_a_given_up_batch_bought_becomes_orphans(session):
    """Results and tasks of a batch that nobody holds are the session's."""
    items = ["a fox", {"prompt": "[stuck]", "model": "gpt-image-2"}]
    batch = await session.images.batch(items).__aenter__()
    await until(lambda: batch.unread and batch.pending)
    await batch._give_up()

    assert {type(each) for each in session.orphans} == {ImageResult, TaskHandle}
