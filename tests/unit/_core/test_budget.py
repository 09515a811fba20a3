"""
What a batch may still spend.
"""

from __future__ import annotations

from decimal import Decimal

import pytest

from apimodels_async._api.catalogue import known_models
from apimodels_async._api.prices import price_hint
from apimodels_async._core.money.budget import Budget
from apimodels_async.errors import (
    BadRequestError,
    GenerationFailedError,
    OutcomeUnknownError,
    TaskTimeoutError,
)
from apimodels_async.models import ImageResult

CENT = Decimal("0.01")


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


@pytest.mark.parametrize(
    ("ended", "spent", "reserved"),
    [
        (result(Decimal("0.02")), "0.02", "0"),
        (result(Decimal(0)), "0", "0"),
        (result(), "0.01", "0"),
        (BadRequestError("no"), "0", "0"),
        (GenerationFailedError("no"), "0", "0"),
        (OutcomeUnknownError("?"), "0", "0.01"),
        (TaskTimeoutError("?"), "0", "0.01"),
    ],
    ids=repr,
)
def test_an_end_says_what_became_of_the_money(ended, spent, reserved):
    """A result spends, a refusal frees, and what may be charged stays reserved."""
    budget = Budget(Decimal(1))
    budget.reserve(CENT)
    budget.settle(CENT, ended)

    assert (Decimal(spent), Decimal(reserved)) == (budget.spent, budget.reserved)


@pytest.mark.parametrize(
    ("model", "resolution", "quality", "expected"),
    [
        ("sparkpix-image", None, None, "0.0100"),
        ("sparkpix-image", "2K", "high", "0.0100"),
        ("gpt-image-2", "2K", None, "0.03"),
        ("gpt-image-2", "2k", None, "0.03"),
        ("gpt-image-2", None, None, "0.05"),
        ("gpt-image-2", "8K", None, "0.05"),
        ("gpt-image-2-all", "2K", "high", "0.10"),
        ("gpt-image-2-all", "2K", None, "0.10"),
        ("gpt-image-2-all", None, "low", "0.06"),
        ("gpt-image-2-all", 2, [], "0.23"),
        ("gpt-image-2-beta", "2K", None, None),
    ],
)
def test_a_price_is_the_tiers_or_the_dearest_that_could_be_meant(
    model, resolution, quality, expected
):
    """A price is that of the tier asked for; where that is open, the highest."""
    price = price_hint(known_models()[model], resolution, quality)
    assert (expected and Decimal(expected)) == price
