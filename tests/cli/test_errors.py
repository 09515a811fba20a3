"""What an error means to whoever typed the command."""

from __future__ import annotations

from apimodels_async import (
    AuthenticationError,
    GenerationFailedError,
    InvalidRequestError,
    OutcomeUnknownError,
    SessionClosedError,
    TaskNotFoundError,
    TaskTimeoutError,
    TransportError,
)
from apimodels_async.cli.errors import ExitCode, charge, exit_code, next_step


def test_advice_names_the_task_where_there_is_one():
    """An unknown outcome is looked up by its id, or else by the balance."""
    assert "apimodels wait cl1" in next_step(OutcomeUnknownError("x", task_id="cl1"))
    assert "apimodels balance" in next_step(OutcomeUnknownError("x"))
    assert "apimodels wait TASK_ID" in next_step(TaskTimeoutError("x"))
    assert "APIMODELS_API_KEY" in next_step(AuthenticationError("x"))


def test_a_verdict_on_the_key_is_none_on_the_task():
    """A key refused while an ordered task is polled leaves its outcome unknown."""
    error = AuthenticationError("x", task_id="cl1")
    error.charged = None

    assert exit_code(error, ordered=True) == ExitCode.UNKNOWN
    assert exit_code(error) == ExitCode.NO_CREDIT_OR_KEY
    assert "apimodels wait cl1" in next_step(error)
    assert exit_code(AuthenticationError("x"), ordered=True) == 3
    assert "wait" not in next_step(AuthenticationError("x", task_id="cl1"))


def test_what_was_never_sent_is_not_waited_for():
    """An order that its closing session never sent may be given again."""
    unsent = SessionClosedError("x", charged=False)

    assert exit_code(unsent) == ExitCode.FAILED
    assert next_step(unsent) == "nothing was sent: run it again"
    assert exit_code(SessionClosedError("x")) == ExitCode.UNKNOWN


def test_an_order_whose_task_is_gone_can_be_forgotten():
    """Only an order that has an idempotency key has one to be freed."""
    error = TaskNotFoundError("x", task_id="cl1")
    assert "apimodels forget" not in next_step(error)
    error.idempotency_key = "msg17"

    assert next_step(error).endswith("under its idempotency key: apimodels forget")


def test_what_only_asks_says_nothing_of_its_own_cost():
    """A status is free; what became of the task, and of its money, is told."""
    error = TransportError("x", task_id="clx1")
    assert charge(error, orders=True) == "not charged"
    assert charge(error, orders=False) == ""
    assert charge(GenerationFailedError("x"), orders=False) == "not charged"
    assert charge(InvalidRequestError("x"), orders=True) == ""
    error.charged = None

    assert charge(error, orders=True) == "may have been charged"
    assert charge(error, orders=False) == (
        "asking is free, but what was ordered may have been charged"
    )
