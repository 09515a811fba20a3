"""Buying: what records, observers, limits and callbacks are told of an order."""

from __future__ import annotations

import asyncio
import contextlib

import attrs
import pytest
from support.desks import OrderingRig, Record
from support.fakes import EPOCH, completed, cut, refused, reply, state
from support.orders import PICTURE as BOUGHT
from support.orders import an_order
from support.virtual_time import virtual_time

from apimodels_async import (
    GenerationFailedError,
    ImageRequest,
    OutcomeUnknownError,
    RateLimitError,
    SessionClosedError,
    Verdict,
)
from apimodels_async._api.requests import group_of
from apimodels_async._core.money.resume import OrderState
from apimodels_async._io.order_limit import LocalLimit
from apimodels_async.errors import RequestInfo
from apimodels_async.handle import read_token
from apimodels_async.webhooks import Callback, Hint

MOOSE = ImageRequest("gpt-image-2", "a moose")
OK = state("t1", "pending")
FAILED = "the generation failed"
PICTURE = reply({"url": "https://files.example/a.png", "credits": 0.05})


anyio_backend = virtual_time


class Observer:
    """An observer that writes down what it is told, and may end with *trouble*."""

    def __init__(self, trouble=None):
        self.told, self.trouble = [], trouble

    @contextlib.contextmanager
    def ordering(self, request, idempotency_key=None):
        """Surround one order."""
        self.told.append((request, idempotency_key))
        yield self.told.append
        if self.trouble:
            raise self.trouble


class Desk(OrderingRig):
    """Ordering with callbacks: POSTs are answered from a list, polls by *poll*."""

    def __init__(self, *answers, poll=completed, observer=None, **more):
        posts = iter(answers)

        def script(call):
            return poll(call.task_id) if call.task_id else next(posts)

        callback = Callback("https://app.example/hooks", patience=60.0)
        observer = observer or Observer()
        super().__init__(script, callback=callback, observer=observer, **more)

    async def __aenter__(self):
        self.callbacks.start(self.ordering.adopt_late)
        return self

    async def __aexit__(self, *error):
        self.callbacks.give_up()
        await self.callbacks.aclose()
        await self.ordering.drain()
        await super().__aexit__(*error)


# --- observers --------------------------------------------------------------------


async def test_an_observer_is_told_of_request_idempotency_key_and_task():
    """It surrounds each order, and is called with the id of its task."""
    async with Desk(OK, state("t2", "pending"), PICTURE) as desk:
        await desk.ordering.submit(MOOSE, Record())
        await desk.ordering.complete(MOOSE, Record())
        await desk.ordering.complete(MOOSE)

        named = (MOOSE, "msg7")
        told = [named, "t1", named, "t2", (MOOSE, None)]
        assert desk.ordering.observer.told == told


@pytest.mark.parametrize("way", ["submit", "complete"])
@pytest.mark.parametrize("answer", [OK, PICTURE], ids=["task", "picture"])
async def test_an_observer_that_breaks_loses_nothing(way, answer):
    """What was bought is an orphan, and its caller gets the observer's error."""
    async with Desk(answer, observer=Observer(KeyError("a bug"))) as desk:
        with pytest.raises(KeyError):
            await getattr(desk.ordering, way)(MOOSE)

        (orphan,) = desk.ordering.take_orphans()
        assert orphan.task_id == ("t1" if answer is OK else None)
        assert desk.ordering.take_orphans() == ()


# --- what is handed over ----------------------------------------------------------


async def test_a_picture_instead_of_a_task_is_a_handle_that_is_done():
    """It has no task to be attached to, and its result at once."""
    async with Desk(PICTURE) as desk:
        handle = await desk.ordering.submit(MOOSE)
        result = await handle

        assert handle.done
        assert (handle.task_id, handle.state) == ("", "completed")
        assert result.url == "https://files.example/a.png"
        assert (desk.counters.submitted, desk.counters.polls) == (1, 0)
        assert str(desk.counters.spent) == "0.05"


async def test_tasks_that_are_done_at_once_are_counted_once_each():
    """Two are two, and one that is taken up again is the same."""
    async with Desk(completed("t1"), completed("t2")) as desk:
        for _ in range(2):
            await desk.ordering.submit(MOOSE)
        assert desk.counters.completed == 2
        await desk.ordering.attach("t1")

        assert desk.counters.completed == 2


