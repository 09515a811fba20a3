"""What an idempotency key means: bought once, from wherever it is ordered."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from support.fakes import EPOCH, FakeClock
from support.orders import memory_store
from support.shops import Shop
from support.virtual_time import virtual_time
from support.waiting import cancel

from apimodels_async import (
    ConfigurationError,
    ConnectionFailedError,
    GenerationFailedError,
    ImageRequest,
    InvalidRequestError,
    JournalError,
    OutcomeUnknownError,
    SessionClosedError,
    TaskTimeoutError,
)
from apimodels_async.errors import BadRequestError
from apimodels_async.stores import MemoryStore, OrderState
from apimodels_async.stores._lease import Lease
from apimodels_async.stores.sent_order import SentOrder
from apimodels_async.stores.store import scope_of

MOOSE = {"model": "gpt-image-2", "idempotency_key": "k"}


anyio_backend = virtual_time
store = memory_store


async def crash(session, store):
    """Let a session count as dead, its orders where they are."""
    await store.release(session._runtime.parts.orders.owner)


# --- again ------------------------------------------------------------------------


@pytest.mark.parametrize("fate", ["task", "picture", "sync"])
async def test_what_completed_is_handed_over_again_for_nothing(store, fate):
    """In the same session, and in the next one, also as a handle."""
    shop = Shop(fate)
    async with shop.open(store) as session:
        first = await session.images.generate("a moose", **MOOSE)
        again = await session.images.generate("a moose", **MOOSE)
    async with shop.open(store) as session:
        later = await session.images.generate("a moose", **MOOSE)
        handle = await session.images.submit("a moose", **MOOSE)
        assert session.stats().submitted == 0

    assert first == again == later == await handle
    assert handle.task_id == (first.task_id or "")
    assert len(shop.sent) == 1


async def test_a_task_is_taken_up_where_it_is(store):
    """Accepted by a session that is gone, it is the next one's to wait for."""
    shop = Shop("task")
    async with shop.open(store) as session:
        handle = await session.images.submit("a moose", **MOOSE)
    async with shop.open(store) as session:
        again = await session.images.submit("a moose", **MOOSE)
        assert again.task_id == handle.task_id
        assert (await again).task_id == "t1"
    async with shop.open(store) as session:
        record = await session.find("k")

    assert (record.state, record.handed_over) == (OrderState.COMPLETED, True)
    assert len(shop.sent) == 1


@pytest.mark.parametrize("sessions", [1, 2])
@pytest.mark.parametrize("fate", ["task", "picture", "sync"])
async def test_what_is_under_way_is_waited_for(store, sessions, fate):
    """Of many who order at once one pays, and all get the same."""
    shop = Shop(fate)
    opened = [shop.open(store) for _ in range(sessions)]
    results = await asyncio.gather(
        *(
            session.images.generate("a moose", **MOOSE)
            for session in opened
            for _ in range(5)
        )
    )
    for session in opened:
        await session.aclose()

    assert len({result.url for result in results}) == 1
    assert len(shop.sent) == 1


async def test_who_waits_orders_once_the_first_was_refused(store):
    """The next in line gets its own answer; nobody is left waiting."""
    shop = Shop("refuse", "task")
    async with shop.open(store) as one, shop.open(store) as other:
        first = asyncio.create_task(one.images.generate("a moose", **MOOSE))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(other.images.generate("a moose", **MOOSE))
        with pytest.raises(BadRequestError) as caught:
            await first
        assert (await second).task_id

    assert caught.value.idempotency_key == "k"
    assert [fate for _, fate in shop.sent] == ["refuse", "task"]


@pytest.mark.parametrize(
    ("fate", "kind"),
    [
        ("refuse", BadRequestError),
        ("fail", GenerationFailedError),
        ("unsent", ConnectionFailedError),
    ],
)
async def test_what_cost_nothing_is_ordered_anew_and_may_be_corrected(
    store, fate, kind
):
    """A refusal, a failure, and what never left free the key for another request."""
    shop = Shop(fate, "task")
    async with shop.open(store) as session:
        with pytest.raises(kind):
            await session.images.generate("a mose", **MOOSE)
        result = await session.images.generate("a moose", **MOOSE)
        states = [record.state.value async for record in session.history()]

    assert result.task_id
    assert states == ["completed", "failed" if fate == "fail" else "refused"]


