"""What a journal's record of an earlier run means for this one."""

from __future__ import annotations

import itertools

from support.cases import check_all

from apimodels_async._core.money.resume import (
    OrderState,
    Record,
    Step,
    next_step,
    state_after,
)
from apimodels_async.errors import (
    AuthenticationError,
    BadRequestError,
    ConnectionFailedError,
    GenerationFailedError,
    OutcomeUnknownError,
    SessionClosedError,
    TaskTimeoutError,
    UnexpectedResponseError,
)

# The record's state, the step, the step with retry_failed, with resubmit_unknown.
STEPS = [
    (None, Step.SUBMIT, Step.SUBMIT, Step.SUBMIT),
    (OrderState.INTENDED, Step.REPLAY, Step.REPLAY, Step.SUBMIT),
    (OrderState.ACCEPTED, Step.ATTACH, Step.ATTACH, Step.ATTACH),
    (OrderState.COMPLETED, Step.REPLAY, Step.REPLAY, Step.REPLAY),
    (OrderState.FAILED, Step.REPLAY, Step.SUBMIT, Step.REPLAY),
    (OrderState.REFUSED, Step.SUBMIT, Step.SUBMIT, Step.SUBMIT),
    (OrderState.UNKNOWN, Step.REPLAY, Step.REPLAY, Step.SUBMIT),
]


def test_what_may_be_paid_for_is_not_ordered_anew():
    """Only what was never taken is sent again, unless the caller asks for more."""

    def check(state, plain, failed, unknown):
        record = state and Record("key", state)
        found = {
            (again, anew): next_step(record, retry_failed=again, resubmit_unknown=anew)
            for again, anew in itertools.product((False, True), repeat=2)
        }
        both = Step.SUBMIT if Step.SUBMIT in {failed, unknown} else plain
        assert [*found.values()] == [plain, unknown, failed, both]

    assert {state for state, *_ in STEPS} == {None, *OrderState}
    check_all(STEPS, check)


def test_what_was_sent_lately_and_has_an_address_may_be_called_back():
    """Of unknown fate, with a nonce, and younger than an hour: worth waiting for."""

    def check(state):
        lost = state in {OrderState.INTENDED, OrderState.UNKNOWN}
        assert Record("k", state, nonce="ab", age_s=3599.0).awaits_callback is lost
        assert not Record("k", state, nonce="ab", age_s=3600.0).awaits_callback
        assert not Record("k", state, age_s=1.0).awaits_callback

    check_all(OrderState, check)


# How an order ended, the task it had been accepted as, the state that is written down.
ENDS = [
    (GenerationFailedError("no", task_id="clx1"), "clx1", OrderState.FAILED),
    (GenerationFailedError("no", task_id="clx1"), None, OrderState.FAILED),
    (AuthenticationError("no", status=401, code=401), "clx1", OrderState.ACCEPTED),
    (TaskTimeoutError("late", task_id="clx1"), "clx1", OrderState.ACCEPTED),
    (TaskTimeoutError("late", task_id="clx1"), None, OrderState.ACCEPTED),
    (OutcomeUnknownError("cut", task_id="clx1"), None, OrderState.ACCEPTED),
    (
        UnexpectedResponseError("no use", task_id="clx1", charged=True),
        None,
        OrderState.ACCEPTED,
    ),
    (
        OutcomeUnknownError("no, see", task_id="clx1", status=409),
        None,
        OrderState.UNKNOWN,
    ),
    (OutcomeUnknownError("cut"), None, OrderState.UNKNOWN),
    (UnexpectedResponseError("no use", charged=True), None, OrderState.UNKNOWN),
    (BadRequestError("no", status=400, code=400), None, OrderState.REFUSED),
    (ConnectionFailedError("nobody"), None, OrderState.REFUSED),
    (SessionClosedError("closed", charged=False), None, OrderState.REFUSED),
    (
        SessionClosedError("closed", charged=False, task_id="clx1"),
        None,
        OrderState.REFUSED,
    ),
]


def test_an_end_is_written_down_as_what_it_means_for_money():
    """Only what is known to be free is failed or refused; a task stays accepted."""

    def check(error, accepted, state):
        assert state_after(error, accepted) is state

    check_all(ENDS, check)