async def test_a_task_whose_tracker_has_ended_keeps_its_id():
    """Its handle is given out, and says that nobody follows it any more."""
    async with Desk(OK, latency=5) as desk:
        caller = asyncio.create_task(desk.ordering.submit(MOOSE))
        await asyncio.sleep(1)
        await desk.tracker.aclose()
        handle = await caller

        assert (handle.task_id, handle.done) == ("t1", True)
        with pytest.raises(SessionClosedError) as caught:
            await handle
        assert caught.value.task_ids == ("t1",)


async def test_a_task_is_in_the_state_that_its_order_was_told():
    """Also where that is further than pending, or a word nobody knows."""
    async with Desk(state("t1", "processing"), state("t2", "dreaming")) as desk:
        assert (await desk.ordering.submit(MOOSE)).state == "processing"
        assert (await desk.ordering.submit(MOOSE)).state == "dreaming"


async def test_a_permit_lasts_as_long_as_the_order():
    """With one pending, the next order waits for the end of the task, or the call."""
    answers = (OK, refused(400), completed("t2"), PICTURE, OK)
    async with Desk(*answers, limit=LocalLimit(pending=1)) as desk:
        first = await desk.ordering.submit(MOOSE)
        second = asyncio.create_task(desk.ordering.submit(MOOSE))
        await asyncio.sleep(1)
        assert not second.done()
        await first
        await asyncio.wait([second])
        assert asyncio.get_running_loop().time() == pytest.approx(2.5, abs=0.5)
        assert second.exception() is not None

        done = [await desk.ordering.submit(MOOSE) for _ in range(2)]
        assert all(handle.done for handle in done)
        with pytest.raises(OutcomeUnknownError):  # t1 once more
            await desk.ordering.order(MOOSE)
        assert desk.counters.unknown == 1


class BrokenPermit:
    """A user's permit that cannot be given back."""

    def taken(self):
        """Take note."""

    def throttled(self, retry_after):
        """Take note."""

    def release(self):
        """Fail."""
        raise ConnectionError


class BrokenLimit:
    """A user's limit with such permits."""

    async def acquire(self):
        """Let everybody go."""
        return BrokenPermit()


async def test_a_permit_that_cannot_be_given_back_costs_nothing(caplog):
    """Results of orders and of tasks are handed over, and the tracker lives on."""
    async with Desk(OK, PICTURE, limit=BrokenLimit()) as desk:
        assert (await desk.ordering.complete(MOOSE)).task_id == "t1"
        assert (await desk.ordering.complete(MOOSE)).url
        assert (await desk.ordering.attach("t2")).task_id == "t2"

    shown = [each for each in caplog.records if each.levelname == "WARNING"]
    assert len(shown) == 1


async def test_every_order_of_unknown_fate_is_counted():
    """Two that broke are two, whatever came after them."""
    async with Desk(cut(), cut(), OK) as desk:
        desk.callbacks.give_up()
        for _ in range(2):
            with pytest.raises(OutcomeUnknownError):
                await desk.ordering.submit(MOOSE)
        await desk.ordering.submit(MOOSE)

        assert desk.counters.unknown == 2


async def test_a_caller_cancelled_as_its_order_is_cut_is_cancelled():
    """In one step with the session's end, the caller's own cancellation goes first."""
    async with Desk(OK, latency=40) as desk:
        caller = asyncio.create_task(desk.ordering.submit(MOOSE))
        await asyncio.sleep(1)
        desk.ordering.abort()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller

        await desk.ordering.drain()
        (orphan,) = desk.ordering.take_orphans()
        assert isinstance(orphan, OutcomeUnknownError)


async def test_a_cancelled_caller_that_goes_on_is_told_of_a_cut():
    """A cancellation of long ago that was taken back is not one of this order."""
    async with Desk(OK, latency=40) as desk:

        async def stubborn():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(10)
            return await desk.ordering.submit(MOOSE)

        caller = asyncio.create_task(stubborn())
        await asyncio.sleep(1)
        caller.cancel()
        await asyncio.sleep(1)
        desk.ordering.abort()
        with pytest.raises(OutcomeUnknownError, match="cut when the session") as caught:
            await caller
        assert caught.value.request.path == "images/generations"
        assert caught.value.request.sent_at is not None


