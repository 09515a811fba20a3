"""
The sender: what is sent again, how long it waits, and what cancelling an order means.
"""

from __future__ import annotations

import asyncio
import itertools
import json

import pytest
from drivers.fakes import FakeClock, FakeTransport, completed, cut, refused, reply
from hypothesis import given
from hypothesis import strategies as st
from virtual_time import run_virtual

from apimodels_async import (
    AuthenticationError,
    BadRequestError,
    ConnectionFailedError,
    InsufficientCreditsError,
    OutcomeUnknownError,
    RateLimitError,
    RetryPolicy,
    ServerError,
    SessionClosedError,
    TransportTimeoutError,
    UnexpectedResponseError,
)
from apimodels_async._api.responses import read_created
from apimodels_async._io.sender import Sender
from apimodels_async._ports import Kind, Phase, Reply, Request

PAID = [Kind.CREATE, Kind.GENERATE]


def request_of(kind):
    """Return a request of one kind."""
    if kind is Kind.FREE:
        return Request(method="GET", path="balance")
    return Request(method="POST", path="images/generations?x=1", kind=kind, body=b"{}")


def read(answer):
    """Read the answer as to a create call."""
    return read_created(answer, "gpt-image-2")


class Desk:
    """
    A sender over a transport that gives the answers of a list, the last for ever.
    """

    def __init__(self, *answers, draw=lambda: 1.0, policy=None, latency=0.0, **more):
        def script(_call):
            return answers[min(len(self.transport.calls), len(answers)) - 1]

        script = more.pop("script", script)
        self.transport = FakeTransport(script, latency=latency, **more)
        self.clock = FakeClock()
        self.sender = Sender(self.transport, self.clock, policy or RetryPolicy(), draw)

    @property
    def sent(self):
        """How many requests were sent."""
        return len(self.transport.calls)

    async def go(self, kind=Kind.CREATE, read=read):
        """Send a request of a kind the way sessions do."""
        if kind.paid:
            return await self.sender.order(request_of(kind), read)
        return await self.sender.call(request_of(kind), read)

    async def error(self, kind=Kind.CREATE):
        """Send a request that fails; return how."""
        try:
            await self.go(kind)
        except Exception as error:  # noqa: BLE001  whatever it is, it is the point
            return error
        pytest.fail("it went through")


OK = completed("t1")


async def test_an_answer_is_read_once():
    """A good answer is returned as read, after one request."""
    desk = Desk(OK)

    assert (await desk.go()).task_id == "t1"
    assert desk.sent == 1
    assert desk.clock.slept == []


# what happened, then for a free / a paid request: how often it is sent, what it ends in
FATES = {
    "not sent": (cut(sent=False), 4, ConnectionFailedError, 4, ConnectionFailedError),
    "connect timeout": (
        cut(sent=False, phase=Phase.CONNECT, timed_out=True),
        4,
        TransportTimeoutError,
        4,
        TransportTimeoutError,
    ),
    "bad certificate": (
        cut(sent=False, phase=Phase.TLS, retryable=False),
        1,
        ConnectionFailedError,
        1,
        ConnectionFailedError,
    ),
    "sent, cut": (cut(), 4, ConnectionFailedError, 1, OutcomeUnknownError),
    "sent, timeout": (
        cut(timed_out=True),
        4,
        TransportTimeoutError,
        1,
        OutcomeUnknownError,
    ),
    "half a body": (
        cut(phase=Phase.BODY, status=200),
        4,
        ConnectionFailedError,
        1,
        OutcomeUnknownError,
    ),
    "400": (refused(400), 1, BadRequestError, 1, BadRequestError),
    "401": (refused(401), 1, AuthenticationError, 1, AuthenticationError),
    "402": (refused(402), 1, InsufficientCreditsError, 1, InsufficientCreditsError),
    "402 in a 200": (
        reply(None, code=402),
        1,
        InsufficientCreditsError,
        1,
        InsufficientCreditsError,
    ),
    "429": (refused(429), 4, RateLimitError, 4, RateLimitError),
    "429 in a 200": (reply(None, code=429), 4, RateLimitError, 4, RateLimitError),
    "429 for hours": (
        refused(429, retry_after="121"),
        1,
        RateLimitError,
        1,
        RateLimitError,
    ),
    "500": (refused(500), 4, ServerError, 1, OutcomeUnknownError),
    "500 in a 200": (reply(None, code=500), 4, ServerError, 1, OutcomeUnknownError),
    "501": (refused(501), 1, ServerError, 1, ServerError),
    "502": (Reply(502, {}, b"<html>"), 4, ServerError, 1, OutcomeUnknownError),
    "503": (refused(503), 4, ServerError, 1, OutcomeUnknownError),
    "524": (Reply(524, {}, b""), 4, ServerError, 1, OutcomeUnknownError),
    "307": (
        Reply(307, {"location": "/x"}, b""),
        1,
        UnexpectedResponseError,
        1,
        OutcomeUnknownError,
    ),
    "junk": (
        Reply(200, {}, b"\xff"),
        1,
        UnexpectedResponseError,
        1,
        OutcomeUnknownError,
    ),
    "empty": (Reply(200, {}, b""), 1, UnexpectedResponseError, 1, OutcomeUnknownError),
}


