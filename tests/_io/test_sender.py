"""The sender: what is sent again, and how long it waits."""

from __future__ import annotations

import asyncio
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import FakeClock, FakeTransport, completed, cut, refused, reply
from support.virtual_time import run_virtual, virtual_time

from apimodels_async import (
    AuthenticationError,
    BadRequestError,
    ConnectionFailedError,
    InsufficientCreditsError,
    OutcomeUnknownError,
    RateLimitError,
    RetryPolicy,
    ServerError,
    TransportTimeoutError,
    UnexpectedResponseError,
)
from apimodels_async._api import requests
from apimodels_async._api.calls import Call
from apimodels_async._api.checks import BASE_URL
from apimodels_async._api.refusals import read_body
from apimodels_async._api.responses import read_created
from apimodels_async._io.order_limit import LocalLimit
from apimodels_async._io.sender import Sender
from apimodels_async._ports import Kind, Phase, Reply, Request, Sent

PAID = [Kind.CREATE, Kind.GENERATE]


anyio_backend = virtual_time


def request_of(kind):
    """Return a request of one kind."""
    if kind is Kind.FREE:
        return Request(method="GET", path="balance")
    return Request(method="POST", path="images/generations?x=1", kind=kind, body=b"{}")


def read(answer):
    """Read the answer as to a create call."""
    return read_created(answer, "gpt-image-2")


class Desk:
    """A sender over a transport that gives the answers of a list, the last for ever."""

    def __init__(
        self, *answers, draw=lambda: 1.0, policy=None, latency=0.0, limit=None, **more
    ):
        def script(_call):
            return answers[min(len(self.transport.calls), len(answers)) - 1]

        script = more.pop("script", script)
        self.transport = FakeTransport(script, latency=latency, **more)
        self.clock = FakeClock()
        policy = policy or RetryPolicy()
        limit = limit or LocalLimit()
        self.sender = Sender(self.transport, self.clock, policy, draw, limit, BASE_URL)

    @property
    def sent(self):
        """How many requests were sent."""
        return len(self.transport.calls)

    async def go(self, kind=Kind.CREATE, read=read):
        """Send a request of a kind the way sessions do."""
        call = Call(request_of(kind), read)
        if kind.paid:
            return await self.sender.order(call, Sent())
        return await self.sender.send(call)

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


@pytest.mark.parametrize("kind", PAID)
async def test_a_refused_order_goes_through_later(kind):
    """Two 429 and a connection that was never made are repeated, then it succeeds."""
    desk = Desk(refused(429), cut(sent=False), refused(429, retry_after="7"), OK)

    assert (await desk.go(kind)).task_id == "t1"
    assert desk.sent == 4
    assert desk.clock.slept == [0.25]  # after a 429 it waits for a permit
    assert asyncio.get_running_loop().time() >= 1 + 0.25 + 7


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


async def test_a_cut_answer_may_still_name_its_task():
    """The task id in what had arrived before the connection broke is saved too."""
    desk = Desk(cut(phase=Phase.BODY, status=200, body=b'{"data":{"taskId":"clx9","'))

    assert (await desk.error()).task_id == "clx9"


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


async def test_a_429_is_no_outage():
    """A hundred free calls that are told to wait a moment all go through."""
    desk = Desk(*[refused(429, retry_after="1")] * 100, reply({"balance": 1}))
    calls = (desk.go(Kind.FREE, read=read_body) for _ in range(100))

    answers = await asyncio.gather(*calls)
    assert [answer["data"] for answer in answers] == [{"balance": 1}] * 100
    assert desk.sent == 200


async def test_a_free_call_is_not_out_while_it_waits():
    """Between two tries of a call that costs nothing, none is out."""
    desk = Desk(refused(503, retry_after="60"), OK)
    sent = Sent()
    call = Call(request_of(Kind.FREE), read)
    sending = asyncio.create_task(desk.sender.send(call, sent))
    await asyncio.sleep(1)
    assert sent.at is None
    await sending
    assert sent.at is not None


async def test_the_permit_of_an_order_that_was_taken_is_left_to_the_caller():
    """One that was refused gives its permit back, one that was taken keeps it."""
    desk = Desk(refused(400), OK, limit=LocalLimit(pending=1))
    await desk.error()
    sent = Sent()
    await desk.sender.order(Call(request_of(Kind.CREATE), read), sent)
    another = asyncio.create_task(desk.go())
    await asyncio.sleep(60)
    assert desk.sent == 2
    sent.permit.release()
    await another


