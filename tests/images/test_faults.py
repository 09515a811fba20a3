"""Answers nobody asked for, bombs, storms and outages, over real sockets."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import zlib
from pathlib import Path

import pytest
from support.proxy import ChaosProxy, Fault
from support.raw import RawServer, envelope, hang, message, raw
from support.sessions import KEY
from support.waiting import until

from apimodels_async import (
    ConnectionFailedError,
    OutcomeUnknownError,
    PollPolicy,
    RetryPolicy,
    Session,
    TaskTimeoutError,
    Timeouts,
    UnexpectedResponseError,
)
from apimodels_async._core.money.retry_budget import PER_REQUEST, PER_S, TOKENS_MAX
from apimodels_async.emulator import Emulator
from apimodels_async.errors import ApiModelsError

LONG_S = 600  # service time; the clock of the emulator is moved
ORDERS = {
    "generate": lambda session, prompt: session.images.generate(prompt),
    "submit": lambda session, prompt: session.images.submit(
        prompt, model="gpt-image-2"
    ),
}


# --- answers nobody asked for ------------------------------------------------------


def task(task_id, state="processing", **more):
    """Return the answer about one task."""
    return message(envelope({"taskId": task_id, "state": state, **more}))


def picture(name):
    """Return the answer of a synchronous call; it carries no id."""
    return message(envelope({"url": f"https://files.example/{name}.png"}))


def asked_for(request):
    """Return what a raw request is about: its prompt, or the task it polls."""
    if request.method == "POST":
        return json.loads(request.body)["prompt"]
    return re.search("task_id=(.*)", request.target)[1]


@pytest.mark.parametrize("fresh", [False, True], ids=["pool", "fresh"])
@pytest.mark.parametrize("how", ORDERS)
async def test_an_answer_left_on_an_idle_connection_is_given_to_nobody(
    connect, how, fresh
):
    """Every idle connection holds a stale answer: no order is answered with one."""

    async def answer(request, peer):
        name = asked_for(request)
        own = picture(name) if how == "generate" else task(f"cl{name}")
        stale = picture("stale") if how == "generate" else task("clstale")
        await peer.say(own)
        await asyncio.sleep(0.01)
        await peer.say(stale)

    async with RawServer(answer) as server:
        session = connect(
            server,
            fresh_connections=fresh,
            polling=PollPolicy.unchecked(interval=60),
        )
        for number in range(10):
            got = await ORDERS[how](session, f"fox{number}")
            name = got.url if how == "generate" else got.task_id
            assert f"fox{number}" in name
            await asyncio.sleep(0.02)

        assert len(server.posts) == 10
        await session.aclose()


@pytest.mark.parametrize("pause", [None, 0.0], ids=["with it", "just after it"])
async def test_a_duplicated_answer_is_given_to_nobody(connect, pause):
    """An answer said twice, in one piece or two, does not shift those that follow."""

    async def answer(request, peer):
        own = picture(asked_for(request))
        if pause is None:
            await peer.say(own + own)
        else:
            await peer.say(own)
            await asyncio.sleep(pause)
            await peer.say(own)

    async with RawServer(answer) as server:
        session = connect(server)
        for number in range(10):
            result = await session.images.generate(f"fox{number}")
            assert f"/fox{number}.png" in result.url
            await asyncio.sleep(0.005)


async def test_the_task_of_an_ended_order_is_no_answer_to_the_next(connect):
    """An id that was given before is refused, though its task has ended since."""
    done = {"resultUrls": ["https://files.example/a.png"]}
    async with RawServer(raw(task("clone", "completed", **done))) as server:
        session = connect(server)
        first = await session.images.submit("a fox", model="gpt-image-2")
        await first
        with pytest.raises(OutcomeUnknownError):
            await session.images.submit("an owl", model="gpt-image-2")


async def test_answers_about_another_task_are_dropped(connect):
    """Every poll gets another task's answer at first: all end with their own result."""
    turn = itertools.count()

    async def answer(request, peer):
        name = asked_for(request)
        if request.method == "POST":
            await peer.say(task(f"cl{name}"))
            return
        stranger = "clfox1" if name != "clfox1" else "clfox2"
        shown = stranger if next(turn) < 12 else name
        url = f"https://files.example/{shown}.png"
        await peer.say(task(shown, "completed", resultUrls=[url]))

    async with RawServer(answer) as server:
        session = connect(server)
        handles = [
            await session.images.submit(f"fox{number}", model="gpt-image-2")
            for number in range(6)
        ]
        for number, handle in enumerate(handles):
            assert f"clfox{number}." in (await handle).url


@pytest.mark.parametrize("kind", ["not_found", "reset", "truncated", "garbage"])
async def test_bad_answers_to_polls_lose_no_task(emulator, connect, kind):
    """After six bad answers in a row each task still gets its own result."""
    emulator.fault("poll", kind, times=30)
    session = connect(emulator, polling=PollPolicy.unchecked(interval=0.02))
    handles = [
        await session.images.submit(f"fox {number}", model="gpt-image-2")
        for number in range(5)
    ]
    results = await asyncio.gather(*handles)

    assert [emulator.tasks[one.task_id].prompt for one in results] == [
        f"fox {number}" for number in range(5)
    ]


# --- memory and time ---------------------------------------------------------------


