"""A server that forgot what it was told, and requests that arrive late, or twice."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
from redis.exceptions import ConnectionError as CutOffError
from support.orders import PICTURE, SCOPE, begin, begun

from apimodels_async import JournalError
from apimodels_async.stores import HistoryQuery, OrderState, RedisStore

ALL = {"before": None, "limit": 99}
REFUSED = OrderState.REFUSED


class SpoiledStore(RedisStore):
    """A store whose way to the server can be told to lose things."""

    def _connect(self):
        self.way = Spoiled(super()._connect())
        return self.way


class Spoiled:
    """Loses requests that have a word in them, or their answers, so many times."""

    def __init__(self, inner):
        self._inner = inner
        self.late = {}
        """Word -> how many requests are kept back."""
        self.unanswered = {}
        """Word -> how many are carried out, and nobody hears of it."""
        self._kept = []

    async def send(self, commands):
        """See ``Connection``."""
        words = {word for each in commands for word in each if isinstance(word, bytes)}
        for word in words & self.late.keys():
            self.late[word] -= 1
            if self.late[word] >= 0:
                self._kept.append(commands)
                raise CutOffError
        answers = await self._inner.send(commands)
        for word in words & self.unanswered.keys():
            self.unanswered[word] -= 1
            if self.unanswered[word] >= 0:
                raise CutOffError
        return answers

    async def arrive(self):
        """Let what was kept back arrive; return the answers."""
        return [await self._inner.send(each) for each in self._kept]

    async def aclose(self):
        """See ``Connection``."""
        await self._inner.aclose()


@asynccontextmanager
async def open_store(server, kind=RedisStore, **options):
    """Open a store, and close it."""
    store = kind.unchecked(server.url, **options)
    await store.open()
    try:
        yield store
    finally:
        await store.aclose()


# --- late, and twice --------------------------------------------------------------


async def test_a_claim_that_arrives_late_is_nobody_s(server):
    """Sent again, ended and ordered by another since then: it is in nobody's way."""
    async with open_store(server, SpoiledStore) as store, open_store(server) as other:
        store.way.late[b"begin"] = 1
        await store.ended(await begun(store), REFUSED)
        await other.ended(await begun(other), REFUSED)

        (answers,) = await store.way.arrive()
        assert "overtaken" in " ".join(map(str, answers))
        assert (await begin(other)).granted


async def test_a_forgetting_that_arrives_late_frees_nothing(server):
    """The key was forgotten once, and ordered again: that order keeps it."""
    async with open_store(server, SpoiledStore) as store:
        await begun(store)
        store.way.late[b"forget"] = 1
        assert await store.forget(SCOPE, "k")
        attempt = await begun(store)
        await store.way.arrive()

        assert (await store.find(SCOPE, "k")).attempt == attempt


async def test_a_forgetting_is_done_once_however_often_it_is_sent(server):
    """Its answer was lost, another ordered the key, and then it is sent again."""
    async with open_store(server, SpoiledStore) as store, open_store(server) as other:
        await begun(store)
        store.way.unanswered[b"forget"] = 1
        sent, store.way.send = store.way.send, None

        async def send(commands):
            try:
                return await sent(commands)
            except CutOffError:
                store.attempt = await begun(other)
                raise

        store.way.send = send
        assert await store.forget(SCOPE, "k")

        assert (await store.find(SCOPE, "k")).attempt == store.attempt


async def test_what_a_recovery_took_is_not_lost_with_its_answer(server):
    """The caller was told of trouble; the same session recovers it the next time."""
    async with open_store(server, SpoiledStore, patience_s=0.3) as store:
        attempt = await begun(store)
        await store.release("us")
        store.way.unanswered[b"recover"] = 2  # tries
        with pytest.raises(JournalError):
            await store.recover(SCOPE, "heir")

        assert (await store.recover(SCOPE, "heir")).attempt == attempt
        assert await store.recover(SCOPE, "heir") is None


async def test_what_was_dealt_with_meanwhile_is_not_recovered_again(server):
    """The answer to its recovery was lost, and then its caller came for it."""
    async with open_store(server, SpoiledStore, patience_s=0.3) as store:
        attempt = await begun(store)
        await store.release("us")
        store.way.unanswered[b"recover"] = 2
        with pytest.raises(JournalError):
            await store.recover(SCOPE, "heir")
        await store.handed_over(attempt)

        assert await store.recover(SCOPE, "heir") is None


