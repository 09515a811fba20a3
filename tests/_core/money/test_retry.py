"""
The decision table: whether to send again, and what a failed request means for money.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cases import check_all

from apimodels_async._api.refusals import read_body
from apimodels_async._core.money.retry import (
    answer_error,
    backoff_ceiling,
    failure_error,
    info_of,
    is_refusal,
    pause_before_retry,
    unknown_error,
)
from apimodels_async._ports import Failure, Kind, Phase, Reply, Request, Sent
from apimodels_async.errors import (
    ApiModelsError,
    APIStatusError,
    ConnectionFailedError,
    GenerationFailedError,
    OutcomeUnknownError,
    RateLimitError,
    RequestInfo,
    ServerError,
    TransportTimeoutError,
    UnexpectedResponseError,
)
from apimodels_async.policies import RetryPolicy

INFO = RequestInfo(
    "POST", "images/generations", "0123456789abcdef", datetime(2026, 11, 23, tzinfo=UTC)
)
POLICY = RetryPolicy(attempts=4, base=0.25, cap=8.0)

# The order was not taken, whoever says so: design.md, "Charged"; reliability.md 3.2.
DEFINITE = {400, 401, 402, 403, 404, 405, 413, 422, 429, 501}
DEFINITE |= {409, 410, 411, 414, 415, 431}
# A free request may be luckier the next time.
PASSING = {408, 409, 425, 429, 500, 502, 503, 504, *range(520, 530)}

FAILURES = [
    Failure(sent, phase, "reset by peer", timed_out, status, retryable)
    for sent, phase, timed_out, status, retryable in itertools.product(
        (True, False), Phase, (True, False), (None, 200, 502), (True, False)
    )
]


def by_status(status):
    """Return the error a reply with *status* stands for."""
    return refusal_of(Reply(status, {}, b'{"code": null, "msg": "no", "data": null}'))


def by_code(code):
    """Return the error a reply with HTTP 200 and a body *code* stands for."""
    return refusal_of(Reply(200, {}, json.dumps({"code": code, "msg": "no"}).encode()))


def refusal_of(reply):
    """Return what reading *reply* raises."""
    with pytest.raises(ApiModelsError) as caught:
        read_body(reply)
    return caught.value


def repeated(kind, trouble):
    """Return whether a request is sent again after its first try."""
    return pause_before_retry(kind, trouble, 1, POLICY, 0.5) is not None


def test_an_error_tells_its_request_and_no_secret():
    """Method, path without its query, digest, when it left, and its nonce."""
    request = Request(
        method="POST",
        path="images/generations?key=1",
        kind=Kind.CREATE,
        body=b"{}",
        nonce="ab",
    )
    digest = hashlib.sha256(b"{}").hexdigest()[:16]
    sent = Sent()
    sent.at = datetime(2026, 11, 23, tzinfo=UTC)

    assert info_of(request, sent) == RequestInfo(
        "POST", "images/generations", digest, sent.at, "ab"
    )
    free = Request(method="GET", path="balance")
    assert info_of(free, Sent()) == RequestInfo("GET", "balance")


# --- requests without a whole answer ------------------------------------------------


@pytest.mark.parametrize("kind", Kind)
def test_a_failure_means_what_its_headers_say(kind):
    """A paid request that left is of unknown fate; any other failed for nothing."""
    for failure in FAILURES:
        error = failure_error(kind, failure, INFO)

        if kind in {Kind.CREATE, Kind.GENERATE} and failure.sent:
            expected = OutcomeUnknownError, None
        elif failure.timed_out:
            expected = TransportTimeoutError, False
        else:
            expected = ConnectionFailedError, False
        assert expected == (type(error), error.charged), failure
        assert (INFO, failure.status) == (error.request, error.status)
        assert f"while {failure.phase.value} (reset by peer)" in str(error)


@pytest.mark.parametrize("kind", Kind)
def test_only_a_free_request_is_repeated_once_its_headers_left(kind):
    """A failed request is repeated if it is a GET, or never left; never after TLS."""
    for failure in FAILURES:
        hopeless = not failure.retryable or failure.phase is Phase.TLS
        expected = not hopeless and (kind is Kind.FREE or not failure.sent)

        assert expected is repeated(kind, failure), failure


def test_a_cut_answer_gives_its_task_id_away():
    """The id shown by a cut answer is on the error, to be attached."""
    failure = Failure(sent=True, phase=Phase.BODY, reason="cut", status=200)
    error = failure_error(Kind.CREATE, failure, INFO, "clx1")

    assert error.task_id == "clx1"
    assert str(error) == (
        "POST images/generations was sent and then failed while reading the answer "
        "(cut). The task may exist: attach('clx1') finds out."
    )


# --- answers that are no success ----------------------------------------------------


@pytest.mark.parametrize("kind", Kind)
def test_each_status_is_definite_or_unknown(kind):
    """Of all statuses, the listed ones refuse a paid request, the rest leave doubt."""
    for status in range(300, 600):
        said = by_status(status)
        error = answer_error(kind, said, INFO, None)

        assert error.request == INFO
        assert status == error.status
        if kind in {Kind.FREE, Kind.UPLOAD} or status in DEFINITE:
            assert said is error
            assert False is error.charged
        else:
            assert OutcomeUnknownError is type(error), status
            assert None is error.charged
            assert said.message in str(error)


@pytest.mark.parametrize("kind", Kind)
def test_each_envelope_code_is_definite_or_unknown(kind):
    """An HTTP 200 whose body has a code means what that code means as a status."""
    for code in [*range(300, 600), 0, -1, 201, 10**9]:
        said = by_code(code)
        error = answer_error(kind, said, INFO, None)

        assert (200, code) == (error.status, error.code)
        if kind in {Kind.FREE, Kind.UPLOAD} or code in DEFINITE:
            assert said is error
        else:
            assert OutcomeUnknownError is type(error), code
            assert None is error.charged


@pytest.mark.parametrize("kind", Kind)
def test_a_status_outweighs_the_code_of_its_body(kind):
    """A 502 stays unknown although its body says 400; so does a 400 that says 502."""
    bad_gateway = refusal_of(Reply(502, {}, b'{"code": 400}'))
    bad_request = refusal_of(Reply(400, {}, b'{"code": 502}'))

    assert not is_refusal(bad_gateway)
    assert is_refusal(bad_request)
    assert (kind is Kind.FREE) is repeated(kind, bad_gateway)
    assert not repeated(kind, bad_request)


@pytest.mark.parametrize("kind", Kind)
def test_only_429_repeats_a_paid_request(kind):
    """Of all statuses and codes, a paid request is repeated after a 429 alone."""
    for number, said in itertools.chain(
        ((status, by_status(status)) for status in range(300, 600)),
        ((code, by_code(code)) for code in range(300, 600)),
    ):
        expected = number == 429 or (kind is Kind.FREE and number in PASSING)
        assert expected is repeated(kind, said), (number, said)


def test_what_is_no_refusal_leaves_a_paid_request_in_doubt():
    """Anything but a definite refusal, read from an answer, means: unknown."""
    cases = [
        UnexpectedResponseError("cut", status=200),
        UnexpectedResponseError("moved", status=307),
        UnexpectedResponseError("a page", status=404),
        APIStatusError("many", status=300, code=404),
        GenerationFailedError("no", status=200),
        APIStatusError("from nowhere"),
        ServerError("from nowhere", code=501),
    ]

    def check(said):
        assert not is_refusal(said)
        assert OutcomeUnknownError is type(answer_error(Kind.CREATE, said, INFO, None))
        for kind in Kind:
            assert not repeated(kind, said)

    check_all(cases, check)


@pytest.mark.parametrize(
    ("own", "salvaged", "expected"),
    [("own", "seen", "own"), (None, "seen", "seen"), (None, None, None)],
)
def test_an_unknown_outcome_names_the_task_it_may_have_made(own, salvaged, expected):
    """The id read from the answer comes first, then the one seen in its bytes."""
    said = UnexpectedResponseError("cut", status=200, task_id=own)
    assert expected == answer_error(Kind.CREATE, said, INFO, salvaged).task_id


@pytest.mark.parametrize(
    ("task_id", "advice"),
    [
        ("clx1", "The task may exist: attach('clx1') finds out."),
        (
            None,
            "It may have been charged: compare balance() before ordering it anew.",
        ),
    ],
)
def test_an_unknown_outcome_never_suggests_a_repeat(task_id, advice):
    """The error says what happened and how to find out, with all its facts."""
    error = unknown_error("it broke", INFO, status=502, code=7, task_id=task_id)

    assert f"it broke. {advice}" == str(error)
    assert (502, 7, task_id, INFO, None) == (
        error.status,
        error.code,
        error.task_id,
        error.request,
        error.charged,
    )


# --- pauses -------------------------------------------------------------------------


def test_a_wish_up_to_two_minutes_is_waited_out():
    """Retry-After is kept, plus jitter, up to 120 s; more is the caller's decision."""
    cases = [
        (0.0, 0.125),
        (5.0, 5.125),
        (119.0, 119.125),
        (120.0, 120.125),
        (120.001, None),
        (121.0, None),
        (1e9, None),
    ]

    def check(wished, expected):
        limited = RateLimitError("slow", retry_after=wished, status=429)
        pauses = {pause_before_retry(kind, limited, 1, POLICY, 0.5) for kind in Kind}
        assert pauses == {expected}

    check_all(cases, check)


