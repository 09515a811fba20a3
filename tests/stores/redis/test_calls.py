"""A server that is slow, cut off, restarted or full: nothing is lost, nothing hangs."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from contextlib import asynccontextmanager

import pytest
from redis.exceptions import ResponseError
from support.orders import PICTURE, SCOPE, begin, begun
from support.redis import SAFE
from support.waiting import until

from apimodels_async import JournalError
from apimodels_async.stores import OrderState, RedisStore
from apimodels_async.stores.redis.calls import Waiting


@asynccontextmanager
async def open_store(url, **options):
    """Open a store that gives up early, and close it."""
    store = RedisStore.unchecked(url, **({"patience_s": 1.0} | options))
    await store.open()
    try:
        yield store
    finally:
        await store.aclose()


@pytest.mark.parametrize(
    ("waiting", "command", "kept", "lost", "words"),
    [
        (Waiting(), None, None, None, ""),
        (Waiting(disk=True), "WAITAOF 1 0 3000", [1, 0], [0, 0], "disk"),
        (Waiting(disk=True, replicas=2), "WAITAOF 1 2 3000", [1, 2], [1, 1], "1 repl"),
        (Waiting(replicas=1), "WAIT 1 3000", 2, 0, "0 replicas"),
        (Waiting(replicas=1), "WAIT 1 3000", 1, ResponseError("denied"), "denied"),
    ],
)
def test_what_is_waited_for_is_had_or_said(waiting, command, kept, lost, words):
    """The server's disk and its replicas, where it is asked for them."""
    asked = waiting.command
    assert (asked and " ".join(map(str, asked))) == command
    if command is not None:
        waiting.check(kept)
        with pytest.raises(JournalError, match=words):
            waiting.check(lost)


