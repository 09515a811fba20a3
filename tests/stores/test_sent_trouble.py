"""What becomes of orders whose store fails, and of a store whose session ends."""

from __future__ import annotations

import asyncio
import logging

import pytest
from support.fakes import FakeClock
from support.shops import Shop
from support.virtual_time import run_virtual, virtual_time

from apimodels_async import JournalError, SessionClosedError
from apimodels_async._core.money.orders import LEASE_S
from apimodels_async.stores import MemoryStore, OrderState

MOOSE = {"model": "gpt-image-2", "idempotency_key": "k"}
STORES = "apimodels_async.stores"


anyio_backend = virtual_time


class FailingStore(MemoryStore):
    """A store, in which what is named in *broken* raises *trouble*."""

    def __init__(self, *broken, trouble=None):
        super().__init__(clock=FakeClock().utcnow)
        self.broken = set(broken)
        self.trouble = trouble or JournalError("the disk is full")
        self.opened = 0

    def check(self, name):
        """Raise, if this is broken."""
        if name in self.broken:
            raise self.trouble

    async def open(self):
        """Count."""
        self.check("open")
        self.opened += 1

    async def aclose(self):
        """Count."""
        self.opened -= 1
        self.check("aclose")

    async def begin(self, order, anew):
        """Claim, or not."""
        self.check("begin")
        return await super().begin(order, anew)

    async def accepted(self, attempt, task_id):
        """Write, or not."""
        self.check("accepted")
        await super().accepted(attempt, task_id)

    async def ended(self, attempt, state, **more):
        """Write, or not."""
        self.check("ended")
        await super().ended(attempt, state, **more)

    async def uploaded(self, scope, address, digest):
        """Write, or not."""
        self.check("uploaded")
        await super().uploaded(scope, address, digest)

    async def handed_over(self, *attempts):
        """Write, or not."""
        self.check("handed_over")
        await super().handed_over(*attempts)

    async def renew(self, owner):
        """Renew, or not."""
        self.check("renew")
        await super().renew(owner)

    async def money(self, scope, prefix):
        """Add up, or not."""
        self.check("money")
        return await super().money(scope, prefix)

    async def forget(self, scope, idempotency_key):
        """Forget, or not."""
        self.check("forget")
        return await super().forget(scope, idempotency_key)

    async def history(self, scope, query, *, before, limit):
        """List, or not."""
        self.check("history")
        return await super().history(scope, query, before=before, limit=limit)

    async def release(self, owner):
        """Release, or not."""
        self.check("release")
        await super().release(owner)


TROUBLES = [
    JournalError("the disk is full"),
    KeyError("a bug of the store's"),
    asyncio.CancelledError("by the store itself"),
]
AFTER = ("accepted", "ended", "handed_over")


def errors(caplog):
    """Return what was logged as errors of stores."""
    return [
        each.getMessage()
        for each in caplog.records
        if each.name == STORES and each.levelno == logging.ERROR
    ]


@pytest.mark.parametrize("trouble", TROUBLES, ids=["full", "bug", "cut"])
@pytest.mark.parametrize("fate", ["task", "picture", "sync"])
async def test_what_is_paid_for_is_handed_over_whatever_the_store_does(
    caplog, trouble, fate
):
    """Its id is logged as an error, and the next session finds the record lost."""
    store, shop = FailingStore(*AFTER, "aclose", trouble=trouble), Shop(fate)
    async with shop.open(store) as session:
        result = await session.images.generate("a moose", **MOOSE)

    assert result.url
    told = errors(caplog)
    assert told
    assert "order 'k'" in told[0]
    if result.task_id:
        assert f"task {result.task_id}" in told[0]


async def test_without_a_record_there_is_no_order():
    """A store that cannot be opened, or claims nothing, stops it before it is sent."""
    for broken in ("open", "begin"):
        store, shop = FailingStore(broken), Shop()
        async with shop.open(store) as session:
            with pytest.raises(JournalError, match="full"):
                await session.images.generate("a moose", **MOOSE)
            store.broken.clear()
            assert (await session.images.generate("a moose", **MOOSE)).task_id
        assert store.opened == 0
        assert len(shop.sent) == 1


@pytest.mark.parametrize("trouble", TROUBLES[1:], ids=["bug", "cut"])
async def test_whatever_a_store_raises_is_a_journal_error(trouble):
    """A user's own store may raise anything; its cancellation is not the caller's."""

    async def history(session):
        return [order async for order in session.history()]

    async def generate(session):
        await session.images.generate("a moose", **MOOSE)

    async def batch(session):
        async with session.images.batch(["a moose"], name="b") as outcomes:
            async for _ in outcomes:
                pass

    async def forget(session):
        await session.forget("k")

    for broken, use in (
        ("open", history),
        ("open", batch),
        ("begin", generate),
        ("begin", batch),
        ("money", batch),
        ("history", history),
        ("forget", forget),
    ):
        store, shop = FailingStore(broken, trouble=trouble), Shop()
        async with shop.open(store) as session:
            with pytest.raises(JournalError, match="the store cannot be used: "):
                await use(session)
        assert shop.sent == []