class OwnLimit:
    """A user's limit that holds nobody back; one of its methods fails."""

    def __init__(self, broken):
        self.broken = broken

    async def acquire(self):
        self.note("acquire")
        return self

    def taken(self):
        self.note("taken")

    def throttled(self, _retry_after):
        self.note("throttled")

    def release(self):
        self.note("release")

    def note(self, method):
        if method == self.broken:
            msg = "redis is gone"
            raise ConnectionError(msg)


@pytest.mark.parametrize("method", ["taken", "throttled", "release"])
async def test_a_limit_that_fails_after_the_answer_costs_no_order(method, caplog):
    """Orders go through, after the pause that was asked for, with one WARNING."""
    desk = Desk(refused(429, retry_after="7"), OK, limit=OwnLimit(method))
    sent = Sent()
    for _ in range(2):
        call = Call(request_of(Kind.CREATE), read)
        assert (await desk.sender.order(call, sent)).task_id == "t1"
        sent.permit.release()

    assert desk.clock.slept == ([7.25] if method == "throttled" else [])
    shown = [each for each in caplog.records if each.levelname == "WARNING"]
    assert [each.getMessage() for each in shown] == [
        f"the limit's permit failed in {method}(); the order goes on"
    ]
    assert "redis is gone" in caplog.text


async def test_a_limit_that_fails_before_sending_is_heard():
    """What it raises reaches the caller, and nothing is sent."""
    desk = Desk(OK, limit=OwnLimit("acquire"))

    with pytest.raises(ConnectionError, match="redis is gone"):
        await desk.go()
    assert desk.sent == 0


async def test_what_may_have_been_taken_is_known_while_it_is_out():
    """Whoever waits can tell at any moment whether a request is out."""
    desk = Desk(refused(429, retry_after="60"), OK, latency=5)
    sent = Sent()
    call = Call(request_of(Kind.CREATE), read)
    sending = asyncio.create_task(desk.sender.order(call, sent))
    await asyncio.sleep(1)
    assert sent.at is not None
    await asyncio.sleep(10)
    assert sent.at is None
    await sending
    assert sent.at is not None


def broken(_answer):
    """Read an answer with a bug."""
    msg = "a bug"
    raise KeyError(msg)


async def test_a_bug_in_reading_reaches_the_caller():
    """An exception that is none of ours is not taken for an answer of the API."""
    desk = Desk(OK)

    with pytest.raises(KeyError):
        await desk.go(Kind.FREE, read=broken)


async def test_a_bug_in_reading_a_paid_answer_is_an_unknown_outcome():
    """The money is spent all the same, and the task id is saved."""
    desk = Desk(OK)

    with pytest.raises(OutcomeUnknownError) as caught:
        await desk.go(read=broken)

    assert caught.value.task_id == "t1"
    assert caught.value.request.path == "images/generations"
    assert caught.value.message.startswith("POST images/generations was answered")
    assert isinstance(caught.value.__cause__, KeyError)


async def test_a_patient_order_outlasts_any_number_of_429():
    """An order of a batch asks again each 120 s at most, until it goes through."""
    desk = Desk(*[refused(429, retry_after="200")] * 7, OK)
    call = Call(request_of(Kind.CREATE), read)

    assert (await desk.sender.order(call, Sent(), patient=True)).task_id == "t1"
    assert desk.sent == 8
    assert asyncio.get_running_loop().time() == pytest.approx(7 * 120)


@pytest.mark.parametrize("patient", [True, False])
async def test_tries_that_met_a_429_are_not_those_of_a_lost_connection(patient):
    """After three 429 an order that cannot be sent is tried four times, as ever."""
    desk = Desk(*[refused(429)] * 3, *[cut(sent=False)] * 3, OK)
    call = Call(request_of(Kind.CREATE), read)

    assert (await desk.sender.order(call, Sent(), patient=patient)).task_id == "t1"
    assert desk.sent == 7
    assert desk.clock.slept == [0.25, 0.5, 1.0]


async def test_patience_with_429_needs_no_further_attempts():
    """With one attempt a patient order is asked again after a 429, and nothing else."""
    desk = Desk(refused(429), cut(sent=False), policy=RetryPolicy(attempts=1))
    call = Call(request_of(Kind.CREATE), read)

    with pytest.raises(ConnectionFailedError):
        await desk.sender.order(call, Sent(), patient=True)
    assert desk.sent == 2


async def test_a_poll_is_tried_again_after_two_seconds_at_least():
    """No task is asked for more often than the API's page allows, by whomever."""
    desk = Desk(cut(sent=False), completed("t1"))
    request = requests.poll("t1")
    await desk.sender.send(Call(request, lambda answer: answer))

    assert desk.clock.time() == 2.0
