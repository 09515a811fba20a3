"""What a session tells of its store: recovering, the history, finding, uploads."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import attrs
import pytest
from support.fakes import FakeClock
from support.orders import an_order, memory_store
from support.shops import BASE_URL, Shop
from support.virtual_time import virtual_time

from apimodels_async import (
    GenerationFailedError,
    ImageRequest,
    InvalidRequestError,
    OutcomeUnknownError,
    SparkPixEdit,
    SparkPixImage,
)
from apimodels_async._api.requests import encode
from apimodels_async.stores import MemoryStore, OrderState
from apimodels_async.stores.sent_order import SentOrder

MOOSE = {"model": "gpt-image-2"}


anyio_backend = virtual_time
store = memory_store


async def recovered(session):
    """Recover everything."""
    return [order async for order in session.recover()]


async def leave(shop, store, key="k"):
    """Submit an order and close the session over it."""
    async with shop.open(store) as session:
        await session.images.submit("a moose", **MOOSE, idempotency_key=key)


# --- recovering -------------------------------------------------------------------


async def test_a_task_that_was_left_is_recovered_until_it_is_acked(store):
    """Its result is free, for each next session, until one says it has it."""
    shop = Shop("task")
    await leave(shop, store)
    for last in (False, True):
        async with shop.open(store) as session:
            (order,) = await recovered(session)
            assert await recovered(session) == []
            assert (order.idempotency_key, order.task_id) == ("k", "t1")
            assert (order.prompt, order.model) == ("a moose", "gpt-image-2")
            assert order.request == ImageRequest("gpt-image-2", "a moose")
            assert (await order.result()).task_id == "t1"
            assert (await order.result()).task_id == "t1"
            if last:
                await order.ack()
                await order.ack()
    async with shop.open(store) as session:
        assert await recovered(session) == []
        assert (await session.find("k")).state is OrderState.COMPLETED

    assert len(shop.sent) == 1
    assert repr(order) == "<RecoveredOrder k completed t1>"


async def test_what_a_handle_brings_at_once_is_handed_over(store):
    """What was made when its order is submitted again is recovered no more."""
    shop = Shop("task")
    await leave(shop, store)
    async with shop.open(store) as session:  # it completes, and nobody says so
        (order,) = await recovered(session)
        await order.result()
    async with shop.open(store) as session:
        handle = await session.images.submit("a moose", **MOOSE, idempotency_key="k")
        assert handle.done
        assert (await handle).task_id == "t1"
    async with shop.open(store) as session:
        assert await recovered(session) == []

    assert len(shop.sent) == 1


async def test_each_kind_of_what_is_left_says_what_became_of_it(store):
    """A failure is told and not recovered again; what is lost stays lost."""
    shop = Shop("fail", "cut")
    await leave(shop, store, "fails")
    async with shop.open(store) as session:
        with pytest.raises(OutcomeUnknownError):
            await session.images.submit("a fox", **MOOSE, idempotency_key="lost")
    async with shop.open(store) as session:
        fails, lost = await recovered(session)
        assert (fails.state, lost.state) == (OrderState.ACCEPTED, OrderState.UNKNOWN)
        with pytest.raises(GenerationFailedError):
            await fails.result()
        with pytest.raises(OutcomeUnknownError):
            await lost.result()
    async with shop.open(store) as session:
        (again,) = await recovered(session)

    assert again.idempotency_key == "lost"
    assert repr(again) == "<RecoveredOrder lost unknown ->"
    assert len(shop.sent) == 2


async def test_sessions_share_what_was_left(store):
    """Each order is one session's alone; a living session's are nobody else's."""
    shop = Shop(rest="slow task")
    for number in range(10):
        await leave(shop, store, f"k{number}")
    async with shop.open(store) as one, shop.open(store) as other:
        await one.images.submit("mine", **MOOSE)
        shares = await asyncio.gather(recovered(one), recovered(other))

    assert len({each.idempotency_key for share in shares for each in share}) == 10
    assert sum(map(len, shares)) == 10


async def test_what_a_cancelled_caller_recovered_is_the_next_one_s():
    """It was given to this session, so this session tells of it."""

    class Slow(MemoryStore):
        async def recover(self, scope, owner):
            found = await super().recover(scope, owner)
            await asyncio.sleep(1)
            return found

    shop, store = Shop(rest="slow task"), Slow(clock=FakeClock().utcnow)
    await leave(shop, store, "k1")
    await leave(shop, store, "k2")
    async with shop.open(store) as session:
        for _ in range(2):
            caller = asyncio.create_task(recovered(session))
            await asyncio.sleep(0.5)
            caller.cancel()
            await asyncio.wait([caller])
        found = await recovered(session)
        caller = asyncio.create_task(recovered(session))
        await asyncio.sleep(0.5)
        caller.cancel()
        await asyncio.wait([caller])
        assert await recovered(session) == []

    assert sorted(each.idempotency_key for each in found) == ["k1", "k2"]


