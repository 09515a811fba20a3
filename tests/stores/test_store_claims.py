"""What every store promises of claims, and of words about attempts."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime, timedelta

import pytest
from support.cases import check_all_at_once
from support.orders import PICTURE, SCOPE, an_order, begin, begun

from apimodels_async import ImageResult
from apimodels_async.stores import ORDERED_ANEW, OrderState

INTENDED, ACCEPTED, COMPLETED, FAILED, REFUSED, UNKNOWN = OrderState


async def say(store, attempt, state):
    """Say that an attempt is in *state*."""
    if state is ACCEPTED:
        await store.accepted(attempt, "t1")
    elif state is not INTENDED:
        result = PICTURE if state is COMPLETED else None
        await store.ended(attempt, state, result=result, error="why")


async def test_an_order_is_kept_as_it_was_given(store):
    """All that is known of it is there again, with its time and who has it."""
    before = datetime.now(UTC)
    order = an_order(nonce="ab" * 16, prompt="é🦊\n'\"")
    claim = await store.begin(order, ())
    found = await store.find(SCOPE, "k")

    assert claim.granted
    assert claim.record.attempt == found.attempt > 0
    assert (found.idempotency_key, found.digest, found.model) == (
        "k",
        "1:abc",
        "gpt-image-2",
    )
    assert (found.prompt, found.request) == (order.prompt, order.request)
    assert (found.price, found.nonce) == (order.price, order.nonce)
    assert (found.state, found.owned, found.handed_over) == (INTENDED, True, False)
    assert abs(found.intended_at - before) < timedelta(minutes=1)
    assert found.age_s >= 0
    assert (found.ended_at, found.result, found.task_id, found.files) == (
        None,
        None,
        None,
        (),
    )
    assert (found.cost, found.may_be_charged) == (None, True)


async def test_what_is_not_known_stays_unknown(store):
    """An order without prompt and price is one, and a key of nobody finds nothing."""
    await begun(store, prompt=None, price=None)
    found = await store.find(SCOPE, "k")

    assert (found.prompt, found.price) == (None, None)
    assert await store.find(SCOPE, "other") is None
    assert await store.find("elsewhere", "k") is None


async def test_one_of_many_gets_a_claim(store):
    """Of fifty at once one may send, and the others are told of its attempt."""
    claims = await asyncio.gather(*(begin(store, owner=f"o{n}") for n in range(50)))

    assert sum(claim.granted for claim in claims) == 1
    assert len({claim.record.attempt for claim in claims}) == 1


async def test_many_at_once_get_what_is_theirs(store):
    """Claims, tasks and results asked for in one moment are each their own order's."""
    bought = await begun(store, "bought")
    await say(store, bought, COMPLETED)
    refused = await begun(store, "refused")
    await say(store, refused, REFUSED)
    keys = [f"k{n}" for n in range(30)]
    named = [*keys, "bought", "refused", *keys]
    claims = await asyncio.gather(
        *(store.begin(an_order(key, prompt=key), ORDERED_ANEW) for key in named)
    )
    granted = {c.record.prompt: c.record.attempt for c in claims if c.granted}
    await asyncio.gather(
        *(store.accepted(number, f"t{key}") for key, number in granted.items()),
        *(store.ended(granted[key], COMPLETED, result=result(key)) for key in keys[:9]),
        store.ended(granted["k29"], FAILED, error="why"),
    )
    await store.handed_over(*(granted[key] for key in keys[:20]))
    found = [await store.find(SCOPE, key) for key in keys]

    assert sorted(granted) == sorted([*keys, "refused"])
    assert len(set(granted.values())) == 31
    assert [c.record.attempt for c in claims[-30:]] == [granted[key] for key in keys]
    assert claims[30].record.attempt == bought
    assert [each.attempt for each in found] == [granted[key] for key in keys]
    assert [each.result.url for each in found[:9]] == [result(k).url for k in keys[:9]]
    assert [each.task_id for each in found[9:29]] == [f"t{key}" for key in keys[9:29]]
    assert {each.state for each in found[9:29]} == {ACCEPTED}
    assert found[29].state is FAILED
    assert [each.handed_over for each in found] == [True] * 20 + [False] * 10


def result(key):
    """Return the result of an order."""
    return ImageResult(urls=(f"https://files.example/{key}.png",), task_id=f"t{key}")


async def test_scopes_have_keys_of_their_own(store):
    """One key in two scopes is two orders."""
    one, other = await begun(store), await begun(store, scope="elsewhere")

    assert one != other
    assert (await store.find("elsewhere", "k")).attempt == other


@pytest.mark.parametrize("state", OrderState)
async def test_only_what_is_free_is_ordered_anew(store, state):
    """After a refusal or a failure a new attempt is granted; after all else, none."""
    old = await begun(store)
    await say(store, old, state)
    claim = await begin(store, digest="1:corrected")

    assert claim.granted is (state in {REFUSED, FAILED})
    assert (claim.record.attempt == old) is not claim.granted
    assert claim.record.state is (INTENDED if claim.granted else state)


# Before -> the words that change nothing any more.
KEPT = {
    ACCEPTED: {REFUSED, UNKNOWN},
    UNKNOWN: {REFUSED},
    COMPLETED: set(OrderState),
    FAILED: set(OrderState),
    REFUSED: set(OrderState),
    INTENDED: set(),
}


