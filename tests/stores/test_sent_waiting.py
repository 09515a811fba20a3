"""What those are told who wait for an order that another caller is sending."""

from __future__ import annotations

import asyncio

import pytest
from support.batches import drain, tasks
from support.fakes import FakeClock
from support.shops import Shop
from support.virtual_time import virtual_time

from apimodels_async import JournalError, OutcomeUnknownError, SessionClosedError
from apimodels_async.stores import MemoryStore

MOOSE = {"model": "gpt-image-2", "idempotency_key": "k"}


anyio_backend = virtual_time


class FlakyStore(MemoryStore):
    """A store whose claims can be made to fail."""

    def __init__(self):
        super().__init__(clock=FakeClock().utcnow)
        self.fails_after_its_work = self.fails = False

    async def begin(self, order, anew):
        """Claim, or not; and say so, or not."""
        if self.fails:
            msg = "the disk is gone"
            raise JournalError(msg)
        claim = await super().begin(order, anew)
        if self.fails_after_its_work:
            msg = "the disk is slow"
            raise JournalError(msg)
        return claim


async def test_closed_while_another_sends_it_nobody_says_that_it_is_free():
    """Who only waited cannot know whether the other one was charged."""
    store, shop = FlakyStore(), Shop("task")
    async with shop.open(store) as one:
        first = asyncio.create_task(one.images.generate("a moose", **MOOSE))
        await asyncio.sleep(0.1)
        other = shop.open(store)
        second = asyncio.create_task(other.images.generate("a moose", **MOOSE))
        await asyncio.sleep(0.2)
        await other.aclose()
        with pytest.raises(SessionClosedError, match="another caller") as caught:
            await second
        assert (await first).task_id

    assert caught.value.charged is None


async def test_a_store_that_fails_while_another_sends_it_is_no_word_about_money():
    """The order under the key may be charged, whatever this caller could look at."""
    store, shop = FlakyStore(), Shop("task")
    async with shop.open(store) as one, shop.open(store) as other:
        first = asyncio.create_task(one.images.generate("a moose", **MOOSE))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(other.images.generate("a moose", **MOOSE))
        await asyncio.sleep(0.1)
        store.fails = True
        with pytest.raises(JournalError) as caught:
            await second
        store.fails = False
        assert (await first).task_id

    assert caught.value.charged is None


async def test_a_claim_whose_answer_was_lost_keeps_nobody_waiting_for_ever():
    """The session that made it lives on; after five minutes its key counts as lost."""
    store, shop = FlakyStore(), Shop()
    async with shop.open(store) as session:
        store.fails_after_its_work = True
        with pytest.raises(JournalError) as caught:
            await session.images.generate("a moose", **MOOSE)
        assert caught.value.charged is False
        store.fails_after_its_work = False
        began = asyncio.get_running_loop().time()
        with pytest.raises(OutcomeUnknownError):
            await session.images.generate("a moose", **MOOSE)
        waited = asyncio.get_running_loop().time() - began

    assert 300 <= waited < 310
    assert shop.sent == []


async def test_an_item_of_a_batch_that_another_session_is_sending_is_waited_for():
    """Whoever begins the same batch meanwhile gets that picture, and buys none."""
    store, shop = MemoryStore(clock=FakeClock().utcnow), Shop("task")
    async with shop.open(store) as one, shop.open(store) as other:
        first = asyncio.create_task(drain(one.images.batch(tasks(1), name="b")))
        await asyncio.sleep(0.3)  # it is sent after half a second
        (mine, _), (theirs, _) = await asyncio.gather(
            drain(other.images.batch(tasks(1), name="b")), first
        )

    assert mine[0].result == theirs[0].result
    assert len(shop.sent) == 1
