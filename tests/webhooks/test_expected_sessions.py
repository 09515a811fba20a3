"""Sessions that are called back, over real sockets: fewer polls, and nothing lost."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import asynccontextmanager

import aiohttp
import pytest
from support.waiting import until
from webhooks.conftest import SECRET

from apimodels_async import OutcomeUnknownError, SessionClosedError, Timeouts, Verdict
from apimodels_async.errors import InsufficientCreditsError
from apimodels_async.handle import TaskHandle
from apimodels_async.stores import MemoryStore
from apimodels_async.webhooks import Callback, Receiver, SocketRelay

TASK = "gpt-image-2"


async def generate(session, count, prefix="moose"):
    """Generate some pictures at once."""
    prompts = [f"{prefix} {number}" for number in range(count)]
    calls = [session.images.generate(prompt, model=TASK) for prompt in prompts]
    return await asyncio.gather(*calls)


async def test_one_look_is_enough(emulator, callback, called_back):
    """Each task is asked for once, when its callback has come, and not before."""
    session = called_back(callback)
    results = await generate(session, 40)
    stats = session.stats()
    assert len({result.task_id for result in results}) == 40
    assert stats.polls == 40
    assert stats.callbacks >= 40
    assert len(emulator.callbacks) == 40


async def test_each_order_has_an_address_of_its_own(
    emulator, callback, called_back, post
):
    """Every endpoint gets the callback in its own spelling, no two the same."""
    session = called_back(callback)
    await session.images.generate("a fox")
    await session.images.edit("at night", images=["https://example.com/a.png"])
    await session.images.generate("a moose", model=TASK)
    bodies = [each.body for each in emulator.requests if each.body]
    addresses = [body.get("callBackUrl") or body.get("callback_url") for body in bodies]
    assert len({*addresses}) == 3
    assert all(address.startswith(post.url + "/") for address in addresses)


async def test_a_callback_of_the_users_own_is_left_alone(
    emulator, callback, called_back, quick
):
    """A request that names its own callback gets no other; it is polled as usual."""
    session = called_back(callback, polling=quick)
    mine = "http://127.0.0.1:9/mine"
    await session.images.generate("a moose", model=TASK, callback_url=mine)
    assert {each.url for each in emulator.callbacks} == {mine}
    assert session.stats().callbacks == 0


async def test_lost_callbacks_lose_nothing(
    emulator, callback, called_back, quick, post
):
    """With a receiver that is down, every task ends by polling."""
    post.deaf = True
    session = called_back(callback, polling=quick)
    results = await generate(session, 20)
    assert len(results) == 20
    assert session.stats().callbacks == 0


async def test_a_receiver_that_dies_slows_nothing_down_for_long(
    emulator, post, called_back, quick
):
    """After three callbacks in a row that stay away, polling is back at its pace."""
    callback = Callback(post.url, secret=SECRET, interval=0.5)
    post.receiver = Receiver(callback)
    session = called_back(callback, polling=quick)
    await generate(session, 3)
    post.deaf = True
    await generate(session, 6)
    before = session.stats().polls
    # A second or two: 20 polls or more, where a callback that is trusted leaves three.
    await session.images.generate("one more [slow]", model=TASK)
    assert session.stats().polls - before >= 6


@pytest.mark.parametrize("kind", ["duplicate", "wrong_id", "bad_json", "garbage"])
async def test_spoiled_callbacks_change_nothing(
    emulator, callback, called_back, quick, kind
):
    """Doubled, forged or broken bodies give every task its own result all the same."""
    emulator.fault("callback", kind, times=None)
    session = called_back(callback, polling=quick)
    results = await generate(session, 10)
    assert sorted(result.task_id for result in results) == sorted(emulator.tasks)


async def test_a_flood_costs_one_look_an_interval(emulator, callback, called_back):
    """A hundred early deliveries for a known task are one poll each 2.5 s at most."""
    emulator.fault("create", "stuck")
    session = called_back(callback)
    handle = await session.images.submit("a moose", model=TASK)
    (address,) = [r.body["callback_url"] for r in emulator.requests]
    body = {"code": 200, "data": {"taskId": handle.task_id, "state": "completed"}}
    async with aiohttp.ClientSession() as http:
        for _ in range(100):
            async with http.post(address, json=body) as reply:
                assert reply.status == 200
    await until(lambda: session.stats().callbacks >= 100)
    await asyncio.sleep(0.2)
    assert session.stats().polls == 1
    assert not handle.done


async def test_a_forger_with_a_leaked_address_settles_nothing(
    emulator, callback, called_back
):
    """A delivery that says "completed", with a picture, resolves no handle."""
    session = called_back(callback)
    handle = await session.images.submit("a moose", model=TASK)
    (address,) = [r.body["callback_url"] for r in emulator.requests]
    evil = {"taskId": handle.task_id, "state": "completed", "resultUrls": ["http://x/"]}
    async with (
        aiohttp.ClientSession() as http,
        http.post(address, json={"code": 200, "data": evil}) as reply,
    ):
        assert reply.status == 200
    result = await handle
    assert result.url.startswith(emulator.base_url.rpartition("/api")[0])


SILENT = {"kind": "hang", "after": True}
LOST = {
    "cut": {"kind": "truncated", "after": True},
    "silent": SILENT,
    "500": {"kind": "status", "after": True, "status": 500},
}


@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
@pytest.mark.parametrize("model", [TASK, None])
async def test_an_order_whose_answer_is_lost_is_found(
    emulator, callback, called_back, fault, model
):
    """The charged POST is sent once, its callback names the task, its picture comes."""
    patience = {"timeouts": Timeouts(read=1, generate=1)} if fault is SILENT else {}
    session = called_back(callback, **patience)
    options = {**fault}
    emulator.fault("create" if model else "sync", options.pop("kind"), **options)
    result = await session.images.generate("a moose", model=model or "sparkpix-image")
    assert result.url
    assert len(orders(emulator)) == 1
    stats = session.stats()
    assert (stats.submitted, stats.unknown) == (1, 0)


def orders(emulator):
    """Return the paid requests that reached the emulator."""
    paid = {"create", "sync", "edit"}
    return [record for record in emulator.requests if record.endpoint in paid]


async def test_a_callback_after_our_patience_makes_an_orphan(
    emulator, post, called_back, caplog
):
    """Whoever ordered is told "unknown"; later the task is tracked, and told of."""
    callback = Callback(post.url, secret=SECRET, patience=0.05)
    post.receiver = Receiver(callback)
    session = called_back(callback)
    emulator.fault("create", "truncated", after=True)
    with pytest.raises(OutcomeUnknownError) as caught:
        await session.images.generate("a moose", model=TASK)
    await until(lambda: session.orphans)
    (orphan,) = session.orphans
    assert isinstance(orphan, TaskHandle)
    assert (await orphan).url
    assert session.stats().submitted == 1
    found = await session.reconcile(caught.value)
    assert (found.verdict, found.task_id) == (Verdict.FOUND, orphan.task_id)
    assert f"is task {orphan.task_id}" in caplog.text


async def test_a_cancelled_caller_loses_nothing(emulator, callback, called_back):
    """An order of unknown fate is waited for by the session, and kept."""
    session = called_back(callback)
    emulator.fault("create", "truncated", after=True)
    call = asyncio.create_task(session.images.submit("a moose", model=TASK))
    await until(lambda: orders(emulator))
    await asyncio.sleep(0.02)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: session.orphans)
    assert (await session.orphans[0]).url


async def test_a_salvaged_id_is_enough(emulator, callback, called_back, post):
    """A broken answer that shows its task id needs no callback to be found."""
    post.deaf = True
    session = called_back(callback)
    emulator.fault("create", "truncated", after=True, at=80)
    handle = await session.images.submit("a moose", model=TASK)
    assert handle.task_id in emulator.tasks


async def test_a_hint_at_a_task_of_another_order_is_not_believed(
    emulator, post, called_back, quick
):
    """A lost order is never given a task that another order was answered with."""
    callback = Callback(post.url, secret=SECRET, patience=0.3)
    post.receiver = Receiver(callback)
    session = called_back(callback, polling=quick)
    other = await session.images.submit("a hare", model=TASK)
    emulator.fault("create", "drop")
    call = asyncio.create_task(session.images.submit("a moose", model=TASK))
    await until(lambda: len(orders(emulator)) == 2)
    address = orders(emulator)[1].body["callback_url"]
    for task_id in (other.task_id, "clxUnknown"):
        assert await post.receiver.deliver(address, named(task_id)) == 503
        await asyncio.sleep(0.02)
    with pytest.raises(OutcomeUnknownError):
        await call
    assert session.orphans == ()


class Speechless(MemoryStore):
    """A store that cannot say whose a task is."""

    async def find_task(self, scope, task_id):
        """Fail, as a store of a user's own may."""
        msg = "the disk is gone"
        raise KeyError(msg)


