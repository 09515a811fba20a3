"""Buying: what cancelling an order means, and what is told when the session closes."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from types import SimpleNamespace

import attrs
import pytest
from support.desks import OrderingRig, Record
from support.fakes import completed, cut, refused, state
from support.virtual_time import virtual_time
from support.waiting import cancel

from apimodels_async import (
    ImageRequest,
    InsufficientCreditsError,
    JournalError,
    OutcomeUnknownError,
    SessionClosedError,
    TaskHandle,
)
from apimodels_async._api.requests import encode

MOOSE = ImageRequest("gpt-image-2", "a moose")
OK = state("t1", "pending")


anyio_backend = virtual_time


class Desk(OrderingRig):
    """
    Ordering over a transport that answers POSTs from a list, the last for ever.

    Polls find the task pending, until *poll* says otherwise.
    """

    def __init__(self, *answers, poll=None, latency=0.0, **more):
        def script(call):
            if call.request.method == "GET":
                return (poll or state)(call.task_id, "pending")
            # FakeTransport counts requests without a task id by "": the orders.
            return answers[min(call.nth, len(answers)) - 1]

        super().__init__(script, latency=latency, **more)

    @property
    def sent(self):
        """How many orders were sent."""
        return sum(call.request.method == "POST" for call in self.transport.calls)

    @property
    def orphans(self):
        """The ids of the orphans, or the errors they are."""
        return [getattr(each, "task_id", each) for each in self.ordering.orphans]

    async def start(self, after):
        """Start an order and let it run for *after* seconds."""
        caller = asyncio.create_task(self.ordering.submit(MOOSE))
        await asyncio.sleep(after)
        return caller


# --- cancelling -------------------------------------------------------------------


async def test_an_order_after_the_tracker_ended_was_not_sent():
    """It says charged=False and what to attach; a task that is taken up, None."""
    async with Desk(OK) as desk:
        await desk.ordering.submit(MOOSE)
        await desk.tracker.aclose()
        with pytest.raises(SessionClosedError) as order:
            await desk.ordering.submit(MOOSE)
        with pytest.raises(SessionClosedError) as task:
            desk.ordering.attach("t2")

        assert desk.sent == 1
        assert (order.value.charged, order.value.task_ids) == (False, ("t1",))
        assert (task.value.charged, task.value.task_id) == (None, "t2")


async def test_cancelled_before_it_was_sent_it_never_is():
    """While no header has left, cancelling the caller takes the order back."""
    async with Desk(OK, latency=5, marks=False) as desk:
        await cancel(await desk.start(1))
        await desk.ordering.drain()

        assert desk.orphans == []
        assert desk.ordering.under_way == 0
        assert asyncio.get_running_loop().time() == 1


async def test_cancelled_after_it_was_sent_it_goes_on():
    """A sent order is finished and its task kept; the caller is free at once."""
    async with Desk(OK, latency=5) as desk:
        await cancel(await desk.start(1))
        assert asyncio.get_running_loop().time() == 1
        assert desk.ordering.under_way == 1
        await desk.ordering.drain()

        assert desk.orphans == ["t1"]
        assert desk.sent == 1
        assert list(desk.ledger) == ["t1"]


async def test_cancelled_while_it_waits_for_its_task_it_leaves_the_handle():
    """A cancelled generate leaves its task where its caller can find it."""
    async with Desk(OK) as desk:
        caller = asyncio.create_task(desk.ordering.complete(MOOSE))
        await asyncio.sleep(10)
        await cancel(caller)

        assert desk.orphans == ["t1"]


async def test_an_orphan_may_be_of_unknown_fate():
    """A cancelled order that then broke is kept as its error; nobody saw it."""
    async with Desk(cut(), latency=5) as desk:
        await cancel(await desk.start(1))
        await desk.ordering.drain()

        [orphan] = desk.ordering.orphans
        assert isinstance(orphan, OutcomeUnknownError)
        assert desk.counters.unknown == 1


async def test_a_refused_orphan_is_forgotten():
    """A cancelled order that was refused cost nothing, so nothing is kept."""
    async with Desk(refused(402), latency=5) as desk:
        await cancel(await desk.start(1))
        await desk.ordering.drain()

        assert desk.orphans == []


async def test_cancelled_between_two_tries_it_ends():
    """During a pause no order is at the API, so cancelling ends it for good."""
    async with Desk(refused(429, retry_after="60"), OK) as desk:
        await cancel(await desk.start(30))
        await desk.ordering.drain()

        assert desk.sent == 1
        assert desk.orphans == []
        assert asyncio.get_running_loop().time() == 30


async def test_cancelling_at_any_step_is_clean():
    """At whatever step of the loop: never sent, kept as an orphan, or handed over."""
    ends = []
    for steps in range(16):
        async with Desk(OK) as desk:
            caller = asyncio.create_task(desk.ordering.submit(MOOSE))
            for _ in range(steps):
                await asyncio.sleep(0)
            caller.cancel()
            await asyncio.wait([caller])
            await desk.ordering.drain()

            handed = 0 if caller.cancelled() else 1
            assert len(desk.orphans) + handed == desk.sent
            ends.append((desk.sent, handed))
    assert set(ends) == {(0, 0), (1, 0), (1, 1)}


async def test_a_cancellation_that_meets_the_answer_loses_nothing():
    """Cancelled in the very step its answer arrived, an order is an orphan too."""
    async with Desk(OK) as desk:
        accepted = asyncio.Event()
        desk.ordering.observer = Meeting(accepted)
        caller = asyncio.create_task(desk.ordering.complete(MOOSE))
        await accepted.wait()
        await cancel(caller)

        assert desk.orphans == ["t1"]


class Meeting:
    """An observer that tells when an order is accepted."""

    def __init__(self, accepted):
        self.accepted = accepted

    @contextlib.contextmanager
    def ordering(self, request, idempotency_key=None):
        """Surround one order."""
        yield lambda _task_id: self.accepted.set()


# --- what an answer brings --------------------------------------------------------


async def test_two_orders_never_share_a_task():
    """The second order that is told the same task has an unknown outcome, no task."""
    async with Desk(OK) as desk:
        first = await desk.ordering.submit(MOOSE)
        with pytest.raises(OutcomeUnknownError, match="second order") as caught:
            await desk.ordering.submit(MOOSE)

        assert first.task_id == "t1"
        assert caught.value.task_id is None
        assert desk.counters.submitted == 1


async def test_a_task_that_is_done_at_once_is_counted():
    """A create call answered with a finished task counts as completed, and its cost."""
    async with Desk(completed("t1")) as desk:
        handle = await desk.ordering.submit(MOOSE)

        assert handle.done
        assert desk.counters.completed == 1
        assert str(desk.counters.spent) == "0.05"
        assert desk.counters.polls == 0


class SlowRecord(Record):
    """One that takes a second to write, and notes how many orders were sent by then."""

    def __init__(self, desk, trouble=None):
        super().__init__()
        self.desk, self.trouble = desk, trouble

    async def begin(self, _nonce):
        """Begin, or fail."""
        await asyncio.sleep(1)
        if self.trouble:
            raise self.trouble
        self.lines.append(("begin", self.desk.sent))

    async def accepted(self, task_id):
        """Take down the task."""
        await asyncio.sleep(1)
        await super().accepted(task_id)


async def test_an_order_is_recorded_before_it_is_sent_and_before_it_is_handed_over():
    """First the record, then the POST, then the task's id in it, then the handle."""
    async with Desk(OK) as desk:
        record = SlowRecord(desk)
        record.encoded = attrs.evolve(encode(MOOSE), body=b"as its digest was made")
        handle = await desk.ordering.order(MOOSE, record)

        assert handle.task_id == "t1"
        assert desk.transport.calls[0].request.body == record.encoded.body
        assert record.lines == [("begin", 0), ("accepted", "t1")]