async def test_stopping_ends_what_has_not_left_and_nothing_else():
    """An unsent order ends at once and is free; one that is out has its answer."""
    async with Desk(OK, latency=40, marks=False) as desk:
        unsent = asyncio.create_task(desk.ordering.submit(MOOSE))
        await asyncio.sleep(1)
        desk.ordering.stop(SessionClosedError("closed", charged=False))
        with pytest.raises(SessionClosedError, match="before the request was sent"):
            await unsent
        assert asyncio.get_running_loop().time() == 1

    async with Desk(OK, latency=40) as desk:
        out = asyncio.create_task(desk.ordering.submit(MOOSE))
        await asyncio.sleep(1)
        desk.ordering.stop(SessionClosedError("closed", charged=False))
        assert (await out).task_id == "t1"


async def test_draining_takes_no_longer_than_it_may():
    """After so many seconds an order that is out is left under way."""
    async with Desk(OK, latency=40) as desk:
        out = asyncio.create_task(desk.ordering.submit(MOOSE))
        await asyncio.sleep(1)
        await desk.ordering.drain(5)
        assert asyncio.get_running_loop().time() == 6
        assert desk.ordering.under_way == 1
        await desk.ordering.drain(None)
        assert (await out).task_id == "t1"


async def test_a_patient_order_outlasts_any_number_of_429():
    """It is asked again for as long as it takes; any other gives up after four."""
    busy = [refused(429, retry_after="7")] * 9
    async with Desk(*busy, OK) as desk:
        assert (await desk.ordering.order(MOOSE, patient=True)).task_id == "t1"
    async with Desk(*busy, OK) as desk:
        with pytest.raises(RateLimitError):
            await desk.ordering.order(MOOSE)
        assert len(desk.transport.calls) == 4


# --- attaching --------------------------------------------------------------------


async def test_a_task_is_taken_up_with_what_is_known_of_it():
    """By id and model; twice it is one entry, and no order can be told its id."""
    async with Desk(OK) as desk:
        handle = desk.ordering.attach("t1", "gpt-image-2")
        again = desk.ordering.attach("t1")
        assert len(desk.ledger) == 1
        assert (await handle) is (await again)
        assert (handle.task_id, (await handle).model) == ("t1", "gpt-image-2")
        assert asyncio.get_running_loop().time() < 1  # it was asked for at once
        with pytest.raises(OutcomeUnknownError, match="second order") as caught:
            await desk.ordering.submit(MOOSE)
        assert caught.value.request.path == "images/generations"


async def test_a_closed_session_names_the_task_that_is_not_taken_up():
    """What is said of money is nothing then; an order that is not sent is free."""
    async with Desk(OK) as desk:
        desk.ordering.stop(SessionClosedError("closed", charged=False))
        with pytest.raises(SessionClosedError) as caught:
            desk.ordering.attach("t1")
        assert (caught.value.task_id, caught.value.charged) == ("t1", None)
        with pytest.raises(SessionClosedError) as caught:
            await desk.ordering.submit(MOOSE)
        assert (caught.value.task_id, caught.value.charged) == (None, False)


# --- what was ordered before ------------------------------------------------------


def recorded(**facts):
    """Return what a store has of an earlier order."""
    known = an_order(model="gpt-image-2").record(1, EPOCH.timestamp())
    return attrs.evolve(known, **facts)


async def test_what_was_bought_before_is_handed_over_again():
    """Its handle has the task and the model; the record is told who has the result."""
    known = recorded(state=OrderState.COMPLETED, result=BOUGHT, task_id="t1")
    async with Desk() as desk:
        record = Record()
        handle = await desk.ordering.follow(record, known)

        assert (handle.task_id, handle.state) == ("t1", "completed")
        again = await desk.ordering.submit(MOOSE, Record(known))
        assert handle.to_token() == again.to_token()
        assert read_token(handle.to_token()) == ("t1", "gpt-image-2")
        assert record.lines == []
        assert await handle is BOUGHT
        assert record.lines == [("handed over",)]
        assert desk.transport.calls == []