async def test_what_is_lost_is_never_ordered_again(store):
    """It stays of unknown fate for everybody, until somebody risks to pay twice."""
    shop = Shop("cut", "task")
    async with shop.open(store) as session:
        with pytest.raises(OutcomeUnknownError):
            await session.images.generate("a moose", **MOOSE)
        with pytest.raises(OutcomeUnknownError, match="not sent again") as caught:
            await session.images.generate("a moose", **MOOSE)
    async with shop.open(store) as session:
        with pytest.raises(OutcomeUnknownError):
            await session.images.submit("a moose", **MOOSE)
        assert len(shop.sent) == 1
        assert await session.forget("k")
        assert not await session.forget("k")
        assert (await session.images.generate("a moose", **MOOSE)).task_id

    assert (caught.value.charged, caught.value.idempotency_key) == (None, "k")
    assert len(shop.sent) == 2


async def test_what_a_dead_session_was_sending_is_lost(store):
    """Its owner is not heard of any more: nobody knows, and nobody sends."""
    shop = Shop("hang")
    async with shop.open(store) as dead, shop.open(store) as session:
        caller = asyncio.create_task(dead.images.generate("a moose", **MOOSE))
        await asyncio.sleep(2)
        await crash(dead, store)
        with pytest.raises(OutcomeUnknownError):
            await session.images.generate("a moose", **MOOSE)
        await cancel(caller)

    assert len(shop.sent) == 1


async def test_a_key_names_one_request(store):
    """Another one under it is refused, while the first is under way and after it."""
    shop = Shop("task")
    async with shop.open(store) as session:
        first = asyncio.create_task(session.images.generate("a moose", **MOOSE))
        await asyncio.sleep(0.2)
        with pytest.raises(InvalidRequestError, match="another request"):
            await session.images.generate("a mouse", **MOOSE)
        await first
        with pytest.raises(InvalidRequestError, match="another request"):
            await session.images.submit("a moose", resolution="2K", **MOOSE)
        await session.images.generate("a moose", **MOOSE)

    assert len(shop.sent) == 1


async def test_orders_without_a_key_are_orders_of_their_own(store):
    """Each has a random one, and all are in the history."""
    shop = Shop()
    async with shop.open(store) as session:
        for _ in range(2):
            await session.images.generate("a moose", model="gpt-image-2")
        keys = {record.idempotency_key async for record in session.history()}

    assert len(keys) == len(shop.sent) == 2


async def test_a_key_needs_a_store_and_must_be_one():
    """Both are told before anything is sent, and before a store is opened."""
    shop = Shop()
    async with shop.open(None) as session:
        with pytest.raises(ConfigurationError, match="needs a store"):
            await session.images.generate("a moose", **MOOSE)
        with pytest.raises(ConfigurationError, match="no store"):
            await session.find("k")
    async with shop.open(MemoryStore()) as session:
        for key in ("", "x" * 256, "a\n", 7):
            with pytest.raises(InvalidRequestError, match="idempotency_key"):
                await session.images.generate("a moose", idempotency_key=key)
            with pytest.raises(InvalidRequestError, match="idempotency_key"):
                await session.forget(key)

    assert shop.sent == []


async def test_accounts_that_share_a_store_have_keys_of_their_own():
    """A store's scope is part of every key."""
    shop, store = Shop(), MemoryStore()
    for scope in ("one", "other"):
        store.scope = scope
        async with shop.open(store) as session:
            await session.images.generate("a moose", **MOOSE)

    assert len(shop.sent) == 2


def test_one_address_has_one_scope_however_it_is_spelled():
    """Upper case in the host and a default port change nothing; a path is kept."""
    store = MemoryStore(scope="one")
    scope = scope_of(store, "https://apimodels.app/api/V1")
    assert scope == "https://apimodels.app/api/V1 one"
    for spelled in ("HTTPS://apimodels.app", "https://APIModels.App:443"):
        assert scope_of(store, f"{spelled}/api/V1") == scope
    for other in ("http://[::1]:8080", "https://apimodels.app:80"):
        assert scope_of(store, other) == f"{other} one"


