"""A batch whose orders workers carry out: as a session's, outcome for outcome."""

from __future__ import annotations

import asyncio

import pytest
from support.batches import drain, prompts_ordered, rows, tasks
from support.redis import needs_redis
from support.waiting import until
from support.workers import working

from apimodels_async import (
    BudgetExceededError,
    InvalidRequestError,
    OutcomeUnknownError,
    SessionClosedError,
)
from apimodels_async.integrations.streaq import OrderQueue

pytestmark = needs_redis


@pytest.fixture
def batch(queue, tmp_path):
    """Make a batch on the queue, with a journal."""

    def batch(source, queue=queue, **options):
        journal = tmp_path / "j.sqlite"
        return queue.batch(source, name="deck", journal=journal, **options)

    return batch


async def read_all(outcomes):
    """Read to the end."""
    async for outcome in outcomes:
        assert outcome.result is None


async def test_its_outcomes_are_a_sessions(batch, broker, emulator, session, tmp_path):
    """Results, failures and files by the same names, in the same states."""
    source = [*tasks(3), "[refused] a fox", {"prompt": "a hare", "seed": 3}]
    async with working(broker.url, emulator):
        found, raised = await drain(batch(source, download_to=tmp_path / "far"))
    journal = tmp_path / "near.sqlite"
    here = session.images.batch(source, journal=journal, download_to=tmp_path / "near")
    wanted, _ = await drain(here)

    assert raised is None
    assert rows(tmp_path / "j.sqlite") == rows(journal)
    for index, outcome in wanted.items():
        other = found[index]
        assert [path.name for path in other.paths] == [p.name for p in outcome.paths]
        assert type(other.error) is type(outcome.error)
        assert str(other.error) == str(outcome.error)
    assert len(list((tmp_path / "far").iterdir())) == 4


async def test_a_budget_is_kept(batch, broker, emulator):
    """What is put into the queue is reserved: nothing beyond the limit is ordered."""
    async with working(broker.url, emulator):
        made = batch(tasks(20), max_cost=0.1, max_pending=10)
        found, raised = await drain(made)

    assert isinstance(raised, BudgetExceededError)
    assert 0 < len(found) == len(emulator.tasks)
    assert emulator.spent <= 0.1
    assert made.spent == emulator.spent


async def test_who_enqueued_may_die(batch, queue, broker, emulator, tmp_path):
    """The same batch again takes up what is in the queue; nothing is bought twice."""
    async with OrderQueue(broker.url, base_url=emulator.base_url) as first:
        dying = batch(tasks(6), queue=first)
        async with dying as outcomes:
            await until(lambda: first.stats().waiting == 6)
            first.close()
            with pytest.raises(SessionClosedError, match="goes on"):
                await read_all(outcomes)
    async with OrderQueue(broker.url, base_url=emulator.base_url) as second:

        async def closed_at_once():
            second.close()
            for each in tasks(6):
                yield each

        early, _ = await drain(batch(closed_at_once(), queue=second))
    async with working(broker.url, emulator):
        found, raised = await drain(batch(tasks(6)))

    assert {outcome.error.charged for outcome in early.values()} == {None}
    assert raised is None
    assert all(outcome.error is None for outcome in found.values())
    assert set(prompts_ordered(emulator).values()) == {1}
    assert rows(tmp_path / "j.sqlite") == ["completed"] * 6


async def test_what_ended_comes_again_and_what_failed_is_tried_again(
    batch, broker, emulator
):
    """As in a session's batch; unknown ones are ordered anew only when told to."""
    source = [*tasks(1), *tasks(1, "[fail]"), *tasks(1, "lost")]
    fault = emulator.fault("create", "drop", match="lost", after=True)
    async with working(broker.url, emulator):
        await drain(batch(source))
        again, _ = await drain(batch(source))
        assert (len(emulator.tasks), fault.hits) == (3, 1)
        assert isinstance(again[2].error, OutcomeUnknownError)
        more, _ = await drain(batch(source, retry_failed=True, resubmit_unknown=True))

    counts = prompts_ordered(emulator)
    assert sorted(counts.values()) == [1, 2, 2]
    assert more[2].error is None
    assert more[0].result == again[0].result


async def test_what_is_in_the_queue_is_counted_once(batch, broker, emulator):
    """Ordering the unknown anew reserves nothing for rows that wait there."""
    async with (
        OrderQueue(broker.url, base_url=emulator.base_url) as first,
        batch(tasks(3), queue=first) as outcomes,
    ):
        await until(lambda: first.stats().waiting == 3)
        once = outcomes.reserved
        first.close()
        with pytest.raises(SessionClosedError):
            await read_all(outcomes)
    async with working(broker.url, emulator):
        made = batch(tasks(3), resubmit_unknown=True, max_cost=once)
        found, raised = await drain(made)

    assert raised is None
    assert all(outcome.error is None for outcome in found.values())
    assert set(prompts_ordered(emulator).values()) == {1}
    assert made.spent == emulator.spent
    assert made.reserved == 0


async def test_workers_save_to_the_bucket(batch, broker, emulator, bucket, tmp_path):
    """Named by number and prompt; a second run finds them there."""
    prefix = f"s3://{bucket}/deck"
    async with working(broker.url, emulator):
        found, _ = await drain(batch(["a fox", "a hare"], download_to=prefix))
        again, _ = await drain(batch(["a fox", "a hare"], download_to=prefix))

    assert found[1].path.startswith(f"{prefix}/00001-a-hare.")
    assert again[1].paths == found[1].paths
    assert len(emulator.generations) == 2
    with pytest.raises(InvalidRequestError, match="s3"):
        batch(["a fox"], download_to=(tmp_path / "x").as_uri())


async def test_leaving_early_waits_for_nobody(batch, queue):
    """Without any worker a batch is left at once."""
    async with batch(tasks(3)) as outcomes:
        await until(lambda: queue.stats().waiting == 3)
        reading = asyncio.create_task(anext(outcomes))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
    assert queue.stats().waiting == 0