async def test_who_is_cancelled_while_the_store_works_is_cancelled():
    """A cancellation that is the caller's own is no trouble of the store's."""
    store = FailingStore()
    store.history = lambda *_, **__: asyncio.Event().wait()
    async with Shop().open(store) as session:
        loop = asyncio.get_running_loop()
        listing = loop.create_task(anext(session.history()))
        await asyncio.sleep(1)
        listing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listing


async def test_what_the_store_did_not_take_is_written_again(caplog):
    """Once there is room, the record is true, and who waits for it is answered."""
    store, shop = FailingStore("ended"), Shop("sync")
    async with shop.open(store) as session, shop.open(store) as other:
        first = await session.images.generate("a fox", idempotency_key="k")
        waiting = asyncio.create_task(
            other.images.generate("a fox", idempotency_key="k")
        )
        await asyncio.sleep(40)
        assert not waiting.done()
        assert len(errors(caplog)) > 1
        store.broken.clear()

        assert await waiting == first
    assert len(shop.sent) == 1


async def test_closing_while_that_is_written_again_loses_no_word():
    """What was being written as the session closed is written then."""

    class Slow(FailingStore):
        async def check_slowly(self, name):
            self.check(name)
            await asyncio.sleep(5)

        async def ended(self, attempt, state, **more):
            await self.check_slowly("ended")
            await super().ended(attempt, state, **more)

    store, shop = Slow("ended"), Shop("sync", "sync", "sync")
    async with shop.open(store) as session:
        for key in "abc":
            await session.images.generate("a fox", idempotency_key=key)
        store.broken.clear()
        await asyncio.sleep(17)  # the first is being written, the others wait
    async with shop.open(store) as session:
        for key in "abc":
            assert (await session.find(key)).state is OrderState.COMPLETED
    assert len(shop.sent) == 3


async def test_a_refusal_with_strange_words_is_written_down():
    """What the API says can hold what no file can: the key is free all the same."""

    class Strange(MemoryStore):
        async def ended(self, attempt, state, **more):
            more["error"].encode()
            await super().ended(attempt, state, **more)

    class RudeShop(Shop):
        async def _answer(self, fate):
            from support.fakes import Reply

            if fate == "refuse":
                return Reply(
                    400, {}, b'{"code": 400, "msg": "\\ud800 no", "data": null}'
                )
            return await super()._answer(fate)

    shop = RudeShop("refuse", "task")
    async with shop.open(Strange(clock=FakeClock().utcnow)) as session:
        with pytest.raises(Exception, match="no"):
            await session.images.generate("a moose", **MOOSE)
        assert (await session.images.generate("a moose", **MOOSE)).task_id


async def test_a_lease_that_cannot_be_given_back_is_logged(caplog):
    """Closing ends well; the orders are others' once the lease has run out."""
    store, shop = FailingStore("release"), Shop()
    async with shop.open(store) as session:
        await session.images.generate("a moose", **MOOSE)

    assert "the end of this session is not in the store" in caplog.text
    assert store.opened == 0


# --- closing ----------------------------------------------------------------------


async def test_closing_finishes_what_is_being_written():
    """A result that was handed over just before is recorded as such."""

    class Slow(MemoryStore):
        async def handed_over(self, *attempts):
            await asyncio.sleep(5)
            await super().handed_over(*attempts)

    store, shop = Slow(clock=FakeClock().utcnow), Shop()
    async with shop.open(store) as session:
        await session.images.generate("a moose", **MOOSE)
    async with shop.open(store) as later:
        record = await later.find("k")

    assert (record.handed_over, record.owned) == (True, False)


async def test_a_store_is_opened_when_it_is_needed_and_closed_with_the_last():
    """Many who need it at once open it once a session."""
    store, shop = FailingStore(), Shop()
    async with shop.open(store):
        assert store.opened == 0
    async with shop.open(store) as one, shop.open(store) as other:
        await asyncio.gather(*(one.find(f"k{n}") for n in range(5)), other.find("k"))
        assert store.opened == 2

    assert store.opened == 0


class AwayStore(FailingStore):
    """A store that takes 15 s to say that it is away."""

    tries = 0

    async def open(self):
        """Fail, in the end."""
        self.tries += 1
        await asyncio.sleep(15)
        raise self.trouble