@pytest.mark.parametrize(("wished", "expected"), [(5.0, 5.125), (121.0, None)])
def test_a_server_that_is_down_may_wish_too(wished, expected):
    """Retry-After of a 503 is kept like that of a 429, for a free request."""
    down = ServerError("down", retry_after=wished, status=503)

    assert expected == pause_before_retry(Kind.FREE, down, 1, POLICY, 0.5)
    assert None is pause_before_retry(Kind.CREATE, down, 1, POLICY, 0.5)


def test_a_wish_is_kept_in_full():
    """No draw of the jitter makes the pause shorter than what the API asked for."""
    limited = RateLimitError("slow", retry_after=7.0, status=429)
    assert pause_before_retry(Kind.CREATE, limited, 1, POLICY, 0.0) == 7.0


def test_patience_is_for_429_alone():
    """A patient order outlasts any number of them, and of nothing else."""
    limited = RateLimitError("slow", retry_after=500.0, status=429)
    refused = ConnectionFailedError("refused")

    def pause(trouble, *, patient):
        return pause_before_retry(
            Kind.CREATE, trouble, 99, POLICY, 0.0, patient=patient
        )

    assert pause(limited, patient=True) == 500.0
    assert pause(limited, patient=False) is None
    assert pause(refused, patient=True) is None