@pytest.mark.parametrize("fate", FATES.values(), ids=FATES)
@pytest.mark.parametrize("kind", [Kind.FREE, *PAID])
async def test_only_what_may_be_is_sent_again(kind, fate):
    """Free requests are retried if that can help, paid ones only if never taken."""
    answer, free_sends, free_error, paid_sends, paid_error = fate
    desk = Desk(answer, marks=not (hasattr(answer, "sent") and not answer.sent))

    error = await desk.error(kind)

    assert desk.sent == (paid_sends if kind.paid else free_sends)
    assert type(error) is (paid_error if kind.paid else free_error)
    assert error.charged is (
        None if paid_error is OutcomeUnknownError and kind.paid else False
    )
    assert error.status == getattr(answer, "status", None)
    assert error.request.method == ("POST" if kind.paid else "GET")
    assert error.request.path in {"images/generations", "balance"}
    assert (error.request.digest is None) is not kind.paid
    assert desk.sender.unknown == (paid_error is OutcomeUnknownError and kind.paid)


@pytest.mark.parametrize("kind", PAID)
async def test_a_refused_order_goes_through_later(kind):
    """Two 429 and a connection that was never made are repeated, then it succeeds."""
    desk = Desk(refused(429), cut(sent=False), refused(429, retry_after="7"), OK)

    assert (await desk.go(kind)).task_id == "t1"
    assert desk.sent == 4
    assert desk.clock.slept == [0.25, 0.5, 7.25]


async def test_an_upload_is_not_sent_twice_behind_anyones_back():
    """An upload cut after it was sent is not repeated; the error is not about money."""
    desk = Desk(cut())
    error = await desk.error(Kind.UPLOAD)

    assert desk.sent == 1
    assert type(error) is ConnectionFailedError
    assert error.charged is False


async def test_an_unreadable_answer_may_still_name_its_task():
    """The task id in half an answer is saved for attach."""
    body = json.dumps({"code": 200, "data": {"taskId": "clx9", "state": 5}}).encode()
    error = await Desk(Reply(200, {}, body[:-1])).error()

    assert isinstance(error, OutcomeUnknownError)
    assert error.task_id == "clx9"
    assert "attach('clx9')" in str(error)


@given(
    draws=st.lists(st.floats(0, 1), min_size=10, max_size=10),
    attempts=st.integers(1, 10),
    base=st.floats(0.01, 5),
    cap=st.floats(0.01, 20),
)
def test_pauses_stay_within_full_jitter(draws, attempts, base, cap):
    """Pause n is between 0 and min(cap, base * 2**n), and tries are as many as said."""

    async def play():
        source = iter(itertools.cycle(draws))
        policy = RetryPolicy(attempts=attempts, base=base, cap=cap)
        desk = Desk(cut(sent=False), draw=lambda: next(source), policy=policy)
        await desk.error()
        return desk

    desk = run_virtual(play)

    assert desk.sent == attempts
    assert len(desk.clock.slept) == attempts - 1
    for n, pause in enumerate(desk.clock.slept):
        assert 0 <= pause <= min(cap, base * 2**n) * 1.000001


async def test_retries_of_an_outage_are_few():
    """A thousand free calls during an outage make hardly more requests than calls."""
    desk = Desk(cut(sent=False), draw=lambda: 0.0)
    errors = await asyncio.gather(*(desk.error(Kind.FREE) for _ in range(1_000)))

    assert {type(error) for error in errors} == {ConnectionFailedError}
    assert 1_000 < desk.sent <= 1_000 * 1.1 + 10


# --- cancelling and closing -------------------------------------------------------


async def start(desk, after):
    """Start an order and let it run for *after* seconds."""
    caller = asyncio.create_task(desk.go())
    await asyncio.sleep(after)
    return caller


async def cancel(caller):
    """Cancel a caller; it must end cancelled."""
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller


async def test_cancelled_before_it_was_sent_it_never_is():
    """While no header has left, cancelling the caller takes the order back."""
    desk = Desk(OK, latency=5, marks=False)
    await cancel(await start(desk, 1))
    await desk.sender.drain()

    assert desk.sender.orphans == []
    assert desk.sender.under_way == 0
    assert asyncio.get_running_loop().time() == 1


async def test_cancelled_after_it_was_sent_it_goes_on():
    """A sent order is finished for its orphan list; the caller is free at once."""
    seen = []
    desk = Desk(OK, latency=5)
    caller = asyncio.create_task(
        desk.go(read=lambda answer: seen.append(answer) or read(answer))
    )
    await asyncio.sleep(1)
    await cancel(caller)
    assert asyncio.get_running_loop().time() == 1
    assert desk.sender.under_way == 1
    await desk.sender.drain()

    assert [orphan.task_id for orphan in desk.sender.orphans] == ["t1"]
    assert seen == [OK]
    assert desk.sent == 1