async def test_a_store_that_is_away_is_waited_for_once_and_not_by_each():
    """Fifty orders at once are all told within its time, twice at most."""
    store, shop = AwayStore(), Shop()
    now = asyncio.get_running_loop().time
    async with shop.open(store) as session:
        began = now()
        calls = [
            session.images.generate(f"m{n}", model="gpt-image-2") for n in range(50)
        ]
        ends = await asyncio.gather(*calls, return_exceptions=True)
        took = now() - began

    assert {type(end) for end in ends} == {JournalError}
    assert (store.tries, took) == (2, 30)
    assert shop.sent == []


async def test_who_opens_a_store_as_its_session_closes_is_refused():
    """Nothing stays open behind a closed session."""

    class Slow(FailingStore):
        async def open(self):
            await asyncio.sleep(5)
            await super().open()

    store, shop = Slow(), Shop()
    session = shop.open(store)
    first = asyncio.create_task(session.find("k"))
    second = asyncio.create_task(session.find("k"))
    await asyncio.sleep(1)
    await asyncio.gather(session.aclose(), first)
    assert await second is None
    assert store.opened == 0

    late = shop.open(store)
    parts = late._runtime.open()
    await late.aclose()
    with pytest.raises(SessionClosedError) as caught:
        await parts.orders.open()
    assert caught.value.charged is False


async def test_who_closes_what_is_being_closed_lets_the_store_go_no_second_time():
    """It is others' as well: one session lets it go as often as it opened it."""
    store, shop = FailingStore(), Shop()
    async with shop.open(store) as session, shop.open(store) as other:
        await other.find("k")
        orders = session._runtime.open().orders
        await orders.open()
        assert store.opened == 2
        await asyncio.gather(orders.aclose(), orders.aclose())
        await orders.aclose()
        assert store.opened == 1


async def test_a_result_taken_after_closing_is_told_again(caplog):
    """Nothing can be written any more: the next session recovers it once more."""
    store, shop = MemoryStore(clock=FakeClock().utcnow), Shop()
    async with shop.open(store) as session:
        handle = await session.images.submit("a moose", **MOOSE)
        await asyncio.sleep(10)
    assert (await handle).task_id
    async with shop.open(store) as later:
        orders = [order async for order in later.recover()]

    assert [order.state for order in orders] == [OrderState.COMPLETED]
    assert errors(caplog) == []


def test_a_loop_that_ends_lets_the_store_go():
    """What was never sent is free, and nobody has to wait for a lease."""
    store = {}

    async def leave(after):
        store["it"] = FailingStore()
        session = Shop("hang").open(store["it"])
        task = asyncio.create_task(session.images.generate("a moose", **MOOSE))
        await asyncio.sleep(after)
        return session, task

    for after, state in ((0.2, OrderState.REFUSED), (1.0, OrderState.UNKNOWN)):
        session, _ = run_virtual(leave, after)
        (attempt,) = store["it"]._attempts.values()
        assert attempt.record.state is state
        assert store["it"].opened == 0
        assert store["it"]._alive_until == {}
        asyncio.run(session.aclose())
        assert store["it"].opened == 0


async def test_an_upload_is_not_lost_over_the_store(caplog):
    """Its address counts by its content all the same, and is written down later."""
    store = FailingStore("uploaded")
    async with Shop().open(store) as session:
        orders = session._runtime.open().orders
        await orders.uploaded("https://f.example/0", b"png")
        assert "uploaded to https://f.example/0" in caplog.text
        assert list(orders.contents) == ["https://f.example/0"]
        store.broken.clear()

    scope = orders.scope
    found = await store.contents(scope, ["https://f.example/0", "https://f.example/1"])
    assert found == orders.contents


class SlowStore(FailingStore):
    """A store that takes its time to write an end."""

    async def ended(self, attempt, state, **more):
        """Write slowly, or not."""
        self.check("ended")
        await asyncio.sleep(5)
        await super().ended(attempt, state, **more)


async def test_closing_cuts_no_write(caplog):
    """What is being written once more while the session closes is in the store."""
    store = SlowStore("ended")
    async with Shop().open(store) as session:
        await session.images.generate("a moose", **MOOSE)
        store.broken.clear()
        await asyncio.sleep(LEASE_S / 4 + 1)
    scope = session._runtime.parts.orders.scope

    assert (await store.find(scope, "k")).state is OrderState.COMPLETED
    assert "still not in the store" not in caplog.text


async def test_a_store_that_answers_nothing_is_said_to(caplog):
    """A store of one's own that forgets to return its claim orders nothing."""

    class Mute(MemoryStore):
        async def begin(self, order, anew):
            await super().begin(order, anew)

    shop = Shop()
    async with shop.open(Mute(clock=FakeClock().utcnow)) as session:
        with pytest.raises(JournalError, match="answered None, which is no Claim"):
            await session.images.generate("a moose", **MOOSE)

    assert not shop.sent
