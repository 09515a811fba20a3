"""Orders that are handed over by hand, and those that are followed by their key."""

from __future__ import annotations

import asyncio

import pytest
from support.orders import an_order, memory_store
from support.shops import BASE_URL, Shop
from support.virtual_time import virtual_time

from apimodels_async import (
    BadRequestError,
    ConfigurationError,
    GenerationFailedError,
    InvalidRequestError,
    OutcomeUnknownError,
)
from apimodels_async.stores import OrderState, find_order, forget_order

MOOSE = {"model": "gpt-image-2", "idempotency_key": "k"}


anyio_backend = virtual_time
store = memory_store


async def generate(session, **more):
    """Order a moose and wait for it."""
    return await session.images.generate("a moose", **MOOSE, **more)


async def submit(session, **more):
    """Order a moose, and wait for its handle."""
    return await (await session.images.submit("a moose", **MOOSE, **more))


async def follow(session, **more):
    """Order a moose, and wait for it by its key."""
    await session.images.submit("a moose", **MOOSE, manual_ack=True)
    return await (await session.images.follow("k", **more))


async def recovered(store, shop):
    """Return the keys of what the next session finds."""
    async with shop.open(store) as session:
        return [order.idempotency_key async for order in session.recover()]


@pytest.mark.parametrize("fate", ["task", "picture"])
@pytest.mark.parametrize("order", [generate, submit, follow])
async def test_by_hand_it_is_recovered_until_it_is_acked(store, order, fate):
    """A result that was returned is still to be recovered; acked, it is not."""
    shop = Shop(fate)
    async with shop.open(store) as session:
        result = await order(session, manual_ack=True)
    assert await recovered(store, shop) == ["k"]
    async with shop.open(store) as session:
        assert await order(session, manual_ack=True) == result
        assert await session.ack("k")
        assert await session.ack("k")
        assert not await session.ack("nothing")
    assert await recovered(store, shop) == []
    assert len(shop.sent) == 1


@pytest.mark.parametrize("order", [generate, submit])
async def test_else_it_is_handed_over_with_its_result(store, order):
    """Without a word about it, returning the result is the hand-over."""
    shop = Shop()
    async with shop.open(store) as session:
        await order(session)
    assert await recovered(store, shop) == []


async def test_a_followed_order_is_handed_over_with_its_result(store):
    """Another session that follows it takes it over, unless it wants to ack."""
    shop = Shop()
    async with shop.open(store) as session:
        await session.images.submit("a moose", **MOOSE)
    async with shop.open(store) as session:
        handle = await session.images.follow("k")
        assert (await handle).task_id == handle.task_id == "t1"
    assert await recovered(store, shop) == []


async def test_what_another_session_is_sending_is_followed_to_its_task(store):
    """It is waited for, as by the same order again."""
    shop = Shop()
    async with shop.open(store) as one, shop.open(store) as other:
        ordering = asyncio.create_task(generate(one))
        await asyncio.sleep(0.3)  # it is sent after half a second
        assert (await other.find("k")).state is OrderState.INTENDED
        assert await (await other.images.follow("k")) == await ordering


async def test_who_seems_to_send_for_ever_has_lost_it(store):
    """After five minutes nobody is waited for any more."""
    await store.begin(an_order("k", scope=BASE_URL, owner="alive"), ())

    async def live():
        while True:
            await store.renew("alive")
            await asyncio.sleep(10)

    living = asyncio.create_task(live())
    async with Shop().open(store) as session:
        with pytest.raises(OutcomeUnknownError):
            await session.images.follow("k")
    living.cancel()


async def test_what_cost_nothing_is_an_error_to_follow(store):
    """A refused order, a failed one, and none at all; nothing is ever ordered."""
    shop = Shop("refuse", "fail")
    async with shop.open(store) as session:
        for key in ("refused", "failed"):
            with pytest.raises((BadRequestError, GenerationFailedError)):
                await session.images.generate(
                    "a moose", model="gpt-image-2", idempotency_key=key
                )
            with pytest.raises(GenerationFailedError) as caught:
                await session.images.follow(key)
            assert caught.value.idempotency_key == key
            assert caught.value.task_id == (None if key == "refused" else "t2")
            assert caught.value.charged is False
        with pytest.raises(InvalidRequestError, match="no order under") as unknown:
            await session.images.follow("nothing")
        assert unknown.value.parameter == "idempotency_key"

    assert len(shop.sent) == 2


async def test_what_is_missing_is_said_before_anything_is_sent(store):
    """Acking needs the key that was given, and both need a store."""
    shop = Shop()
    async with shop.open(store) as session:
        with pytest.raises(InvalidRequestError, match="manual_ack needs"):
            await session.images.generate("a moose", manual_ack=True)
    async with shop.open(None) as session:
        for call in (
            session.images.generate("a moose", idempotency_key="k", manual_ack=True),
            session.images.follow("k"),
            session.ack("k"),
        ):
            with pytest.raises(ConfigurationError, match="store"):
                await call
    assert shop.sent == []


async def test_a_store_is_asked_and_told_without_a_session(store):
    """An order is found and forgotten at its own address alone."""
    async with Shop().open(store) as session:
        await generate(session)

    assert (await find_order(store, "k", base_url=BASE_URL)).task_id == "t1"
    assert await find_order(store, "k") is None
    assert not await forget_order(store, "k")
    assert await forget_order(store, "k", base_url=BASE_URL)
    assert await find_order(store, "k", base_url=BASE_URL) is None
