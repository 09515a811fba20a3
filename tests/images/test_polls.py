"""
Polls that go wrong, as the emulator and raw servers can make them: no task is lost.
"""

from __future__ import annotations

import asyncio

import attrs
import pytest
from support.cases import check_all_at_once
from support.raw import CUTS, RawServer, by_method, envelope, in_turn, respond
from support.sessions import ENDLESS, PATIENT, patience

from apimodels_async import (
    AuthenticationError,
    PermissionDeniedError,
    PollPolicy,
    Timeouts,
)
from apimodels_async.emulator import Emulator
from apimodels_async.emulator.faults.kinds import KINDS as ALL_KINDS
from apimodels_async.emulator.faults.kinds import WHERES, wheres_of

TASK = {"model": "gpt-image-2"}
KINDS = sorted(kind for kind in ALL_KINDS if "poll" in wheres_of(kind))
FINAL = {"unauthorized": AuthenticationError, "forbidden": PermissionDeniedError}
OPTIONS = {
    "rate_limit": {"retry_after": 0},
    "slow": {"seconds": 0.4},
    "envelope": {"code": 500},
}
DONE = {"taskId": "clraw1", "state": "completed", "resultUrls": ["https://a.b/c.png"]}


async def test_no_poll_fault_loses_a_task(connect):
    """Two faults of each kind on its polls, and the result still arrives."""
    assert "poll" in WHERES

    async def check(kind):
        async with Emulator(service_times={"*": 0.08}) as emulator:
            emulator.fault("poll", kind, times=2, **OPTIONS.get(kind, {}))
            # A poll that hangs is cut off; an order on a busy machine must not be.
            patient = attrs.evolve(PATIENT, read=3) if kind in ENDLESS else PATIENT
            session = connect(emulator, timeouts=patient)
            handles = [await session.images.submit(f"{n}", **TASK) for n in range(3)]
            results = await asyncio.gather(*handles)
            assert [r.task_id for r in results] == [h.task_id for h in handles]
            assert session.stats().completed == 3

    await check_all_at_once(KINDS, check)


@pytest.mark.parametrize(("kind", "error"), FINAL.items())
async def test_a_refused_key_ends_all_waits(emulator, connect, kind, error):
    """401 or 403 on every poll is told to every waiter, and no word about money."""
    session = connect(emulator)
    prompts = [f"moose {number} [slow]" for number in range(3)]
    handles = [await session.images.submit(each, **TASK) for each in prompts]
    emulator.fault("poll", kind, times=None)
    ended = await asyncio.gather(*handles, return_exceptions=True)

    assert {type(one) for one in ended} == {error}
    assert [one.task_id for one in ended] == [handle.task_id for handle in handles]
    assert {one.charged for one in ended} == {None}
    assert {one.task_ids for one in ended} == {tuple(h.task_id for h in handles)}
    assert session.stats().pending == 0


CALM = sorted(set(CUTS) - {"503", "308 elsewhere"})


async def test_a_cut_poll_is_made_again(connect):
    """Whatever a connection does to a poll, the next one brings the result."""

    async def check(name):
        polls = in_turn(CUTS[name], respond(envelope(DONE)))
        async with RawServer(by_method(POST=respond(), GET=polls)) as server:
            session = connect(
                server,
                polling=PollPolicy.unchecked(interval=0.02),
                timeouts=attrs.evolve(PATIENT, read=patience(name).read),
            )
            result = await session.images.generate("a moose", **TASK)

            assert result.url == "https://a.b/c.png"
            assert len(server.posts) == 1
            # Of the endless ones a second poll may be too late for its own patience.
            assert session.stats().poll_errors == 1 or name in ENDLESS

    await check_all_at_once(CALM, check)


async def test_a_poll_answered_about_another_task_is_dropped(connect):
    """An answer for a different task is never taken for ours."""
    stranger = DONE | {"taskId": "clother", "resultUrls": ["https://evil.example/x"]}
    answer = by_method(
        POST=respond(),
        GET=in_turn(respond(envelope(stranger)), respond(envelope(DONE))),
    )
    async with RawServer(answer) as server:
        result = await connect(server).images.generate("a moose", **TASK)

        assert result.url == "https://a.b/c.png"


async def test_an_unsolicited_answer_settles_nobody(connect):
    """A stray answer left on an idle connection never ends another task."""
    stray = envelope(DONE | {"taskId": "clstray"})

    async def answer(request, peer):
        if request.method == "POST":
            await respond()(request, peer)
            await respond(stray)(request, peer)
        else:
            await respond(envelope(DONE))(request, peer)

    async with RawServer(answer) as server:
        result = await connect(server).images.generate("a moose", **TASK)

        assert result.task_id == "clraw1"


async def test_a_server_that_restarts_is_found_again(connect):
    """Tasks outlive minutes, or here 0.3 s, in which every connection breaks."""
    loop = asyncio.get_running_loop()
    until = loop.time() + 0.3

    async def flaky(request, peer):
        if loop.time() < until:
            peer.reset()
        else:
            await respond(envelope(DONE))(request, peer)

    async with RawServer(by_method(POST=respond(), GET=flaky)) as server:
        result = await connect(server).images.generate("a moose", **TASK)

        assert result.task_id == "clraw1"


async def test_polls_are_one_at_a_time_and_apart(emulator, connect):
    """The emulator's record shows no two polls of a task closer than the interval."""
    session = connect(emulator, timeouts=Timeouts(read=5))
    prompts = [f"moose {number} [slow]" for number in range(20)]
    handles = [await session.images.submit(each, **TASK) for each in prompts]
    await asyncio.gather(*handles)

    gaps = [
        later - earlier
        for task in emulator.tasks.values()
        for earlier, later in zip(task.poll_times, task.poll_times[1:], strict=False)
    ]
    # Arrivals may bunch up on a busy machine; starts never do (test_pacer.py).
    assert sorted(gaps)[len(gaps) // 2 :][0] >= 0.04
    assert len(emulator.tasks) == 20