# --- cancelling -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "state"),
    [
        (0.0, OrderState.REFUSED),
        (0.2, OrderState.REFUSED),
        (0.7, OrderState.COMPLETED),
        (1.1, OrderState.COMPLETED),
    ],
)
async def test_a_cancelled_caller_leaves_the_truth(store, after, state):
    """Never sent is refused, and what was sent is followed to its end."""
    shop = Shop("task")
    async with shop.open(store) as session:
        caller = asyncio.create_task(session.images.generate("a moose", **MOOSE))
        await asyncio.sleep(after)
        await cancel(caller)
        await asyncio.sleep(10)
        record = await session.find("k")
        assert record.state is state
        result = await session.images.generate("a moose", **MOOSE)

    assert result.task_id == "t1"
    assert len(shop.sent) == 1


class SlowStore(MemoryStore):
    """A store that takes a second to write, before and after."""

    async def begin(self, order, anew):
        """Claim slowly."""
        await asyncio.sleep(1)
        claim = await super().begin(order, anew)
        await asyncio.sleep(1)
        return claim

    async def accepted(self, attempt, task_id):
        """Write slowly."""
        await asyncio.sleep(1)
        await super().accepted(attempt, task_id)


@pytest.mark.parametrize("after", [0.5, 1.5])
async def test_cancelled_while_it_claims_it_gives_the_claim_back(after):
    """Granted or not yet, the key is free again soon."""
    store, shop = SlowStore(clock=FakeClock().utcnow), Shop("task")
    async with shop.open(store) as session:
        caller = asyncio.create_task(session.images.generate("a moose", **MOOSE))
        await asyncio.sleep(after)
        await cancel(caller)
        await asyncio.sleep(3)
        assert (await session.find("k")).state is OrderState.REFUSED
        assert (await session.images.generate("a moose", **MOOSE)).task_id


async def test_closed_while_it_claims_the_claim_is_given_back():
    """Closing waits until the record is true."""
    store, shop = SlowStore(clock=FakeClock().utcnow), Shop("task")
    session = shop.open(store)
    caller = asyncio.create_task(session.images.generate("a moose", **MOOSE))
    await asyncio.sleep(1.5)
    await session.aclose()
    with pytest.raises(SessionClosedError) as caught:
        await caller
    async with shop.open(store) as later:
        assert (await later.find("k")).state is OrderState.REFUSED

    assert caught.value.charged is None
    assert shop.sent == []


async def test_a_handle_is_given_out_once_its_task_is_written_down():
    """A crash in that moment loses no task."""
    store, shop = SlowStore(clock=FakeClock().utcnow), Shop("slow task")
    async with shop.open(store) as session:
        await session.images.submit("a moose", **MOOSE)
        record = await session.find("k")

    assert (record.state, record.task_id) == (OrderState.ACCEPTED, "t1")


async def test_cancelled_while_another_orders_it_changes_nothing(store):
    """The one who orders goes on, and so does its record."""
    shop = Shop("task")
    async with shop.open(store) as one, shop.open(store) as other:
        first = asyncio.create_task(one.images.generate("a moose", **MOOSE))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(other.images.generate("a moose", **MOOSE))
        await asyncio.sleep(0.2)
        await cancel(second)
        assert (await first).task_id == "t1"
        assert (await one.find("k")).state is OrderState.COMPLETED
        assert other.orphans == ()


async def test_cut_by_closing_it_is_of_unknown_fate(store):
    """What was sent and never answered is not free."""
    shop = Shop("hang")
    session = shop.open(store)
    caller = asyncio.create_task(session.images.generate("a moose", **MOOSE))
    await asyncio.sleep(2)
    await session.aclose()
    with pytest.raises(OutcomeUnknownError):
        await caller
    async with shop.open(store) as later:
        assert (await later.find("k")).state is OrderState.UNKNOWN


class RaisingLimit:
    """A user's limit with a bug."""

    async def acquire(self):
        """Fail."""
        raise ZeroDivisionError


async def test_a_limit_that_raises_leaves_the_key_free(store):
    """Nothing was sent, so nobody waits for it."""
    shop = Shop("task")
    async with shop.open(store, limit=RaisingLimit()) as session:
        with pytest.raises(ZeroDivisionError):
            await session.images.generate("a moose", **MOOSE)
        async with shop.open(store) as other:
            assert (await other.images.generate("a moose", **MOOSE)).task_id