async def test_nobody_there_is_said_in_time(tmp_path):
    """A missing socket, a port that nobody has, a name that nobody has."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = (
        f"unix://{tmp_path}/none.sock",
        f"redis://:hush@127.0.0.1:{port}/0",
        "redis://:hush@no-such-host.invalid/0",
    )
    for place in places:
        with pytest.raises(JournalError, match="store on Redis cannot be used") as told:
            async with open_store(place):
                pass
        assert "hush" not in str(told.value)


async def test_a_restart_is_waited_for(start):
    """Killed between claim and acceptance, it knows the claim when it is back."""
    server = start(*SAFE)
    async with open_store(server.url, patience_s=15.0) as store:
        attempt = await begun(store)
        server.kill()
        accepting = asyncio.create_task(store.accepted(attempt, "t1"))
        await asyncio.sleep(0.3)
        server.start()
        await accepting
        server.kill()
        server.start()

        found = await store.find(SCOPE, "k")
        assert (found.state, found.task_id) == (OrderState.ACCEPTED, "t1")
        assert not (await begin(store)).granted


async def test_what_was_answered_outlives_kill(start):
    """Each claim that was granted before a kill -9 is there after it."""
    server = start(*SAFE)
    granted = []
    async with open_store(server.url) as store:

        async def order(number):
            await begun(store, f"k{number}")
            granted.append(number)
            await order(number + 100)  # until it is killed

        orders = [asyncio.create_task(order(number)) for number in range(100)]
        await until(lambda: len(granted) >= 150)
        server.kill()
        ends = await asyncio.gather(*orders, return_exceptions=True)
        assert {type(end) for end in ends} == {JournalError}
    server.start()
    async with open_store(server.url) as store:
        for number in granted:
            assert (await store.find(SCOPE, f"k{number}")).state is OrderState.INTENDED


async def test_a_word_about_a_lost_order_is_said_of_no_other(start):
    """A server that forgot everything: the next order has a number of its own."""
    server = start("--appendonly", "no")
    async with open_store(server.url, patience_s=15.0) as store:
        lost = await begun(store, "k")
        server.kill()
        server.start()
        attempt = await begun(store, "l")
        await store.accepted(lost, "t1")
        await store.ended(lost, OrderState.COMPLETED, result=PICTURE)

        assert (await store.find(SCOPE, "l")).state is OrderState.INTENDED
        assert lost != attempt


async def test_a_claim_whose_answer_never_came_is_taken_back(start):
    """A server that hangs: nothing is granted, and later nothing is in the way."""
    server = start(*SAFE)
    async with open_store(server.url) as store, open_store(server.url) as other:
        await begun(store, "other")
        os.kill(server.process.pid, signal.SIGSTOP)
        with pytest.raises(JournalError, match="cannot be used"):
            await begin(store)
        os.kill(server.process.pid, signal.SIGCONT)
        while await other.find(SCOPE, "k") is None:  # noqa: ASYNC110  it reads on
            await asyncio.sleep(0.01)

        await store.renew("us")
        assert (await other.find(SCOPE, "k")).state is OrderState.REFUSED
        assert (await begin(other, owner="them")).granted


async def test_a_claim_that_nobody_waits_for_is_taken_back(start):
    """Its caller was cancelled; the next one, of the same store, is granted."""
    async with open_store(start(*SAFE).url) as store:
        for pauses in range(12):
            claiming = asyncio.create_task(begin(store, f"k{pauses}"))
            for _ in range(pauses):
                await asyncio.sleep(0)
            claiming.cancel()
            await asyncio.gather(claiming, return_exceptions=True)
            if claiming.cancelled():
                assert (await begin(store, f"k{pauses}")).granted


async def test_who_waits_as_the_loop_ends_is_told(start):
    """What carries the calls is cancelled: nobody waits for ever."""
    server = start(*SAFE)
    async with open_store(server.url) as store:
        os.kill(server.process.pid, signal.SIGSTOP)
        claims = [asyncio.create_task(begin(store, key)) for key in ("k", "l")]

        def carrying():
            return [t for t in asyncio.all_tasks() if t.get_name() == "apimodels-redis"]

        await until(carrying)
        for task in carrying():
            task.cancel()
        ends = await asyncio.gather(*claims, return_exceptions=True)
        os.kill(server.process.pid, signal.SIGCONT)
    assert [str(end) for end in ends] == ["the store on Redis was cut off"] * 2


async def test_a_full_server_orders_nothing_and_takes_words_again(start):
    """At maxmemory a claim is refused in words; with more room all goes on."""
    server = start(*SAFE)
    async with open_store(server.url) as store:
        attempt = await begun(store)
        server.ask("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(JournalError, match="maxmemory"):
            await begin(store, "l")
        with pytest.raises(JournalError, match="maxmemory"):
            await store.accepted(attempt, "t1")
        assert (await store.find(SCOPE, "k")).state is OrderState.INTENDED
        server.ask("CONFIG", "SET", "maxmemory", "0")
        await store.accepted(attempt, "t1")
        await store.ended(attempt, OrderState.COMPLETED, result=PICTURE)
        assert (await store.find(SCOPE, "k")).result == PICTURE
        assert (await begin(store, "l")).granted


async def test_a_replica_orders_nothing(start):
    """It is read; a claim is tried until patience ends."""
    server = start(*SAFE)
    async with open_store(server.url) as store:
        await begun(store)
        server.ask("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(JournalError, match="read only"):
            await begin(store, "l")
        assert (await store.find(SCOPE, "k")).state is OrderState.INTENDED
        server.ask("REPLICAOF", "NO", "ONE")
        assert (await begin(store, "l")).granted


async def test_a_failover_is_waited_for(start):
    """A server that becomes a replica, and the first one again, is tried again."""
    server = start(*SAFE)
    async with open_store(server.url, patience_s=15.0) as store:
        server.ask("REPLICAOF", "127.0.0.1", "1")
        claiming = asyncio.create_task(begin(store))
        await asyncio.sleep(0.5)
        assert not claiming.done()
        server.ask("REPLICAOF", "NO", "ONE")
        assert (await claiming).granted


async def test_another_program_s_key_is_said(start):
    """A key of another kind is no order's, and is not written over."""
    server = start(*SAFE)
    server.ask("SET", "{apimodels}:last", "no-number")
    async with open_store(server.url) as store:
        with pytest.raises(JournalError, match="cannot be used"):
            await begin(store)
        server.ask("SET", "{apimodels}:owners", "text")
        with pytest.raises(JournalError, match="wrong kind"):
            await store.renew("us")


async def test_one_that_cannot_be_sent_fails_alone(start):
    """Half a character has no bytes; what goes in the same group does."""
    async with open_store(start(*SAFE).url) as store:
        claims = [begin(store, key) for key in ("a", chr(0xD800), "b")]
        first, broken, last = await asyncio.gather(*claims, return_exceptions=True)

    assert first.granted
    assert last.granted
    assert isinstance(broken, UnicodeEncodeError)


async def test_connections_that_are_cut_cost_nothing(start):
    """All clients are cut off again and again, while orders begin and end."""
    server = start(*SAFE)
    over = False

    def cut():
        while not over:
            server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            time.sleep(0.03)

    async with open_store(server.url, patience_s=15.0) as store:
        cutting = asyncio.create_task(asyncio.to_thread(cut))

        async def order(number):
            attempt = await begun(store, f"k{number}")
            await store.accepted(attempt, f"t{number}")
            await store.ended(attempt, OrderState.COMPLETED, result=PICTURE)
            return attempt

        try:
            attempts = await asyncio.gather(*map(order, range(60)))
        finally:
            over = True
            await cutting
        assert len(set(attempts)) == 60
