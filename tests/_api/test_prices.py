"""What a request is thought to cost, before anything is sent."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from support.cases import check_all

from apimodels_async import (
    ImageRequest,
    InvalidRequestError,
    SparkPixEdit,
    SparkPixImage,
    check_request,
)
from apimodels_async._api.catalogue import known_models
from apimodels_async._api.prices import price_hint, price_of
from apimodels_async.model_info import KnownModel


def dollars(price):
    """Return *price* as the package has it."""
    return None if price is None else Decimal(price)


def known(**prices):
    """Return a model with these prices."""
    table = {tier.replace("_", "/"): Decimal(usd) for tier, usd in prices.items()}
    return KnownModel(id="m", read_on=date(2026, 9, 22), prices=table)


FLAT = known(**{"": "0.01"})
BY_SIZE = known(**{"1K": "0.02", "2k": "0.03", "4K": "0.05"})
BY_BOTH = known(
    **{"1K_low": "0.01", "1K_high": "0.07", "2K_low": "0.02", "2K_high": "0.10"}
)


TIERS = [
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
]
PUBLISHED = [
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
]


def test_a_price_is_the_tiers_or_the_dearest_that_could_be_meant():
    """Tiers are found in any case; what is left open costs the most it can."""

    def check(model, resolution, quality, expected):
        assert dollars(expected) == price_hint(model, resolution, quality)

    check_all(TIERS, check)


def test_the_catalogue_has_the_published_prices():
    """The hints of real models are those of the page, by tier."""

    def check(model, resolution, quality, expected):
        found = price_hint(known_models()[model], resolution, quality)
        assert dollars(expected) == found

    check_all(PUBLISHED, check)


REQUESTS = [
    (SparkPixImage(prompt="a"), "0.01"),
    (SparkPixEdit(prompt="a", images=["https://a.b/c.png"]), "0.013"),
    (ImageRequest("gpt-image-2", "a", {"resolution": "2K"}), "0.03"),
    (ImageRequest("gpt-image-2", "a", {"resolution": "2K", "n": 3}), "0.09"),
    (ImageRequest("gpt-image-2", "a", {"resolution": "2K", "n": "3"}), "0.09"),
    (ImageRequest("gpt-image-2", "a", {"resolution": "2K", "n": -3}), "0.03"),
    (ImageRequest("gpt-image-2", "a"), "0.05"),
    (ImageRequest("gpt-image-2-beta", "a", {"n": 3}), None),
    (ImageRequest("something-new", "a"), None),
    # By either name of the size; by both, or by pixels, whatever may be meant.
    (ImageRequest("gpt-image-2-all", "a", {"size": "2K", "quality": "low"}), "0.025"),
    (
        ImageRequest("gpt-image-2-all", "a", {"size": "960x960", "quality": "low"}),
        "0.06",
    ),
    (
        ImageRequest("gpt-image-2-all", "a", {"size": "4K", "resolution": "1K"}),
        "0.23",
    ),
    # Nobody knows how many layers there will be.
    (
        ImageRequest("doubao-seedream-5-0-flash", "a", {"layer_decomposition": True}),
        None,
    ),
    (
        ImageRequest("doubao-seedream-5-0-flash", "a", {"layer_decomposition": False}),
        "0.03",
    ),
    # Images in any shape, those that are sent unchecked included.
    (
        ImageRequest("kling-v2-1", "a", extra={"image_reference": {"url": "x"}}),
        "0.045",
    ),
    (ImageRequest("kling-v2-1", "a", extra={"image_urls": ["x", "y"]}), "0.074"),
]


def test_a_requests_price_is_the_catalogues():
    """The published hint times the number of pictures; None where there is none."""

    def check(request, expected):
        assert dollars(expected) == price_of(request)

    check_all(REQUESTS, check)


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