async def test_a_session_that_closes_takes_its_lost_claims_back(server):
    """Nothing was sent: another may order it at once, and need not ask whether to."""
    async with open_store(server, SpoiledStore, patience_s=0.3) as store:
        await store.renew("us")
        store.way.unanswered[b"begin"] = 4  # two tries each
        for key in ("k", "l"):
            with pytest.raises(JournalError):
                await begin(store, key)
        await store.release("us")
        async with open_store(server) as other:
            for key in ("k", "l"):
                assert (await other.find(SCOPE, key)).state is REFUSED
                assert (await begin(other, key)).granted


async def test_a_claim_that_could_not_be_taken_back_is_the_next_time(server):
    """Nothing else is ordered until then, and the lease is renewed all the same."""
    async with open_store(server, SpoiledStore, patience_s=0.3) as store:
        await store.renew("us")
        store.way.unanswered[b"begin"] = 2
        with pytest.raises(JournalError):
            await begin(store)
        store.way.late[b"take_back"] = 4
        await store.renew("us")
        with pytest.raises(JournalError):
            await begin(store, "l")
        assert (await store.find(SCOPE, "k")).state is OrderState.INTENDED
        await store.renew("us")

        assert (await store.find(SCOPE, "k")).state is REFUSED
        assert (await begin(store)).granted


# --- forgotten --------------------------------------------------------------------


async def test_a_forgotten_order_is_written_down_again_by_its_session(server, caplog):
    """With the first word it has of it; the key and recoveries know it again."""
    async with open_store(server) as store, open_store(server) as other:
        accepted, ended = await begun(store, "a"), await begun(store, "b")
        server.ask("FLUSHALL")
        await store.accepted(accepted, "t1")
        await store.ended(ended, OrderState.COMPLETED, result=PICTURE)

        assert (await other.find(SCOPE, "a")).task_id == "t1"
        assert (await other.find(SCOPE, "b")).result == PICTURE
        assert not (await begin(other, "a", owner="them")).granted
        assert caplog.text.count("had forgotten order") == 2
        await store.release("us")
        assert (await other.recover(SCOPE, "heir")).attempt == accepted


async def test_a_key_that_was_ordered_anew_names_that_order(server):
    """The forgotten one is in the history, and named again if the other is refused."""
    async with open_store(server) as store, open_store(server) as other:
        first = await begun(store)
        server.ask("FLUSHALL")
        second = await begun(other, owner="them")
        await store.accepted(first, "t1")
        listed = await store.history(SCOPE, HistoryQuery(), **ALL)

        assert [each.attempt for each in listed] == [second, first]
        assert (await store.find(SCOPE, "k")).attempt == second
        await other.ended(second, REFUSED)
        assert (await store.find(SCOPE, "k")).attempt == first


async def test_a_refused_one_gives_way_to_what_was_forgotten(server):
    """What may be paid for has the key, and not what cost nothing."""
    async with open_store(server) as store, open_store(server) as other:
        first = await begun(store)
        server.ask("FLUSHALL")
        await other.ended(await begun(other, owner="them"), REFUSED)
        await store.accepted(first, "t1")

        assert (await store.find(SCOPE, "k")).attempt == first
        assert not (await begin(other, owner="them")).granted


async def test_a_number_that_is_another_s_is_not_taken_for_its_own(server):
    """A server that lost its clock, too: no order gets the task of another."""
    far = str(9 * 10**15)
    async with open_store(server) as store, open_store(server) as other:
        server.ask("SET", "{apimodels}:last", far)
        lost = await begun(store)
        server.ask("FLUSHALL")
        server.ask("SET", "{apimodels}:last", far)
        assert await begun(other, "l") == lost

        with pytest.raises(JournalError, match="is another's"):
            await store.accepted(lost, "t1")
        assert (await store.find(SCOPE, "l")).state is OrderState.INTENDED


# --- what it costs ----------------------------------------------------------------


async def test_a_recovery_costs_what_there_is_to_recover(server):
    """As many commands beside 300 orders of the living as beside one."""

    async def cost(living):
        async with open_store(server, name=f"beside-{living}") as store:
            for number in range(living):
                await begun(store, f"k{number}", owner="alive")
            for number in range(5):
                await begun(store, f"left{number}")
            await store.release("us")
            server.ask("CONFIG", "RESETSTAT")
            for _ in range(5):
                assert await store.recover(SCOPE, "heir") is not None
            assert await store.recover(SCOPE, "heir") is None
        with server.client() as client:
            done = client.info("commandstats")
            return sum(each["calls"] for each in done.values())

    assert await cost(300) <= await cost(1) + 10
