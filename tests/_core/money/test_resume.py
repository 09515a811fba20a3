"""What an error says of how far its order got."""

from __future__ import annotations

from support.cases import check_all

from apimodels_async._core.money.resume import OrderState, state_after
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
