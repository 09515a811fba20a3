"""Batches in a session's store: remembered, and bought once within their name."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from support.batches import TASK, drain, prompts_ordered, tasks
from support.waiting import until

from apimodels_async import (
    BudgetExceededError,
    ConfigurationError,
    GenerationFailedError,
    ImageRequest,
    InvalidRequestError,
    JournalError,
    OutcomeUnknownError,
)
from apimodels_async.stores import MemoryStore, OrderState, SqliteStore
from apimodels_async.stores.sent_order import SentOrder


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    """Return an empty store of each kind."""
    return (
        MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "o.db")
    )


async def only(batch):
    """Return the outcome of a batch of one item."""
    ((_, outcome),) = (await drain(batch))[0].items()
    return outcome


async def history(session, **query):
    """Return the store's records, oldest first."""
    return [record async for record in session.history(**query)][::-1]


async def test_the_same_batch_again_buys_nothing(emulator, connect, store):
    """Within its name every item is bought once, and equal items count."""
    items = ["moose", "moose", *tasks(3, "hare")]
    first, _ = await drain(connect(emulator, store=store).images.batch(items, name="b"))
    again = connect(emulator, store=store).images.batch(items[::-1], name="b")
    second, _ = await drain(again)

    urls = {outcome.result.url for outcome in first.values()}
    assert {outcome.result.url for outcome in second.values()} == urls
    assert len(urls) == 5
    assert sum(prompts_ordered(emulator).values()) == 5
    assert again.spent == emulator.spent


async def test_a_budget_counts_its_own_batch_alone(emulator, connect, store):
    """A batch with a longer name, and keys that begin like it, are other money."""
    session = connect(emulator, store=store)
    await drain(session.images.batch(["moose"], name="b/2026"))
    await session.images.generate("a moose", idempotency_key="b/msg7")
    batch = session.images.batch(["hare", "fox"], name="b", max_cost=Decimal("0.02"))
    assert len((await drain(batch))[0]) == 2

    assert batch.spent == Decimal("0.02")


async def test_how_an_item_is_written_down_does_not_matter(emulator, connect, store):
    """Order of keys and spelling of numbers make no other item."""
    session = connect(emulator, store=store)
    one = {"model": TASK, "prompt": "moose", "seed": 7}
    other = {"seed": 7.0, "prompt": "moose", "model": TASK}
    await drain(session.images.batch([one], name="b"))
    await drain(session.images.batch([other], name="b"))
    outcome = await only(session.images.batch([one], name="c"))
    assert outcome.error is None

    assert prompts_ordered(emulator) == {"moose": 2}


async def test_without_a_name_each_order_is_one_of_its_own(emulator, connect, store):
    """They are remembered all the same, with what they cost and where they are."""
    session = connect(emulator, store=store)
    await drain(session.images.batch(["moose"]))
    await drain(session.images.batch(["moose"]))

    records = await history(session)
    assert prompts_ordered(emulator) == {"moose": 2}
    assert [record.state for record in records] == [OrderState.COMPLETED] * 2
    assert sum(record.cost for record in records) == emulator.spent


async def test_where_pictures_are_is_remembered(emulator, connect, store, tmp_path):
    """The history has the files of each item."""
    session = connect(emulator, store=store)
    batch = session.images.batch(tasks(2), download_to=tmp_path / "pictures")
    outcomes, _ = await drain(batch)

    files = {file for record in await history(session) for file in record.files}
    assert files == {str(outcome.path) for outcome in outcomes.values()}


async def test_a_failed_item_is_ordered_again_on_request(emulator, connect, store):
    """Else its failure is told again, for nothing."""
    session = connect(emulator, store=store)
    items = [ImageRequest(TASK, "[fail] moose")]
    for retry, ordered in ((False, 1), (False, 1), (True, 2)):
        batch = session.images.batch(items, name="b", retry_failed=retry)
        outcome = await only(batch)
        assert isinstance(outcome.error, GenerationFailedError)
        assert len(emulator.tasks) == ordered


