"""Sessions that share a server: each key is bought once, whatever becomes of it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest
from support.redis import SAFE
from support.waiting import until

from apimodels_async import JournalError
from apimodels_async.stores import OrderState, RedisStore, read_history

TASK = {"model": "gpt-image-2"}
PROCESS = """
import asyncio, json, sys
from apimodels_async import PollPolicy, Session

async def main(key, base_url, url):
    polling = PollPolicy.unchecked(interval=0.05)
    async with Session(key, base_url=base_url, polling=polling, store=url) as session:
        results = await asyncio.gather(*(
            session.images.generate("a moose", model="gpt-image-2", idempotency_key=k)
            for k in ("a", "b", "c")
        ))
        print(json.dumps([result.url for result in results]))

asyncio.run(main(*sys.argv[1:]))
"""


async def test_two_processes_buy_a_key_once(start, emulator):
    """All get the same pictures, and the emulator took three orders."""
    words = (emulator.api_key, emulator.base_url, start(*SAFE).url)
    command = [sys.executable, "-c", PROCESS, *words]
    processes = [
        await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    told = [(await each.communicate())[0] for each in processes]

    assert len({text for text in told if json.loads(text)}) == 1
    assert len(emulator.tasks) == 3


async def test_sessions_of_one_store_and_of_others_buy_a_key_once(
    start, emulator, connect
):
    """A store given to two sessions, and a third one by its address."""
    url = start(*SAFE).url
    store = RedisStore(url)
    sessions = [connect(emulator, store=each) for each in (store, store, url)]
    results = await asyncio.gather(
        *(
            session.images.generate("a moose", **TASK, idempotency_key="k")
            for session in sessions
        )
    )
    await asyncio.gather(*(session.aclose() for session in sessions))

    assert len({result.url for result in results}) == 1
    assert len(emulator.tasks) == 1


async def test_a_server_that_dies_loses_nothing_paid_for(start, emulator, connect):
    """The pictures are handed over; new orders are refused until it is back."""
    server = start(*SAFE)
    store = RedisStore.unchecked(server.url, patience_s=0.5)
    session = connect(emulator, store=store)
    handle = await session.images.submit("a moose", **TASK, idempotency_key="k")
    server.kill()

    assert (await handle).url
    with pytest.raises(JournalError) as raised:
        await session.images.generate("a fox", **TASK, idempotency_key="l")
    assert raised.value.charged is False
    assert len(emulator.tasks) == 1

    server.start()
    again = await session.images.generate("a moose", **TASK, idempotency_key="k")
    assert again.url == (await handle).url
    assert (await session.images.generate("a fox", **TASK, idempotency_key="l")).url
    assert len(emulator.tasks) == 2
    await session.aclose()  # what it did not take is written now
    reading = read_history(RedisStore(server.url), base_url=emulator.base_url)
    records = [each async for each in reading]
    assert [each.state for each in records] == [OrderState.COMPLETED] * 2


async def test_killed_between_begin_and_accepted_it_is_bought_once(
    start, emulator, connect
):
    """The server comes back while the session waits to write its task down."""
    server = start(*SAFE)
    store = RedisStore(server.url)

    class DyingStore(RedisStore):
        """Its server dies as it is told of a task."""

        async def accepted(self, attempt, task_id):
            server.kill()
            told = asyncio.create_task(super().accepted(attempt, task_id))
            await asyncio.sleep(0.3)
            server.start()
            await told

    dying = connect(emulator, store=DyingStore(server.url))
    first = await dying.images.generate("a moose", **TASK, idempotency_key="k")
    other = connect(emulator, store=store)
    second = await other.images.generate("a moose", **TASK, idempotency_key="k")

    assert first.url == second.url
    assert len(emulator.tasks) == 1


async def test_what_a_session_left_is_recovered_by_another(start, emulator, connect):
    """Pending as the first one closed: the next one gets its picture."""
    url = start(*SAFE).url
    first = connect(emulator, store=url)
    await first.images.submit("a moose", **TASK, idempotency_key="k")
    await first.aclose()
    second = connect(emulator, store=url)
    left = [order async for order in second.recover()]

    assert [order.idempotency_key for order in left] == ["k"]
    assert (await left[0].result()).url
    await left[0].ack()
    assert [order async for order in second.recover()] == []
    assert len(emulator.tasks) == 1


async def test_a_cancelled_order_is_none(start, emulator, connect):
    """Cancelled at any step, it is bought at most once, and its key goes on."""
    session = connect(emulator, store=start(*SAFE).url)
    await session.images.generate("a moose", **TASK, idempotency_key="warm")
    for pauses in range(0, 40, 3):
        key = f"k{pauses}"
        ordering = asyncio.create_task(
            session.images.submit(f"moose {pauses}.", **TASK, idempotency_key=key)
        )
        for _ in range(pauses):
            await asyncio.sleep(0)
        ordering.cancel()
        await asyncio.gather(ordering, return_exceptions=True)
        await until(lambda: not session._orders()[0]._writes)
        taken = emulator.tasks.values()
        sent = [each for each in taken if each.prompt == f"moose {pauses}."]
        known = await session.find(key)
        if known is None or known.state is OrderState.REFUSED:
            assert sent == []
            await session.images.submit(f"moose {pauses}.", **TASK, idempotency_key=key)
        else:
            assert len(sent) <= 1


async def test_a_store_is_opened_and_closed_by_many_at_once(start):
    """Nobody finds it closed by another one who came and went meanwhile."""
    store = RedisStore(start(*SAFE).url)

    async def look():
        await store.open()
        try:
            return await store.find("scope", "key")
        finally:
            await store.aclose()

    for _ in range(40):
        assert await asyncio.gather(*(look() for _ in range(8))) == [None] * 8
    with pytest.raises(JournalError, match="closed"):
        await store.find("scope", "key")