async def test_what_failed_before_says_why_again():
    """In the API's words, if they were written down; and it names the task."""
    for words, said in ("no\x1b[2J people", "no\\x1b[2J people"), (None, FAILED):
        known = recorded(state=OrderState.FAILED, error=words, task_id="t1")
        async with Desk() as desk:
            with pytest.raises(GenerationFailedError) as caught:
                await desk.ordering.take_up(Record(), known)

        error = caught.value
        assert (error.message, error.fail_message, error.task_id) == (said, said, "t1")


async def test_an_old_order_of_unknown_fate_is_not_counted_again():
    """Nothing is sent, and nothing was bought by this session."""
    async with Desk() as desk:
        with pytest.raises(OutcomeUnknownError):
            await desk.ordering.submit(MOOSE, Record(recorded()))

        assert desk.transport.calls == []
        assert desk.counters.unknown == 0


# --- callbacks --------------------------------------------------------------------


async def test_the_address_of_an_order_is_written_down_with_it():
    """The nonce is in the record, in the request, and in what is expected."""
    async with Desk(OK) as desk:
        record = Record()
        await desk.ordering.order(MOOSE, record)

        (expected,) = desk.callbacks._expected.values()
        assert record.lines == [("begin", expected.nonce), ("accepted", "t1")]
        assert expected.model == "gpt-image-2"
        assert expected.record is record
        request = desk.transport.calls[0].request
        assert request.nonce == expected.nonce
        assert desk.callback.address(expected.nonce).encode() in request.body
        assert desk.callbacks.task_of(expected.nonce) == "t1"
        assert desk.ledger.get("t1").expects_callback
        assert desk.ledger.get("t1").group == group_of(MOOSE)
        assert desk.ledger.get("t1").model == "gpt-image-2"


async def test_an_address_of_ones_own_is_left_alone():
    """An order with a callback address of its user's expects none of ours."""
    async with Desk(OK, cut()) as desk:
        own = ImageRequest("gpt-image-2", "a moose", {"callback_url": "https://a.b/c"})
        await desk.ordering.submit(own)

        with pytest.raises(OutcomeUnknownError):
            await desk.ordering.submit(own)
        assert asyncio.get_running_loop().time() < 1  # it was not waited for
        assert not desk.callbacks._expected
        assert desk.transport.calls[0].request.nonce is None
        assert not desk.ledger.get("t1").expects_callback


async def test_a_callback_of_an_earlier_process_finds_its_task():
    """By its nonce alone, and the handle it brings can be awaited."""

    def made(task_id):
        return completed(task_id, createTime=int(EPOCH.timestamp() * 1000))

    async with Desk(poll=made) as desk:
        record, known = Record(), recorded(nonce="ab" * 16, age_s=100.0)
        waiting = asyncio.create_task(desk.ordering.take_up(record, known))
        await asyncio.sleep(1)
        (expected,) = desk.callbacks._expected.values()
        assert (expected.nonce, expected.model) == ("ab" * 16, "gpt-image-2")
        assert (expected.record, expected.sent_since) == (record, -100.0)
        await desk.callback.relay.publish(Hint("ab" * 16, "t9"))

        handle = await waiting
        assert (await handle).task_id == handle.task_id == "t9"
        assert ("accepted", "t9") in record.lines
        assert desk.counters.submitted == 1


async def test_a_lost_order_is_looked_up_by_its_callback_first():
    """Its nonce leads to its task; without a nonce and an id nothing is known."""
    async with Desk(OK, cut()) as desk:
        await desk.ordering.submit(MOOSE)
        (expected,) = desk.callbacks._expected.values()
        request = RequestInfo("POST", "images/generations", nonce=expected.nonce)
        sent = len(desk.transport.calls)

        found = await desk.ordering.lost.look_up(
            OutcomeUnknownError("?", request=request)
        )
        assert (found.verdict, found.reason, found.task_id) == (
            Verdict.FOUND,
            "its callback came",
            "t1",
        )
        assert await desk.ordering.lost.look_up(OutcomeUnknownError("?")) is None
        assert len(desk.transport.calls) == sent


async def test_a_task_that_is_found_late_can_be_awaited():
    """It is an order that counts, and an orphan as good as any handle."""
    async with Desk() as desk:
        record = Record()
        desk.ordering.adopt_late(desk.watch("t1", record=record))

        assert record.lines == [("found", "t1")]
        (orphan,) = desk.ordering.take_orphans()
        assert (await orphan).task_id == "t1"
        assert desk.counters.submitted == 1
