"""What an error means to whoever typed the command."""

from __future__ import annotations

from apimodels_async import (
    AuthenticationError,
    OutcomeUnknownError,
    TaskTimeoutError,
)
from apimodels_async.cli.errors import next_step


def test_advice_names_the_task_where_there_is_one():
    """An unknown outcome is looked up by its id, or else by the balance."""
    assert "apimodels wait cl1" in next_step(OutcomeUnknownError("x", task_id="cl1"))
    assert "apimodels balance" in next_step(OutcomeUnknownError("x"))
    assert "apimodels wait TASK_ID" in next_step(TaskTimeoutError("x"))
    assert "APIMODELS_API_KEY" in next_step(AuthenticationError("x"))