async def test_a_lost_order_may_have_a_task_that_is_no_others(store):
    """The store knows whose each is; one that is found late is written down."""
    async with Shop("task", "cut").open(store) as session:
        others = await session.images.submit("a hare", model="gpt-image-2")
        with pytest.raises(OutcomeUnknownError):
            await session.images.generate("a moose", **MOOSE)
        orders = session._runtime.parts.orders
        lost = SentOrder.follow(orders, await session.find("k"))

        assert not await lost.may_have(others.task_id)
        assert await lost.may_have("t9")
        assert not lost.durable
        lost.found("t9")
        assert await lost.may_have("t9")
        record = await session.find("k")
        assert lost.durable
        assert SentOrder.follow(orders, record).durable
    assert (record.state, record.task_id) == (OrderState.ACCEPTED, "t9")


ENDINGS = {
    "salvaged": (None, OutcomeUnknownError("torn", task_id="t7"), "accepted", "t7"),
    "refused": (None, BadRequestError("no such size", charged=False), "refused", None),
    "failed": ("t8", GenerationFailedError("no people"), "failed", "t8"),
    "left": ("t8", TaskTimeoutError("late"), "accepted", "t8"),
}


async def test_how_an_order_ended_is_written_down_with_its_task(store):
    """Also a task that a torn answer named; and why there is none."""
    async with Shop().open(store) as session:
        await session.find("k")  # opens it
        orders, asked = session._runtime.parts.orders, ImageRequest("m", "a moose")
        for key, (task_id, error, state, task) in ENDINGS.items():
            record = await SentOrder.record(orders, asked, key)
            assert await record.begin(None) is None
            if task_id is not None:
                await record.accepted(task_id)
            await record.ended(error)

            known = await session.find(key)
            assert (known.state, known.task_id) == (state, task)
            words = str(error) if state in {"refused", "failed"} else None
            assert known.error == words
            assert error.idempotency_key == key


# --- the lease --------------------------------------------------------------------


class ForgetfulStore(MemoryStore):
    """A store that cannot renew a lease."""

    async def renew(self, owner):
        """Fail after the claim's own renewal."""
        if self._last:
            msg = "no"
            raise JournalError(msg)
        await super().renew(owner)


class LateLimit:
    """A limit that lets orders go after a while."""

    def __init__(self, seconds):
        self.seconds = seconds

    async def acquire(self):
        """Wait."""
        await asyncio.sleep(self.seconds)
        return self

    def taken(self):
        """Take note."""

    def throttled(self, retry_after):
        """Take note."""

    def release(self):
        """Take note."""


async def test_nothing_is_sent_when_the_lease_ran_out(caplog):
    """It is an error that costs nothing, and the key is free again."""
    store = ForgetfulStore(clock=FakeClock().utcnow)
    shop = Shop("task")
    async with shop.open(store, limit=LateLimit(100)) as session:
        with pytest.raises(ConnectionFailedError) as caught:
            await session.images.generate("a moose", **MOOSE)
        record = await session.find("k")

    assert (caught.value.charged, record.state) == (False, OrderState.REFUSED)
    assert shop.sent == []
    assert "lease on orders was not renewed" in caplog.text


async def test_a_lease_lasts_as_long_as_its_session(store):
    """However long an order waits to be sent: by its own clock, and for others."""
    shop = Shop("task")
    async with shop.open(store) as other:
        async with shop.open(store, limit=LateLimit(1_000)) as session:
            ordering = asyncio.create_task(session.images.generate("a moose", **MOOSE))
            await asyncio.sleep(500)
            assert (await other.find("k")).owned
            assert (await ordering).task_id
        assert not (await other.find("k")).owned


class TwoClocks:
    """A monotonic clock, and another one that people set."""

    monotonic, wall = 1000.0, EPOCH

    def time(self):
        """Return the monotonic seconds."""
        return self.monotonic

    def utcnow(self):
        """Return what people set."""
        return self.wall


def test_a_lease_is_held_for_five_sixths_of_it_by_either_clock():
    """One clock stands still while a machine sleeps; the other one may be set back."""
    clock = TwoClocks()
    lease = Lease(clock, 60)
    assert not lease.held
    for monotonic, wall, held in ((49, 49, True), (51, -99, False), (0, 51, False)):
        lease.renewed(lease.times())
        clock.monotonic += monotonic
        clock.wall += timedelta(seconds=wall)
        assert lease.held == held
