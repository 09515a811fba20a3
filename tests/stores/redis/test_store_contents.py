"""What a store on a server keeps of an order, and what becomes of a damaged one."""

from __future__ import annotations

import base64
import logging
from datetime import timedelta

import pytest
from support.orders import SCOPE, an_order, begun

from apimodels_async import ImageResult, JournalError
from apimodels_async.stores import ORDERED_ANEW, HistoryQuery, OrderState, RedisStore

CONTENT = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
INLINE = "data:image/png;base64," + base64.b64encode(CONTENT).decode()
RESULT = ImageResult(urls=(INLINE,), model="gpt-image-2")
ALL = {"before": None, "limit": 9}


@pytest.fixture
async def store(server):
    """Return an open store on it."""
    store = RedisStore(server.url, name="mine")
    await store.open()
    yield store
    await store.aclose()


def kept(server, kind):
    """Return the names of the keys of a kind."""
    with server.client() as client:
        return client.keys(f"*:{kind}:*")


async def complete(store, key):
    """Order with a picture in the request, and get one."""
    order = an_order(key, request=f'{{"image":"{INLINE}"}}')
    claim = await store.begin(order, ORDERED_ANEW)
    attempt = claim.record.attempt
    await store.ended(attempt, OrderState.COMPLETED, result=RESULT)
    return attempt


async def test_a_picture_comes_back_as_it_was_and_is_kept_once(store, server):
    """In request and result of two orders; a list of orders only names it."""
    await complete(store, "k")
    await complete(store, "l")
    record = await store.find(SCOPE, "k")
    listed = await store.history(SCOPE, HistoryQuery(), **ALL)

    assert record.result.urls == (INLINE,)
    assert INLINE in record.request
    assert all(each.result.url.startswith("data:image/png;sha256,") for each in listed)
    assert len(kept(server, "picture")) == 1


async def test_a_picture_goes_with_the_last_order_that_names_it(store, server):
    """Pruned with them, and not before."""
    await complete(store, "k")
    assert await store.prune(timedelta(hours=1)) == 0
    assert len(kept(server, "picture")) == 1
    assert await store.prune(timedelta(0)) == 1

    assert kept(server, "picture") == []


async def test_a_picture_that_nobody_names_waits_a_day_from_its_last_try(store, server):
    """One that an order names stays, also where the next order with it is refused."""
    claim = an_order("k", request=f'{{"image":"{INLINE}"}}')
    refused = an_order("k", request=f'{{"image":"{INLINE.replace("AAEC", "AQEC")}"}}')
    with server.client() as client:
        assert (await store.begin(claim, ORDERED_ANEW)).granted
        (named,) = client.keys("*:picture:*")
        for _ in range(2):
            assert not (await store.begin(claim, ORDERED_ANEW)).granted
            assert not (await store.begin(refused, ORDERED_ANEW)).granted
            (other,) = {*client.keys("*:picture:*")} - {named}
            assert client.ttl(named) == -1
            assert 86_300 < client.ttl(other) <= 86_400
            client.expire(other, 100)


async def test_a_damaged_order_hides_no_other(store, server, caplog):
    """It is an error for its own key, left out of lists and recoveries, and logged."""
    caplog.set_level(logging.ERROR)
    damaged, whole = await begun(store, "damaged"), await begun(store, "whole")
    with server.client() as client:
        (key,) = client.keys(f"*:order:{damaged}")
        client.hset(key, "state", "nonsense")
    await store.release("us")

    with pytest.raises(JournalError, match="damaged"):
        await store.find(SCOPE, "damaged")
    listed = await store.history(SCOPE, HistoryQuery(), **ALL)
    recovered = await store.recover(SCOPE, "heir")

    assert [each.attempt for each in listed] == [whole]
    assert recovered.attempt == whole
    assert await store.recover(SCOPE, "heir") is None
    assert store.damaged == {damaged}
    assert caplog.text.count("is damaged and left out") == 1
