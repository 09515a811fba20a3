"""What every store promises of recovering, listing and pruning."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from support.orders import PICTURE, SCOPE, an_order, begun

from apimodels_async import InvalidRequestError
from apimodels_async._core.money.orders import HOSTED
from apimodels_async.stores import HistoryQuery, OrderState

ALL = HistoryQuery()
PRICE = an_order().price


async def listed(store, query=ALL, *, before=None, limit=100):
    """Return the keys that the history has."""
    found = await store.history(SCOPE, query, before=before, limit=limit)
    return [record.idempotency_key for record in found]


async def recovered(store, owner="heir"):
    """Recover everything there is; return the keys."""
    keys = []
    while (record := await store.recover(SCOPE, owner)) is not None:
        assert record.owned
        keys.append(record.idempotency_key)
    return keys


async def fill(store, owner="us"):
    """Leave an order in every state, named after it."""
    for state in OrderState:
        attempt = await begun(store, state.value, owner=owner)
        if state is OrderState.ACCEPTED:
            await store.accepted(attempt, "t1")
        elif state is not OrderState.INTENDED:
            result = PICTURE if state is OrderState.COMPLETED else None
            await store.ended(attempt, state, result=result)


# --- recovering -------------------------------------------------------------------


async def test_what_may_be_paid_for_is_recovered_oldest_first(store):
    """Of the dead everything that nobody was handed, but for what cost nothing."""
    await fill(store)
    assert await recovered(store) == []
    await store.release("us")

    assert await recovered(store) == ["intended", "accepted", "completed", "unknown"]
    assert await recovered(store) == []


async def test_what_was_handed_over_is_not_recovered(store):
    """Neither is what another account left."""
    attempt = await begun(store)
    await begun(store, scope="elsewhere")
    await store.ended(attempt, OrderState.COMPLETED, result=PICTURE)
    await store.handed_over(attempt)
    await store.release("us")

    assert await recovered(store) == []


async def test_the_dead_heir_s_orders_are_recovered_again(store):
    """Until it is handed over, each next owner gets it."""
    await begun(store)
    await store.release("us")

    for heir in ("first", "second"):
        assert await recovered(store, heir) == ["k"]
        await store.release(heir)


async def test_one_of_many_heirs_gets_each_order(store):
    """However many recover at once, none is given twice and none is left."""
    for number in range(20):
        await begun(store, f"k{number}")
    await store.release("us")
    heirs = (recovered(store, f"heir{number}") for number in range(5))
    shares = await asyncio.gather(*heirs)

    found = [key for share in shares for key in share]
    assert sorted(found) == sorted(f"k{number}" for number in range(20))


async def test_who_was_silent_for_a_while_keeps_the_rest(store):
    """Once its owner is heard of again, what nobody took yet is nobody else's."""
    for key in ("a", "b", "c"):
        await begun(store, key)
    await store.release("us")
    assert (await store.recover(SCOPE, "heir")).idempotency_key == "a"
    await store.renew("us")
    assert await store.recover(SCOPE, "heir") is None
    await store.release("us")

    assert await recovered(store) == ["b", "c"]


async def test_a_forgotten_order_is_recovered_all_the_same(store):
    """Its key is free, and it may be paid for."""
    await begun(store)
    await store.forget(SCOPE, "k")
    await store.release("us")

    assert await recovered(store) == ["k"]


# --- listing ----------------------------------------------------------------------


async def test_the_history_is_newest_first_and_has_every_attempt(store):
    """Old attempts under a key are listed, too, page by page."""
    for number in range(7):
        attempt = await begun(store, f"k{number % 2}", owner="us")
        await store.ended(attempt, OrderState.REFUSED)
    await begun(store, scope="elsewhere")
    first = await store.history(SCOPE, ALL, before=None, limit=4)
    rest = await store.history(SCOPE, ALL, before=first[-1].attempt, limit=4)

    keys = [record.idempotency_key for record in (*first, *rest)]
    assert keys == ["k0", "k1", "k0", "k1", "k0", "k1", "k0"]
    assert len({record.attempt for record in (*first, *rest)}) == 7


async def test_the_history_is_filtered(store):
    """By state, model, time and words of the prompt, and by all of them."""
    await begun(store, "old", prompt="A FÊTE 100%", model="m1")
    await begun(store, "none", prompt=None)
    attempt = await begun(store, "new", prompt="a moose")
    await store.accepted(attempt, "t1")
    now = datetime.now(UTC)

    assert await listed(store, HistoryQuery(model="m1")) == ["old"]
    assert await listed(store, HistoryQuery(state=OrderState.ACCEPTED)) == ["new"]
    assert await listed(store, HistoryQuery(text="fête 100%")) == ["old"]
    assert await listed(store, HistoryQuery(text="%")) == ["old"]
    assert await listed(store, HistoryQuery(text="_")) == []
    assert await listed(store, HistoryQuery(since=now - timedelta(hours=1))) == [
        *("new", "none", "old")
    ]
    assert await listed(store, HistoryQuery(since=now + timedelta(hours=1))) == []
    assert await listed(store, HistoryQuery(text="MOOSE", model="m1")) == []


async def test_a_word_is_found_behind_many_others(store):
    """A filter looks through all there is, not through one page."""
    await begun(store, "needle", prompt="a needle")
    for number in range(230):
        await begun(store, f"k{number}")

    assert await listed(store, HistoryQuery(text="needle"), limit=1) == ["needle"]
    assert len(await listed(store, limit=1000)) == 231


# --- money ------------------------------------------------------------------------


async def test_money_is_summed_by_the_beginning_of_keys(store):
    """A completed order counts by its cost, one that may be charged is reserved."""
    await fill(store)
    spent, reserved = await store.money(SCOPE, "")

    assert (spent, reserved) == (PICTURE.credits, 3 * PRICE)
    assert await store.money(SCOPE, "comp") == (spent, 0)
    assert await store.money(SCOPE, "no such") == (0, 0)


# --- pruning ----------------------------------------------------------------------


async def test_pruning_deletes_what_ended_and_nothing_else(store):
    """What is pending, or of unknown fate, stays; a deleted key is ordered anew."""
    await fill(store)
    assert await store.prune(timedelta(hours=1)) == 0
    assert await store.prune(timedelta(0)) == 3

    assert await listed(store) == ["unknown", "accepted", "intended"]
    assert await begun(store, "completed")


@pytest.mark.parametrize("age", [5, None, "90 days"])
async def test_pruning_takes_a_span_of_time(store, age):
    """What is none is refused, and nothing is deleted."""
    await fill(store)
    with pytest.raises(InvalidRequestError, match="timedelta"):
        await store.prune(age)

    assert len(await listed(store)) == 6


async def test_what_was_uploaded_is_known_until_it_is_pruned(store):
    """By address and account; what was uploaded later stays."""
    addresses = [f"https://f.example/{n}" for n in range(3)]
    await store.uploaded(SCOPE, addresses[0], "abc")
    await store.uploaded(SCOPE, addresses[1], "def")
    await store.uploaded("elsewhere", addresses[2], "ghi")

    known = {addresses[0]: "abc", addresses[1]: "def"}
    assert await store.contents(SCOPE, addresses) == known
    await store.prune(timedelta(hours=1))
    assert await store.contents(SCOPE, addresses) == known
    await store.prune(timedelta(seconds=-1))  # it can be ordered with for days
    assert await store.contents(SCOPE, addresses) == known
    await store.prune(-HOSTED - timedelta(seconds=1))
    assert await store.contents(SCOPE, addresses) == {}