@pytest.mark.parametrize("kind", [MemoryStore, Speechless])
async def test_a_hint_at_a_task_of_another_session_of_the_store_is_not_believed(
    emulator, post, called_back, quick, kind
):
    """The store knows whose it is; while that cannot be read, nobody is given it."""
    callback = Callback(post.url, secret=SECRET, patience=1.0)
    post.receiver = Receiver(callback)
    store = kind()
    session, other = (
        called_back(
            Callback(post.url) if each else callback, polling=quick, store=store
        )
        for each in (0, 1)
    )
    emulator.fault("create", "drop")
    call = asyncio.create_task(session.images.submit("a moose", model=TASK))
    await until(lambda: orders(emulator))
    others = await other.images.generate("a hare", model=TASK)
    address = orders(emulator)[0].body["callback_url"]
    polls = session.stats().polls
    assert await post.receiver.deliver(address, named(others.task_id)) == 503
    with pytest.raises(OutcomeUnknownError):
        await call
    assert session.stats().polls > polls  # it was looked at
    assert session.orphans == ()


def named(task_id):
    """Return the body of a callback about this task."""
    return json.dumps({"code": 200, "data": {"taskId": task_id}}).encode()


async def test_a_refused_order_has_no_callback_to_wait_for(
    emulator, callback, called_back
):
    """A definite refusal is raised at once, with callbacks as without."""
    emulator.fault("create", "envelope", code=402)
    with pytest.raises(InsufficientCreditsError):
        await called_back(callback).images.generate("a moose", model=TASK)


