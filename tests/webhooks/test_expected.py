"""What a session makes of hints, in virtual time."""

from __future__ import annotations

import asyncio
import threading

from support.fakes import EPOCH, Rig, completed, done_after, refused
from support.virtual_time import virtual_time

from apimodels_async.webhooks import Callback, Hint
from apimodels_async.webhooks.expected import KEPT_S, RELISTEN_S, ExpectedCallbacks

URL = "https://app.example/hooks"


anyio_backend = virtual_time


class Desk:
    """Callbacks on a rig, with what they find put aside."""

    def __init__(self, rig, **options):
        self.rig = rig
        self.found = []
        self.callback = Callback(URL, **options)
        self.callbacks = ExpectedCallbacks(
            self.callback, rig.tracker, rig.clock, rig.counters
        )

    def start(self):
        """Start listening."""
        self.callbacks.start(self.found.append)

    async def __aenter__(self):
        self.start()
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_):
        self.callbacks.give_up()
        await self.callbacks.aclose()

    async def deliver(self, expected, task_id):
        """Let a hint arrive, and be followed."""
        taken = await self.callback.relay.publish(Hint(expected.nonce, task_id))
        await asyncio.sleep(0)
        return taken


async def test_a_callback_faster_than_the_answer_is_not_lost():
    """The task is asked for as soon as the answer has named it."""
    async with Rig(done_after(0)) as rig, Desk(rig) as desk:
        expected = desk.callbacks.expect("m")
        assert not await desk.deliver(expected, "t1")  # come again: we might be killed
        entry = rig.watch("t1", expects_callback=True)
        desk.callbacks.answered(expected, entry)
        await rig.ended(entry)
        assert asyncio.get_running_loop().time() < 1
        assert await desk.deliver(expected, "t1")


async def test_orders_are_forgotten_after_an_hour():
    """What the API no longer calls about is no longer known, and costs no memory."""
    async with Rig(done_after(0)) as rig, Desk(rig) as desk:
        old = desk.callbacks.expect("m")
        await asyncio.sleep(KEPT_S + 1)
        young = desk.callbacks.expect("m")
        await desk.deliver(old, "t1")
        await desk.deliver(young, "t2")
        assert rig.counters.callbacks == 1
        assert desk.callbacks.task_of(old.nonce) is None


async def test_a_hint_from_another_thread_is_followed_in_the_loop():
    """A receiver may live in any thread; once the loop is closed, nobody takes it."""
    taken = []
    async with Rig(done_after(0)) as rig, Desk(rig) as desk:
        expected = desk.callbacks.expect("m")
        entry = rig.watch("t1", expects_callback=True)
        desk.callbacks.answered(expected, entry)
        hint = Hint(expected.nonce, "t1")
        thread = threading.Thread(
            target=lambda: taken.append(desk.callbacks.take(hint))
        )
        thread.start()
        thread.join()
        await rig.ended(entry)
        assert asyncio.get_running_loop().time() < 1
    assert taken == [True]
    desk.callbacks._loop = asyncio.new_event_loop()
    desk.callbacks._loop.close()
    assert desk.callbacks.take(hint) is False


async def test_after_the_end_a_hint_does_nothing():
    """A hint that arrives while the session closes starts no work."""
    async with Rig(done_after(0)) as rig, Desk(rig) as desk:
        expected = desk.callbacks.expect("m")
        expected.lost = True
        desk.callbacks.give_up()
        desk.callbacks.take(Hint(expected.nonce, "t1"))
        await asyncio.sleep(10)
        assert rig.transport.calls == []


async def test_a_task_the_user_attached_is_not_polled_twice():
    """A lost order whose task is tracked already gets that very entry."""
    async with Rig(done_after(0)) as rig, Desk(rig) as desk:
        entry = rig.watch("t1", attached=True)
        expected = desk.callbacks.expect("m")
        assert await desk.callbacks.search.wait_for_task(expected, "t1") is entry
        assert rig.ledger.claimed == {"t1"}
        assert rig.transport.counts["t1"] == 1


class Record:
    """Where an order is written down, as far as a callback is concerned."""

    durable = False


async def test_a_callback_is_kept_by_the_api_until_the_record_has_its_task():
    """An order that is written down is done with its callback once that names it."""
    async with Rig(done_after(100)) as rig, Desk(rig) as desk:
        record = Record()
        expected = desk.callbacks.expect("m", record)
        desk.callbacks.answered(expected, rig.watch("t1", expects_callback=True))
        assert not await desk.deliver(expected, "t1")
        record.durable = True
        assert await desk.deliver(expected, "t1")