async def test_without_a_record_there_is_no_order():
    """An order that cannot be written down is not sent."""
    async with Desk(OK) as desk:
        record = SlowRecord(desk, JournalError("disk full"))
        with pytest.raises(JournalError):
            await desk.ordering.order(MOOSE, record)

        assert desk.sent == 0


async def test_a_session_that_closed_meanwhile_sends_nothing():
    """An order still being written down when the session closes is never sent."""
    async with Desk(OK) as desk:
        ordering = asyncio.create_task(desk.ordering.order(MOOSE, SlowRecord(desk)))
        await asyncio.sleep(0.5)
        desk.ordering.stop(SessionClosedError("closed", charged=False))
        with pytest.raises(SessionClosedError):
            await ordering

        assert desk.sent == 0


# --- closing ----------------------------------------------------------------------


async def test_draining_waits_for_every_order():
    """Draining ends when the last order has its answer, and cuts none."""
    answers = [state(f"t{number}", "pending") for number in range(3)]
    async with Desk(*answers, latency=40) as desk:
        callers = [await desk.start(1) for _ in range(3)]
        await desk.ordering.drain()

        assert asyncio.get_running_loop().time() == pytest.approx(42, abs=1)
        assert all(caller.done() for caller in callers)


async def test_what_its_caller_has_not_heard_is_known_until_the_caller_runs():
    """A loop that stops in between loses no order: it is named, and then no longer."""
    for answer, end in (OK, TaskHandle), (refused(402), InsufficientCreditsError):
        for cancelled in False, True:
            async with Desk(answer) as desk:
                caller, seen = await desk.start(0), []

                def look(_, caller=caller, seen=seen, desk=desk, cancelled=cancelled):
                    seen.extend(desk.ordering.left_open)
                    if cancelled:
                        caller.cancel()

                name = "apimodels-order images/generations"
                (order,) = (x for x in asyncio.all_tasks() if x.get_name() == name)
                order.add_done_callback(look)
                await asyncio.gather(caller, return_exceptions=True)

                assert [type(each) for each in seen] == [end]
                assert desk.ordering.left_open == []
                assert desk.orphans == ["t1"] * (cancelled and answer is OK)