async def test_closing_ends_the_wait_for_a_callback(
    emulator, callback, called_back, post
):
    """aclose() does not sit out our patience; the caller is told "unknown"."""
    post.deaf = True
    session = called_back(callback)
    emulator.fault("create", "truncated", after=True)
    call = asyncio.create_task(session.images.submit("a moose", model=TASK))
    await until(lambda: orders(emulator))
    await asyncio.sleep(0.05)
    await session.aclose()
    with pytest.raises((OutcomeUnknownError, SessionClosedError)):
        await call


async def test_a_worker_reaches_the_session_of_another(
    emulator, post, called_back, tmp_path
):
    """Through sockets in a directory, a receiver elsewhere tells a session at home."""
    home = Callback(post.url, secret=SECRET, relay=SocketRelay(tmp_path))
    elsewhere = Callback(post.url, secret=SECRET, relay=SocketRelay(tmp_path))
    post.receiver = Receiver(elsewhere)
    session, bystander = called_back(home), called_back(home)
    await bystander.images.generate("a hare", model=TASK)
    await generate(session, 10)
    assert session.stats().polls == session.stats().callbacks == 10
    assert bystander.stats().callbacks == 1
    assert {*post.statuses} == {200}


class Moody:
    """A relay that fails when it is opened, and later from within."""

    def __init__(self):
        self.opened = 0

    async def publish(self, hint):
        """Take anything."""
        return True

    @asynccontextmanager
    async def listening(self, take):
        """Fail."""
        self.opened += 1
        msg = "the broker is gone"
        raise ConnectionError(msg)
        yield


async def test_a_relay_that_breaks_costs_no_task(
    emulator, post, called_back, quick, caplog
):
    """Without its relay a session says so once in five seconds, and polls."""
    caplog.set_level(logging.WARNING)
    relay = Moody()
    callback = Callback(post.url, secret=SECRET, relay=relay)
    post.receiver = Receiver(callback)
    results = await generate(called_back(callback, polling=quick), 3)
    assert len(results) == 3
    assert relay.opened == 1
    assert "no callbacks for now: ConnectionError" in caplog.text


async def test_a_hint_after_the_end_changes_nothing(
    emulator, callback, called_back, post
):
    """The tenth repetition of a callback is answered 200 and leads to no poll."""
    session = called_back(callback)
    result = await session.images.generate("a moose", model=TASK)
    address = orders(emulator)[0].body["callback_url"]
    polls = session.stats().polls
    for _ in range(10):
        assert await post.receiver.deliver(address, named(result.task_id)) == 200
    await asyncio.sleep(0.05)
    assert session.stats().polls == polls
