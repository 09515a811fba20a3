"""Retries add at most a tenth to the traffic."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from apimodels_async._core.money.retry_budget import RetryBudget


def spent(budget, now, tries):
    """Return how many of *tries* retries the budget affords at *now*."""
    return sum(budget.spend(now) for _ in range(tries))


def test_a_new_session_may_retry_ten_times():
    """The budget starts full."""
    assert spent(RetryBudget(), 0.0, 100) == 10


def test_ten_requests_earn_one_retry():
    """Each request earns a tenth of a retry."""
    budget = RetryBudget()
    spent(budget, 0.0, 100)
    for _ in range(35):
        budget.earn(0.0)

    assert spent(budget, 0.0, 100) == 3


def test_each_second_earns_one_retry_up_to_ten():
    """A quiet session can retry again after a while."""
    budget = RetryBudget()
    spent(budget, 0.0, 100)

    assert spent(budget, 2.5, 100) == 2
    assert spent(budget, 1000.0, 100) == 10


@given(
    st.lists(
        st.tuples(st.sampled_from(["earn", "spend"]), st.floats(-5, 5)), min_size=1
    )
)
def test_retries_never_exceed_what_was_earned(steps):
    """Whatever happens, retries stay below ten, a tenth of all, and one a second."""
    budget, now, requests, retries, passed = RetryBudget(), 0.0, 0, 0, 0.0
    for what, seconds in steps:
        now += seconds  # a clock that jumps back earns nothing
        passed += max(0.0, seconds)
        if what == "earn":
            budget.earn(now)
            requests += 1
        else:
            retries += budget.spend(now)

    assert retries <= 10 + requests / 10 + passed + 1e-9