def test_the_ceiling_doubles_up_to_the_cap():
    """The longest pause doubles with each try until it meets the cap."""
    cases = [
        (1, 0.25),
        (2, 0.5),
        (3, 1.0),
        (4, 2.0),
        (5, 4.0),
        (6, 8.0),
        (7, 8.0),
        (5000, 8.0),
    ]

    def check(attempt, expected):
        assert expected == backoff_ceiling(attempt, POLICY)

    check_all(cases, check)


@given(st.integers(1, 99), st.floats(0, 1))
def test_the_jitter_is_full(attempt, draw):
    """A pause lies between nothing and the ceiling, in proportion to the draw."""
    policy = RetryPolicy(attempts=100)
    pause = pause_before_retry(Kind.FREE, by_status(503), attempt, policy, draw)

    assert 0 <= pause <= min(8.0, 0.25 * 2 ** (attempt - 1))
    assert draw * backoff_ceiling(attempt, policy) == pause


@pytest.mark.parametrize("attempts", [1, 2, 4])
def test_tries_are_counted_with_the_first(attempts):
    """As many tries are made as the policy says, the first included."""
    policy = RetryPolicy(attempts=attempts)
    limited = RateLimitError("slow", status=429)
    pauses = [
        pause_before_retry(Kind.CREATE, limited, attempt, policy, 1.0)
        for attempt in range(1, 6)
    ]

    assert attempts - 1 == len([pause for pause in pauses if pause is not None])
    assert [None] * (6 - attempts) == pauses[attempts - 1 :]


@pytest.mark.parametrize(
    ("kind", "paid"),
    [
        (Kind.FREE, False),
        (Kind.CREATE, True),
        (Kind.GENERATE, True),
        (Kind.UPLOAD, False),
    ],
)
def test_two_kinds_of_request_cost_money(kind, paid):
    """Creating and generating are paid; asking and uploading are not."""
    assert paid is kind.paid
