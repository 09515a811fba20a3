"""
A no that names a task is not a refusal: the order may be that task.
"""

from __future__ import annotations

import json

import pytest
from support.cases import check_all

from apimodels_async._api.refusals import read_body
from apimodels_async._core.money.resume import OrderState, state_after
from apimodels_async._core.money.retry import (
    answer_error,
    disowned,
    pause_before_retry,
)
from apimodels_async._ports import Kind, Reply
from apimodels_async.errors import (
    APIStatusError,
    OutcomeUnknownError,
    RateLimitError,
    RequestInfo,
    UnexpectedResponseError,
)
from apimodels_async.policies import RetryPolicy

INFO = RequestInfo("POST", "images/generations")
ANSWERS = (
    *((200, code, {"taskId": "clx1"}) for code in (400, 402, 409, 422, 429)),
    *((code, code, {"taskId": "clx1"}) for code in (400, 402, 409, 422, 429, 501)),
    (409, 409, [{"task_id": "clx1"}]),
    (200, 409, {"was": {"taskId": "clx1", "state": "pending"}}),
    (409, 409, '{"taskId": "clx1"}'),
)


def said(status, code, data):
    """Return the error that an answer is."""
    body = {"code": code, "msg": "already submitted", "data": data}
    with pytest.raises(APIStatusError) as caught:
        read_body(Reply(status, {}, json.dumps(body).encode()))
    return caught.value


def test_it_is_of_unknown_fate_with_its_id():
    """Whatever the status and wherever the id: not refused, not free, and named."""

    def check(status, code, data):
        error = answer_error(Kind.CREATE, said(status, code, data), INFO, None)
        assert isinstance(error, OutcomeUnknownError)
        assert (error.task_id, error.charged) == ("clx1", None)
        assert "attach('clx1')" in str(error)

    check_all(ANSWERS, check)


def test_it_is_not_sent_again():
    """A 429 that names a task would be a second order."""
    policy = RetryPolicy()
    named, plain = said(429, 429, {"taskId": "clx1"}), said(429, 429, None)
    assert pause_before_retry(Kind.CREATE, named, 1, policy, 0.5) is None
    assert pause_before_retry(Kind.CREATE, plain, 1, policy, 0.5) is not None
    assert pause_before_retry(Kind.FREE, named, 1, policy, 0.5) is not None
    assert isinstance(named, RateLimitError)


def test_a_journal_neither_orders_it_again_nor_takes_it_for_accepted():
    """The next run hands the error over; a cut answer that shows its id is attached."""

    def check(status, code, data):
        error = answer_error(Kind.CREATE, said(status, code, data), INFO, None)
        assert state_after(error, None) is OrderState.UNKNOWN

    check_all(ANSWERS, check)
    cut = OutcomeUnknownError("cut", status=200, task_id="clx1")
    assert state_after(cut, None) is OrderState.ACCEPTED


def test_an_id_of_anothers_is_not_told():
    """Without the id, the error does not send anybody to that task."""
    lost = OutcomeUnknownError("cut", status=200, code=409, task_id="clx1")
    error = disowned(lost, INFO)
    assert (error.task_id, error.charged, error.request) == (None, None, INFO)
    assert (error.status, error.code) == (200, 409)
    assert "about task clx1, which is not this order's" in str(error)
    assert "attach" not in str(error)


def test_what_was_charged_for_sure_is_not_of_unknown_fate():
    """An answer with a picture that is of no use stays what it is, with its raw."""
    error = UnexpectedResponseError("no use", charged=True, raw={"url": 5})
    assert answer_error(Kind.GENERATE, error, INFO, None) is error
    doubtful = UnexpectedResponseError("no picture", raw={"url": None})
    unknown = answer_error(Kind.GENERATE, doubtful, INFO, None)
    assert (type(unknown), unknown.raw) == (OutcomeUnknownError, {"url": None})