async def test_a_request_of_another_release_is_no_reason_to_lose_its_result(store):
    """Its result is there, though this release would not send it."""
    shop = Shop("task")
    await leave(shop, store)
    for request in ("{", "[]", "[" * 100_000, json.dumps({"prompt": 7})):
        (attempt,) = store._attempts.values()
        attempt.record = attrs.evolve(attempt.record, request=request)
        async with shop.open(store) as session:
            (order,) = await recovered(session)
            with pytest.raises(InvalidRequestError):
                _ = order.request
            assert (await order.result()).task_id == "t1"


REQUESTS = [
    SparkPixImage(prompt="a moose"),
    SparkPixImage(
        prompt="a moose", width=512, height=512, seed=7, prompt_upsampling=True
    ),
    SparkPixImage(
        prompt="a moose", aspect_ratio="16:9", callback_url="https://a.example/b"
    ),
    SparkPixEdit(prompt="at dusk", images=["https://a.example/b.png"], turbo=True),
    ImageRequest("gpt-image-2", "a moose", {"resolution": "2K"}),
    ImageRequest("gpt-image-2", "a moose", {"callback_url": "https://a.example/b"}),
    ImageRequest("nano-banana", "é", {}, {"brand": [1, {"new": None}]}),
]


@pytest.mark.parametrize("request_", REQUESTS)
async def test_a_recovered_request_is_the_one_that_was_sent(store, request_):
    """It encodes to the same body, its callback address left out."""
    async with Shop("hang").open(store) as session:
        orders = session._runtime.open().orders
        log = await SentOrder.record(orders, request_, "k")
        await log.begin(None)
    async with Shop().open(store) as session:
        (order,) = await recovered(session)

    sent = json.loads(encode(request_).body)
    for name in ("callBackUrl", "callback_url"):
        sent.pop(name, None)
    assert type(order.request) is type(request_)
    assert json.loads(encode(order.request).body) == sent


# --- the history ------------------------------------------------------------------


async def test_the_history_is_read_page_by_page(store):
    """Every attempt there is, newest first, and only those that are asked for."""
    for number in range(250):
        new = an_order(f"k{number}", scope=BASE_URL, model=f"m{number % 2}")
        await store.begin(new, ())
    async with Shop().open(store) as session:
        keys = [each.idempotency_key async for each in session.history()]
        odd = [each async for each in session.history(model="m1", state="intended")]
        now = FakeClock().utcnow()
        late = now + timedelta(hours=1)
        none = [each async for each in session.history(since=late, text="moose")]

    assert keys == [f"k{number}" for number in reversed(range(250))]
    assert len(odd) == 125
    assert none == []


async def test_a_question_that_makes_no_sense_is_refused(store):
    """An unknown state, a time without its zone, and what is no text."""
    async with Shop().open(store) as session:
        for asked in (
            {"state": "done"},
            {"state": 7},
            {"since": datetime(2026, 1, 1)},  # noqa: DTZ001  that is what is refused
            {"since": "yesterday"},
            {"text": 7},
            {"text": b"moose"},
            {"model": ["gpt-image-2"]},
        ):
            with pytest.raises(InvalidRequestError):
                _ = [each async for each in session.history(**asked)]
        since = datetime(2020, 1, 1, tzinfo=UTC)
        assert [each async for each in session.history(since=since)] == []


# --- uploads ----------------------------------------------------------------------


async def test_an_upload_counts_by_its_content(store):
    """The same file hosted again is the same request; another file is another one."""
    png = b"\x89PNG\r\n\x1a\n" + bytes(100)
    shop = Shop()

    async def order(session, data):
        address = f"https://f.example/{len(addresses)}"
        addresses.append(address)
        await session._runtime.open().orders.uploaded(address, data)
        return await session.images.generate(
            "a moose", **MOOSE, image_urls=[address], idempotency_key="k"
        )

    addresses = []
    async with shop.open(store) as session:
        first = await order(session, png)
        assert await order(session, png) == first
        with pytest.raises(InvalidRequestError, match="another request"):
            await order(session, png + b"\0")

    assert len(shop.sent) == 1


async def test_an_upload_is_known_to_later_sessions(store):
    """Its address is the same request in another process, and the file hosted again."""
    png = b"\x89PNG\r\n\x1a\n" + bytes(100)
    shop = Shop()

    async def order(session, address):
        return await session.images.generate(
            "a moose", **MOOSE, image_urls=[address], idempotency_key="k"
        )

    async with shop.open(store) as session:
        await session._runtime.open().orders.uploaded("https://f.example/0", png)
        first = await order(session, "https://f.example/0")
    async with shop.open(store) as session:
        assert await order(session, "https://f.example/0") == first
        await session._runtime.open().orders.uploaded("https://f.example/1", png)
        assert await order(session, "https://f.example/1") == first
        with pytest.raises(InvalidRequestError, match="another request"):
            await order(session, "https://f.example/2")

    assert len(shop.sent) == 1
