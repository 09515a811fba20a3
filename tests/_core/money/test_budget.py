"""What a batch may still spend."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from support.cases import check_all

from apimodels_async._core.money.budget import Budget
from apimodels_async.errors import (
    BadRequestError,
    GenerationFailedError,
    OutcomeUnknownError,
    TaskTimeoutError,
)
from apimodels_async.models import ImageResult

CENT = Decimal("0.01")
CENTS = st.decimals("0", "1", places=2)


def result(credits_=None):
    """Return a result that cost *credits_*."""
    return ImageResult(urls=("https://a/b",), credits=credits_)


def test_a_limit_is_met_exactly_and_never_passed():
    """Orders are affordable up to the limit itself."""
    budget = Budget(Decimal("0.03"))

    assert [budget.reserve(CENT) for _ in range(4)] == [True, True, True, False]
    assert (Decimal("0.03"), Decimal(0)) == (budget.reserved, budget.left)
    assert Budget(None).left is None
    assert all(Budget(None).reserve(Decimal(10**6)) for _ in range(3))


ENDS = [
    (result(Decimal("0.02")), "0.02", "0"),
    (result(Decimal(0)), "0", "0"),
    (result(), "0.01", "0"),
    (BadRequestError("no"), "0", "0"),
    (GenerationFailedError("no"), "0", "0"),
    (OutcomeUnknownError("?"), "0", "0.01"),
    (TaskTimeoutError("?"), "0", "0.01"),
]


def test_an_end_says_what_became_of_the_money():
    """A result spends, a refusal frees, and what may be charged stays reserved."""

    def check(ended, spent, reserved):
        budget = Budget(Decimal(1))
        budget.reserve(CENT)
        budget.settle(CENT, ended)
        assert (Decimal(spent), Decimal(reserved)) == (budget.spent, budget.reserved)

    check_all(ENDS, check)


def test_a_reservation_becomes_what_the_result_cost():
    """The API's own figure replaces the price."""
    budget = Budget(Decimal(1))
    assert budget.reserve(Decimal("0.30"))
    budget.settle(Decimal("0.30"), result(Decimal("0.25")))
    assert (Decimal("0.25"), Decimal(0)) == (budget.spent, budget.reserved)


@given(
    st.decimals("0", "5", places=2),
    st.lists(
        st.tuples(CENTS, st.sampled_from(["as priced", "cheaper", "no", "unknown"]))
    ),
)
def test_the_limit_is_never_passed(limit, orders):
    """Whatever is reserved and however it ends, no sum of the two passes the limit."""
    budget = Budget(limit)
    for price, end in orders:
        if not budget.reserve(price):
            assert budget.spent + budget.reserved + price > limit
            continue
        assert budget.spent + budget.reserved <= limit
        ends = {
            "as priced": result(None),
            "cheaper": result(price / 2),
            "no": BadRequestError("no"),
            "unknown": OutcomeUnknownError("who knows"),
        }
        budget.settle(price, ends[end])
        assert budget.spent + budget.reserved <= limit
        assert min(budget.spent, budget.reserved) >= 0


@given(st.lists(CENTS), st.randoms())
def test_all_settled_leaves_nothing_reserved(prices, random):
    """Orders that end in any order leave exactly their sum as spent."""
    budget = Budget(None)
    for price in prices:
        assert budget.reserve(price)
    random.shuffle(prices)
    for price in prices:
        budget.settle(price, result(None))
    assert (sum(prices), 0) == (budget.spent, budget.reserved)