async def test_an_orphan_may_be_of_unknown_fate():
    """A cancelled order that then broke is kept as its error; nobody saw it."""
    desk = Desk(cut(), latency=5)
    await cancel(await start(desk, 1))
    await desk.sender.drain()

    [orphan] = desk.sender.orphans
    assert isinstance(orphan, OutcomeUnknownError)
    assert desk.sender.unknown == 1


async def test_a_refused_orphan_is_forgotten():
    """A cancelled order that was refused cost nothing, so nothing is kept."""
    desk = Desk(refused(402), latency=5)
    await cancel(await start(desk, 1))
    await desk.sender.drain()

    assert desk.sender.orphans == []


async def test_cancelled_between_two_tries_it_ends():
    """During a pause no order is at the API, so cancelling ends it for good."""
    desk = Desk(refused(429, retry_after="60"), OK)
    await cancel(await start(desk, 30))
    await desk.sender.drain()

    assert desk.sent == 1
    assert desk.sender.orphans == []
    assert asyncio.get_running_loop().time() == 30


async def test_a_cancellation_that_meets_the_answer_loses_nothing():
    """Cancelled in the very turn its answer arrived, an order is an orphan too."""
    desk = Desk(OK, latency=5)
    caller = await start(desk, 1)
    [runner] = desk.sender._orders
    # Runs after the sender's own callbacks, before the caller wakes up.
    runner.add_done_callback(lambda _: caller.cancel())
    with pytest.raises(asyncio.CancelledError):
        await caller

    assert [orphan.task_id for orphan in desk.sender.orphans] == ["t1"]


async def test_a_cancellation_that_meets_an_abort_is_not_swallowed():
    """A caller cancelled in the turn the session cuts its order ends cancelled."""
    desk = Desk(OK, latency=5)
    caller = await start(desk, 1)
    [runner] = desk.sender._orders
    runner.add_done_callback(lambda _: caller.cancel())
    desk.sender.abort()
    with pytest.raises(asyncio.CancelledError):
        await caller

    [orphan] = desk.sender.orphans
    assert isinstance(orphan, OutcomeUnknownError)


@pytest.mark.parametrize("turns", range(12))
async def test_cancelling_at_any_turn_is_clean(turns):
    """At whatever turn of the loop: never sent, or kept as an orphan."""
    desk = Desk(OK, latency=0.5)
    caller = asyncio.create_task(desk.go())
    for _ in range(turns):
        await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await desk.sender.drain()

    assert len(desk.sender.orphans) == desk.sent


async def test_draining_waits_for_every_order():
    """Draining ends when the last order has its answer, and cuts none."""
    desk = Desk(OK, latency=40)
    callers = [await start(desk, 1) for _ in range(3)]
    await desk.sender.drain()

    assert asyncio.get_running_loop().time() == pytest.approx(42)
    assert [(await caller).task_id for caller in callers] == ["t1"] * 3


async def test_an_order_begun_while_draining_is_waited_for_too():
    """Draining looks again: it returns with no order under way."""
    desk = Desk(OK, latency=40)
    first = await start(desk, 1)
    drained = asyncio.create_task(desk.sender.drain())
    second = await start(desk, 1)
    await drained

    assert first.done()
    assert desk.sender.under_way == 0
    assert (await second).task_id == "t1"


@pytest.mark.parametrize(
    ("marks", "kind", "charged"),
    [(True, OutcomeUnknownError, None), (False, SessionClosedError, False)],
)
async def test_aborting_tells_callers_whether_money_may_be_gone(marks, kind, charged):
    """A cut order is of unknown fate if it was sent, and uncharged if it was not."""
    desk = Desk(OK, latency=40, marks=marks)
    caller = await start(desk, 1)
    desk.sender.abort()
    with pytest.raises(kind) as caught:
        await caller

    assert caught.value.charged is charged
    assert desk.sender.unknown == marks
    assert desk.sender.orphans == []


async def test_aborting_an_orphan_keeps_its_unknown_fate():
    """A cut order whose caller is gone is listed, for money may be gone."""
    desk = Desk(OK, latency=40)
    await cancel(await start(desk, 1))
    desk.sender.abort()
    await desk.sender.drain()

    [orphan] = desk.sender.orphans
    assert isinstance(orphan, OutcomeUnknownError)
    assert "cut when the session closed" in str(orphan)


async def test_a_bug_in_reading_reaches_the_caller():
    """An exception that is none of ours is not taken for an answer of the API."""
    desk = Desk(OK)

    def broken(_answer):
        msg = "a bug"
        raise KeyError(msg)

    with pytest.raises(KeyError):
        await desk.go(read=broken)