def peak_kb(part="VmHWM"):
    """Return the largest resident size of this process so far, in kB."""
    found = re.search(rf"{part}:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1])


def big_bomb():
    """Return 0.2 MB of gzip that unpack to 200 MB of zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(1 << 20)
    return b"".join(packer.compress(zeros) for _ in range(200)) + packer.flush()


async def test_a_gzip_bomb_stays_packed(connect):
    """0.2 MB that would unpack to 200 MB cost little memory."""
    bomb = message(big_bomb(), Content_Encoding="gzip")
    small = message(b"\0" * len(bomb), Content_Encoding="gzip")
    async with RawServer(raw(small)) as server:
        session = connect(server, timeouts=Timeouts())
        with pytest.raises(UnexpectedResponseError):
            await session.balance()  # imports and buffers, once
        server.answer = raw(bomb)
        before = peak_kb()
        with pytest.raises(UnexpectedResponseError):
            await session.balance()
        with pytest.raises(OutcomeUnknownError):
            await session.images.generate("a fox")

        # Alone in a process it costs less than 2 MB.
        assert peak_kb() - before < 32 * 1024


async def test_a_hanging_poll_does_not_hold_up_a_deadline(connect):
    """A server that hangs on polls, each for 30 s, puts off no deadline."""
    answers = iter([raw(task("clone"))])

    async def answer(request, peer):
        await next(answers, hang)(request, peer)

    async with RawServer(answer) as server:
        session = connect(
            server,
            polling=PollPolicy.unchecked(interval=0.2, deadline=1),
            timeouts=Timeouts(),
        )
        handle = await session.images.submit("a fox", model="gpt-image-2")
        with pytest.raises(TaskTimeoutError) as caught:
            await handle

        assert caught.value.task_id == "clone"
        assert server.in_hand == 1  # the poll that hangs was not waited for


# --- outages -----------------------------------------------------------------------


STORMS = {"503": ("status", {"status": 503}), "RST": ("reset", {}), "FIN": ("drop", {})}
INTERVAL = 0.1
MANY = 60


@pytest.mark.parametrize("storm", STORMS)
async def test_a_storm_is_not_amplified(connect, storm):
    """Tasks poll a failing server no more often than a healthy one, and recover."""
    kind, options = STORMS[storm]
    async with Emulator(api_key=KEY, service_times={"*": 60}) as emulator:
        session = connect(
            emulator,
            polling=PollPolicy.unchecked(interval=INTERVAL),
            timeouts=Timeouts(),
        )
        handles = await asyncio.gather(
            *(
                session.images.submit(f"fox {number}", model="gpt-image-2")
                for number in range(MANY)
            )
        )
        fault = emulator.fault("poll", kind, times=None, **options)
        await until(lambda: fault.hits >= MANY)
        emulator.clear_faults()
        times = [one.at for one in emulator.requests if one.endpoint == "poll"]
        emulator.advance(120)
        results = await asyncio.gather(*handles)

    assert len({result.task_id for result in results}) == MANY
    # However late polls come on a busy machine, there is one an interval for each task.
    assert len(times) <= MANY * (1.1 * (times[-1] - times[0]) / INTERVAL + 2)


async def test_an_outage_loses_no_task(connect):
    """An outage under which 100 pending tasks fail 300 polls loses none of them."""
    async with (
        Emulator(api_key=KEY, service_times={"*": LONG_S}) as emulator,
        ChaosProxy(emulator) as proxy,
    ):
        session = connect(
            proxy,
            polling=PollPolicy.unchecked(interval=0.1),
            timeouts=Timeouts(connect=10, read=10),
        )
        handles = await asyncio.gather(
            *(
                session.images.submit(f"fox {number}", model="gpt-image-2")
                for number in range(100)
            )
        )
        proxy.leave()
        await until(lambda: session.stats().poll_errors >= 300)
        proxy.come_back()
        emulator.advance(LONG_S)
        results = await asyncio.gather(*handles)

        assert {result.task_id for result in results} == emulator.tasks.keys()


async def test_an_outage_is_asked_little_more_than_usual(emulator, connect):
    """Of 400 free calls into a dead API, retries stay within a tenth and the burst."""
    session = connect(emulator, retry=RetryPolicy(base=0.001, cap=0.002))
    emulator.fault("balance", "status", times=None, status=503)
    loop = asyncio.get_running_loop()
    started = loop.time()
    for _ in range(20):
        ends = await asyncio.gather(
            *(session.balance() for _ in range(20)), return_exceptions=True
        )
        assert all(isinstance(end, ApiModelsError) for end in ends)
    seconds = loop.time() - started
    most = 400 * (1 + PER_REQUEST) + TOKENS_MAX + PER_S * seconds
    assert 400 < len(emulator.requests) <= most + 1


async def test_orders_into_an_outage_are_not_multiplied(emulator, connect):
    """Orders that never left are retried from the same budget."""
    await emulator.aclose()
    session = connect(emulator, retry=RetryPolicy(base=0.001, cap=0.002))
    ends = await asyncio.gather(
        *(session.images.generate("m") for _ in range(50)), return_exceptions=True
    )
    assert {ConnectionFailedError} == {type(end) for end in ends}


async def test_a_connection_that_closes_as_it_is_reused_is_noticed(emulator, connect):
    """An idle connection whose end has arrived carries no order."""
    schedule = {f"post {number}": Fault("down", seconds=0.01) for number in range(20)}
    async with ChaosProxy(emulator, schedule) as proxy:
        session = connect(proxy, retry=RetryPolicy(base=0.05))
        for number in range(20):
            result = await session.images.generate(f"a fox intent-{number}. end")
            assert result.url


async def test_a_second_session_is_not_poisoned_by_the_first(emulator, connect):
    """What one session's connections hold is nothing to another session."""
    async with Session(base_url=emulator.base_url, api_key=emulator.api_key) as other:
        mine, yours = await asyncio.gather(
            connect(emulator, timeouts=Timeouts()).images.generate("mine"),
            other.images.generate("yours"),
        )

    assert mine.url != yours.url