async def test_two_lost_orders_never_share_a_task():
    """When both are told of one task, the first confirmed has it, the other none."""

    async with Rig(done_after(0), latency=1.0) as rig, Desk(rig, patience=3) as desk:
        first, second = desk.callbacks.expect("m"), desk.callbacks.expect("m")
        one = asyncio.create_task(desk.callbacks.search.wait_for_task(first, "t1"))
        other = asyncio.create_task(desk.callbacks.search.wait_for_task(second, "t1"))
        assert (await one).task_id == "t1"
        assert await other is None
        assert second.lost


async def test_an_id_the_api_does_not_know_is_no_task():
    """A hint at a task that is not there is given up, and the next one is heard."""

    def script(call):
        now_ms = int((EPOCH.timestamp() + call.at) * 1000)
        if call.task_id == "gone":
            return refused(404)
        return completed(call.task_id, createTime=now_ms - 9000)

    async with Rig(script) as rig, Desk(rig) as desk:
        expected = desk.callbacks.expect("m")
        search = asyncio.create_task(
            desk.callbacks.search.wait_for_task(expected, "gone")
        )
        await asyncio.sleep(15)
        await desk.deliver(expected, "t1")
        assert (await search).task_id == "t1"


async def test_a_late_hint_that_is_not_confirmed_finds_nothing():
    """After our patience, too, only a task that the API knows becomes an orphan."""
    async with Rig(lambda _call: refused(404)) as rig, Desk(rig, patience=1) as desk:
        expected = desk.callbacks.expect("m")
        assert await desk.callbacks.search.wait_for_task(expected, None) is None
        await desk.deliver(expected, "gone")
        await asyncio.sleep(60)
        assert rig.transport.counts["gone"] == 3
        assert desk.found == []


async def test_a_hint_at_another_task_leads_to_the_orders_own():
    """Once the answer has named the task, a body can make us look at no other."""
    async with Rig(done_after(0)) as rig, Desk(rig) as desk:
        expected = desk.callbacks.expect("m")
        entry = rig.watch("t1", expects_callback=True)
        desk.callbacks.answered(expected, entry)
        assert await desk.deliver(expected, "t2")
        await rig.ended(entry)
        assert asyncio.get_running_loop().time() < 1
        assert {call.task_id for call in rig.transport.calls} == {"t1"}


async def test_a_hint_about_a_picture_that_has_come_is_ignored():
    """An order that was answered with the picture itself has no task to look at."""
    async with Rig(done_after(0)) as rig, Desk(rig) as desk:
        expected = desk.callbacks.expect("m")
        desk.callbacks.answered(expected, None)
        assert await desk.deliver(expected, "t1")
        await asyncio.sleep(10)
        assert rig.transport.calls == []


async def test_a_closed_tracker_confirms_nothing():
    """With the tracker gone, a salvaged id is left to whoever attaches it."""
    async with Rig(done_after(0)) as rig, Desk(rig, patience=1) as desk:
        await rig.tracker.aclose()
        assert (
            await desk.callbacks.search.wait_for_task(desk.callbacks.expect("m"), "t1")
            is None
        )


class Failing:
    """A relay whose listening ends with an error, some times."""

    def __init__(self, times):
        self.times = times
        self.opened = 0

    async def publish(self, hint):
        """Take nothing."""
        return False

    def listening(self, take):
        """Be the context manager as well."""
        return self

    async def __aenter__(self):
        self.opened += 1
        if self.opened <= self.times:
            msg = "no broker"
            raise ConnectionError(msg)

    async def __aexit__(self, *_):
        pass


async def test_a_broken_relay_is_opened_again(caplog):
    """Every five seconds, for as long as it takes."""
    relay = Failing(3)
    async with Rig(done_after(0)) as rig, Desk(rig, relay=relay):
        await asyncio.sleep(3 * RELISTEN_S + 1)
        assert relay.opened == 4
        await asyncio.sleep(100)
        assert relay.opened == 4
    assert caplog.text.count("no broker") == 3


async def test_a_relay_that_breaks_at_the_end_is_left_alone():
    """Closing while a relay fails plans nothing for later."""
    relay = Failing(1)
    async with Rig(done_after(0)) as rig:
        desk = Desk(rig, relay=relay)
        desk.start()
        desk.callbacks.give_up()
        await asyncio.sleep(1)
        await desk.callbacks.aclose()
        await asyncio.sleep(RELISTEN_S)
        assert relay.opened == 1