async def test_what_is_unknown_is_ordered_again_on_request_alone(
    emulator, connect, store
):
    """What an earlier session left in flight may be paid for."""
    items = [ImageRequest(TASK, "moose")]
    session = connect(emulator, store=store)
    orders = session._runtime.open().orders
    order = await SentOrder.record(orders, items[0], lambda digest: f"b/{digest}-1")
    await order.begin(None)
    await session.aclose()

    session = connect(emulator, store=store)
    outcome = await only(session.images.batch(items, name="b"))
    assert isinstance(outcome.error, OutcomeUnknownError)
    assert not emulator.tasks
    batch = session.images.batch(items, name="b", resubmit_unknown=True)
    outcome = await only(batch)
    assert outcome.result is not None
    assert len(emulator.tasks) == 1


async def test_an_order_in_spite_of_an_unknown_one_that_fails_changes_nothing(
    emulator, connect, store
):
    """The first may be paid for still: without being told to nobody orders again."""
    items = [ImageRequest(TASK, "[fail] moose")]
    session = connect(emulator, store=store)
    orders = session._runtime.open().orders
    order = await SentOrder.record(orders, items[0], lambda digest: f"b/{digest}-1")
    await order.begin(None)
    await session.aclose()

    for resubmit, kind in (
        (False, OutcomeUnknownError),
        (True, GenerationFailedError),
        (False, OutcomeUnknownError),
    ):
        session = connect(emulator, store=store)
        batch = session.images.batch(items, name="b", resubmit_unknown=resubmit)
        assert isinstance((await only(batch)).error, kind)
        await session.aclose()
    assert len(emulator.tasks) == 1


async def test_the_limit_is_for_all_runs(emulator, connect, store):
    """What an earlier run of the name bought counts as spent."""
    for _ in range(2):
        session = connect(emulator, store=store)
        limited = session.images.batch(tasks(5), name="b", max_cost=Decimal("0.10"))
        _, error = await drain(limited)
        assert isinstance(error, BudgetExceededError)
    assert emulator.spent <= Decimal("0.10")


async def test_what_nobody_read_is_recovered(emulator, connect, store):
    """An outcome counts as handed over once a reader has it, and not before."""
    session = connect(emulator, store=store)
    async with session.images.batch(tasks(3), name="b") as outcomes:
        outcome = await anext(outcomes)
        await until(lambda: len(outcomes.unread) == 2)
    await session.aclose()

    session = connect(emulator, store=store)
    found = [order async for order in session.recover()]
    results = await asyncio.gather(*(order.result() for order in found))
    assert len(found) == 2
    assert outcome.result.task_id not in {result.task_id for result in results}


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 201, 7])
async def test_a_name_is_short_text(emulator, connect, store, name):
    """Anything else is refused before anything is sent."""
    session = connect(emulator, store=store)
    with pytest.raises(InvalidRequestError, match="name"):
        session.images.batch(["moose"], name=name)


async def test_a_name_needs_a_store_and_no_journal(emulator, connect, store, tmp_path):
    """A batch is kept in one place."""
    with pytest.raises(ConfigurationError, match="needs a store"):
        connect(emulator).images.batch(["moose"], name="b")
    session = connect(emulator, store=store)
    with pytest.raises(InvalidRequestError, match="not both"):
        session.images.batch(["moose"], name="b", journal=tmp_path / "j.sqlite")


async def test_an_item_that_another_session_is_sending_is_waited_for(
    emulator, connect, store
):
    """Two batches of one name at once buy each item once."""
    emulator.fault("create", "slow", seconds=0.3, times=None)
    batches = [
        connect(emulator, store=store).images.batch(tasks(3), name="b")
        for _ in range(2)
    ]
    (first, _), (second, _) = await asyncio.gather(*map(drain, batches))

    assert {each.result.url for each in first.values()} == {
        each.result.url for each in second.values()
    }
    assert sum(prompts_ordered(emulator).values()) == 3


async def test_a_store_whose_money_cannot_be_read_stops_a_batch(emulator, connect):
    """A limit that is for all runs needs all their sums."""

    class Broken(MemoryStore):
        async def money(self, scope, prefix):
            msg = "the disk is gone"
            raise JournalError(msg)

    session = connect(emulator, store=Broken())
    with pytest.raises(JournalError, match="gone"):
        await session.images.batch(["moose"], name="b").__aenter__()
    assert emulator.requests == []
