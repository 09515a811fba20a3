"""
Money: what may be spent, what a request is thought to cost, what a balance tells.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apimodels_async import (
    ImageRequest,
    ImageResult,
    InvalidRequestError,
    SparkPixEdit,
    SparkPixImage,
    check_request,
)
from apimodels_async._api.prices import price_hint, price_of
from apimodels_async._core.money.budget import Budget
from apimodels_async._core.money.reconcile import compare_balances
from apimodels_async.errors import BadRequestError, OutcomeUnknownError
from apimodels_async.models import Balance, KnownModel, Verdict

CENTS = st.decimals("0", "1", places=2)


def result(usd):
    """Return a result that cost *usd*."""
    return ImageResult(urls=("https://a.b/c.png",), credits=usd)


def test_a_reservation_becomes_what_the_result_cost():
    """The API's own figure replaces the price."""
    budget = Budget(Decimal(1))
    assert budget.reserve(Decimal("0.30"))
    budget.settle(Decimal("0.30"), result(Decimal("0.25")))
    assert (Decimal("0.25"), Decimal(0)) == (budget.spent, budget.reserved)


def test_a_result_without_credits_costs_its_price():
    """Where the API gives no figure, the price is what was spent."""
    budget = Budget(None)
    assert budget.reserve(Decimal("0.30"))
    budget.settle(Decimal("0.30"), result(None))
    assert (Decimal("0.30"), Decimal(0)) == (budget.spent, budget.reserved)


def test_a_refusal_frees_its_reservation():
    """What was not charged can be spent again."""
    budget = Budget(Decimal("0.30"))
    assert budget.reserve(Decimal("0.30"))
    assert not budget.reserve(Decimal("0.01"))
    budget.settle(Decimal("0.30"), BadRequestError("no"))
    assert budget.reserve(Decimal("0.30"))


def test_an_unknown_outcome_keeps_its_reservation():
    """What may have been charged counts as spent."""
    budget = Budget(Decimal("0.50"))
    assert budget.reserve(Decimal("0.30"))
    budget.settle(Decimal("0.30"), OutcomeUnknownError("who knows"))
    assert not budget.reserve(Decimal("0.30"))
    assert budget.reserve(Decimal("0.20"))


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


def known(**prices):
    """Return a model with these prices."""
    table = {tier.replace("_", "/"): Decimal(usd) for tier, usd in prices.items()}
    return KnownModel(id="m", read_on=date(2026, 9, 22), prices=table)


FLAT = known(**{"": "0.01"})
BY_SIZE = known(**{"1K": "0.02", "2k": "0.03", "4K": "0.05"})
BY_BOTH = known(
    **{"1K_low": "0.01", "1K_high": "0.07", "2K_low": "0.02", "2K_high": "0.10"}
)


@pytest.mark.parametrize(
    ("model", "resolution", "quality", "expected"),
    [
        (known(), None, None, None),
        (FLAT, None, None, "0.01"),
        (FLAT, "2K", "high", "0.01"),
        (BY_SIZE, "1K", None, "0.02"),
        (BY_SIZE, "2K", None, "0.03"),
        (BY_SIZE, "4k", None, "0.05"),
        (BY_SIZE, "2K", "high", "0.03"),
        (BY_SIZE, None, None, "0.05"),
        (BY_SIZE, "8K", None, "0.05"),
        (BY_SIZE, 2, None, "0.05"),
        (BY_BOTH, "1k", "LOW", "0.01"),
        (BY_BOTH, "2K", "low", "0.02"),
        (BY_BOTH, "1K", None, "0.07"),
        (BY_BOTH, None, "low", "0.02"),
        (BY_BOTH, None, None, "0.10"),
        (BY_BOTH, "8K", "low", "0.10"),
    ],
)
def test_the_price_is_the_tier_s_or_the_dearest_that_could_be_meant(
    model, resolution, quality, expected
):
    """Tiers are found in any case; what is left open costs the most it can."""
    wanted = None if expected is None else Decimal(expected)
    assert wanted == price_hint(model, resolution, quality)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (SparkPixImage(prompt="a"), "0.01"),
        (SparkPixEdit(prompt="a", images=["https://a.b/c.png"]), "0.013"),
        (ImageRequest("gpt-image-2", "a", {"resolution": "2K"}), "0.03"),
        (ImageRequest("gpt-image-2", "a", {"resolution": "2K", "n": 3}), "0.09"),
        (ImageRequest("gpt-image-2", "a", {"resolution": "2K", "n": "3"}), "0.09"),
        (ImageRequest("gpt-image-2", "a", {"resolution": "2K", "n": -3}), "0.03"),
        (ImageRequest("gpt-image-2", "a"), "0.05"),
        (ImageRequest("gpt-image-2-beta", "a", {"n": 3}), None),
        (ImageRequest("something-new", "a"), None),
    ],
)
def test_a_request_s_price_is_the_catalogue_s(request_, expected):
    """The published hint times the number of pictures; None where there is none."""
    wanted = None if expected is None else Decimal(expected)
    assert wanted == price_of(request_)


@pytest.mark.parametrize(
    ("item", "kind", "model", "price"),
    [
        ("a fox", SparkPixImage, "sparkpix-image", "0.01"),
        ({"prompt": "a", "seed": 3}, SparkPixImage, "sparkpix-image", "0.01"),
        (
            {"prompt": "a", "model": "gpt-image-2", "resolution": "2K"},
            *(ImageRequest, "gpt-image-2", "0.03"),
        ),
        (ImageRequest("something-new", "a"), ImageRequest, "something-new", None),
    ],
)
def test_a_checked_item_says_what_it_is_and_costs(item, kind, model, price):
    """A prompt, a mapping or a value is read, named and priced without a session."""
    checked = check_request(item)

    assert isinstance(checked.request, kind)
    assert checked.model == model
    assert checked.price == (None if price is None else Decimal(price))


@pytest.mark.parametrize(
    ("item", "parameter"),
    [("", "prompt"), ({"prompt": "a", "width": 100}, "width"), (5, "request")],
)
def test_an_item_that_would_be_refused_is_refused_by_its_check(item, parameter):
    """What is wrong with an item is known without a session, by parameter."""
    with pytest.raises(InvalidRequestError) as caught:
        check_request(item)

    assert caught.value.parameter == parameter


def balance(usd):
    """Return a balance of *usd*."""
    return Balance(balance=Decimal(usd))


@pytest.mark.parametrize(
    ("before", "after", "explained", "pending", "verdict", "word"),
    [
        ("10", "9.99", "0", 0, Verdict.CHARGED, "0.01 USD left the account"),
        ("10", "9.90", "0.09", 0, Verdict.CHARGED, "0.01 USD"),
        ("10", "9.90", "0.10", 0, Verdict.NOT_CHARGED, "has not moved"),
        ("10", "10", "0", 0, Verdict.NOT_CHARGED, "ask again"),
        ("10", "12", "0", 0, Verdict.UNKNOWN, "went up"),
        ("10", "9.99", "0", 2, Verdict.UNKNOWN, "2 other tasks"),
    ],
)
def test_a_balance_tells_what_it_can(before, after, explained, pending, verdict, word):
    """Money that no result explains is the order's; work under way hides it."""
    found = compare_balances(
        balance(before), balance(after), Decimal(explained), pending
    )
    assert verdict is found.verdict
    assert word in found.reason
    assert found.task_id is None