async def test_no_word_makes_less_of_what_may_be_paid_for(store):
    """Sent is never refused, a task is never unknown, and an end is the end."""

    async def check(state, word):
        key = f"{state} {word}"
        attempt = await begun(store, key)
        await say(store, attempt, state)
        before = await store.find(SCOPE, key)
        await say(store, attempt, word)
        after = await store.find(SCOPE, key)
        assert after.state is (state if word in KEPT[state] else word)
        if word in KEPT[state]:
            assert (after.result, after.error) == (before.result, before.error)

    words = [state for state in OrderState if state is not INTENDED]
    await check_all_at_once(itertools.product(OrderState, words), check)


async def test_a_late_word_changes_no_newer_attempt(store):
    """What is said of an old attempt is in its own record alone."""
    old = await begun(store)
    await store.ended(old, FAILED, error="first")
    new = await begun(store)
    for state in (ACCEPTED, COMPLETED, UNKNOWN, REFUSED):
        await say(store, old, state)
    await store.handed_over(old)
    await store.saved(old, ["a.png"])

    found = await store.find(SCOPE, "k")
    assert (found.attempt, found.state, found.files) == (new, INTENDED, ())
    assert not found.handed_over


async def test_words_about_nothing_are_no_error(store):
    """An attempt that was deleted meanwhile is spoken of in vain."""
    for state in (ACCEPTED, COMPLETED, REFUSED):
        await say(store, 999, state)
    await store.handed_over(999)
    await store.saved(999, ["a"])

    assert await store.find(SCOPE, "k") is None


async def test_a_result_is_kept_with_its_cost_and_files(store):
    """What completed is there whole, its task id too."""
    attempt = await begun(store)
    await store.accepted(attempt, "t7")
    await store.ended(attempt, COMPLETED, result=PICTURE)
    await store.saved(attempt, ["out/é.png", "out/b.png"])
    await store.handed_over(attempt)
    found = await store.find(SCOPE, "k")

    assert (found.result, found.task_id) == (PICTURE, "t7")
    assert str(found.cost) == "0.0250"
    assert found.files == ("out/é.png", "out/b.png")
    assert found.handed_over
    assert found.ended_at >= found.intended_at


async def test_why_an_order_ended_is_kept_with_its_place(store):
    """The words of its end, and its position in its batch, are there again."""
    attempt = await begun(store, number=7)
    await store.ended(attempt, UNKNOWN, task_id="t9", error="the line was cut")
    found = await store.find(SCOPE, "k")

    assert (found.state, found.error, found.number) == (UNKNOWN, "the line was cut", 7)
    assert found.task_id == "t9"


async def test_a_key_names_the_newest_of_attempts_that_cost_nothing(store):
    """It goes back to one that may be charged, and to no other."""
    for end in (REFUSED, FAILED, REFUSED):
        newest = await begun(store)
        await store.ended(newest, end, error="why")
        assert (await store.find(SCOPE, "k")).attempt == newest

    lost = await begun(store)
    await store.ended(lost, UNKNOWN)
    again = await store.begin(an_order(), {UNKNOWN})
    assert again.granted
    await store.ended(again.record.attempt, REFUSED)
    assert (await store.find(SCOPE, "k")).attempt == lost


async def test_a_task_leads_to_its_newest_attempt(store):
    """Within its scope; one that no order was given leads to none."""
    attempts = [await begun(store, key) for key in ("first", "second", "third")]
    for attempt, task_id in zip(attempts, ("t1", "t1", "t2"), strict=True):
        await store.accepted(attempt, task_id)

    assert (await store.find_task(SCOPE, "t1")).attempt == attempts[1]
    assert await store.find_task("another", "t1") is None
    assert await store.find_task(SCOPE, "t3") is None


async def test_a_forgotten_key_is_free(store):
    """It names nothing, its attempt is no other's, and late words about it are kept."""
    old = await begun(store)
    assert await store.forget(SCOPE, "k")
    assert not await store.forget(SCOPE, "k")
    assert await store.find(SCOPE, "k") is None
    new = await begun(store)
    await store.accepted(old, "t1")

    assert (await store.find(SCOPE, "k")).attempt == new
    assert not await store.forget("elsewhere", "k")


async def test_an_owner_lives_until_it_is_released(store):
    """Whose lease was given back counts as gone, until it is heard of again."""
    await begun(store)
    await store.release("us")
    assert not (await store.find(SCOPE, "k")).owned
    await store.renew("us")
    assert (await store.find(SCOPE, "k")).owned
    await store.release("us")
    await begin(store)
    assert (await store.find(SCOPE, "k")).owned


async def test_what_a_living_owner_is_sending_is_not_ordered_anew(store):
    """Not even by who orders again what was lost; once the owner is gone, it is."""
    first = await begun(store)
    lost = {INTENDED, UNKNOWN}
    refused = await store.begin(an_order(owner="them"), lost)
    await store.release("us")
    granted = await store.begin(an_order(owner="them"), lost)

    assert (refused.granted, refused.record.attempt) == (False, first)
    assert refused.record.owned
    assert granted.granted
    assert granted.record.attempt != first