@pytest.mark.parametrize("answer", [OK, refused(402)], ids=["task", "refusal"])
async def test_a_caller_that_leaves_as_its_order_ends_leaves_it_once(answer):
    """Between the order's last step and its callback, too, it is in one place."""
    gate = asyncio.get_running_loop().create_future()
    async with Desk(gated(gate, answer)) as desk:
        caller = await desk.start(1)
        gate.set_result(None)  # the order runs next, then its caller, then its callback
        caller.cancel()
        seen = []
        for _ in range(8):
            await asyncio.sleep(0)
            named = [getattr(each, "task_id", None) for each in desk.ordering.left_open]
            seen.append(sum(each == "t1" for each in (*desk.orphans, *named)))

        assert caller.cancelled()
        assert set(seen) == {int(answer is OK)}
        assert desk.orphans == ["t1"] * (answer is OK)
        assert desk.ordering.left_open == []


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no task is eager before 3.12")
async def test_an_order_that_ends_before_it_is_waited_for_is_let_go():
    """An eager task can end before its caller waits: nothing is kept of it."""
    async with Desk(OK) as desk:
        known = SimpleNamespace(result="its picture")
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        found = await desk.ordering.order(MOOSE, Record(known))
        asyncio.get_running_loop().set_task_factory(None)
        await asyncio.sleep(0.1)

        assert (found, desk.sent) == ("its picture", 0)
        assert desk.ordering.left_open == []


async def gated(gate, answer):
    """Answer once *gate* is open."""
    await gate
    return answer


async def test_who_waits_for_the_last_order_is_called_once():
    """In a later step than its end, or than the call where there is none."""
    async with Desk(OK, state("t2", "pending"), latency=5) as desk:
        loop, told = asyncio.get_running_loop(), []
        first = await desk.start(1)
        desk.ordering.call_when_idle(lambda: told.append(loop.time()))
        await asyncio.sleep(1)
        assert told == []
        await first
        await asyncio.sleep(1)
        assert told == [5]
        await (await desk.start(1))
        assert told == [5]
        desk.ordering.call_when_idle(lambda: told.append(loop.time()))
        assert told == [5]
        await asyncio.sleep(0)
        assert len(told) == 2


async def test_an_order_begun_while_draining_is_waited_for_too():
    """Draining looks again: it returns with no order under way."""
    answers = [state(f"t{number}", "pending") for number in range(2)]
    async with Desk(*answers, latency=40) as desk:
        first = await desk.start(1)
        drained = asyncio.create_task(desk.ordering.drain())
        second = await desk.start(1)
        await drained

        assert first.done()
        assert desk.ordering.under_way == 0
        assert (await second).task_id


async def test_aborting_tells_callers_whether_money_may_be_gone():
    """A cut order is of unknown fate if it was sent, and uncharged if it was not."""
    for marks, kind, charged in (
        (True, OutcomeUnknownError, None),
        (False, SessionClosedError, False),
    ):
        async with Desk(OK, latency=40, marks=marks) as desk:
            caller = await desk.start(1)
            desk.ordering.abort()
            with pytest.raises(kind) as caught:
                await caller

            assert caught.value.charged is charged
            assert desk.counters.unknown == marks
            assert desk.orphans == []


async def test_aborting_keeps_what_was_bought():
    """An order cut while its task's id is written down still hands over the task."""
    async with Desk(OK) as desk:
        caller = asyncio.create_task(desk.ordering.order(MOOSE, SlowRecord(desk)))
        await asyncio.sleep(1.5)
        desk.ordering.abort()

        assert (await caller).task_id == "t1"


async def test_aborting_an_orphan_keeps_its_unknown_fate():
    """A cut order whose caller is gone is listed, for money may be gone."""
    async with Desk(OK, latency=40) as desk:
        await cancel(await desk.start(1))
        desk.ordering.abort()
        await desk.ordering.drain()

        [orphan] = desk.ordering.orphans
        assert isinstance(orphan, OutcomeUnknownError)
        assert "cut when the session closed" in str(orphan)
