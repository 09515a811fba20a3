"""Prices."""

from apimodels_async.emulator.service.catalogue import MODELS, price

# Model, parameters, input images, resolution -> USD.
PRICES = [
    ("sparkpix-image", {}, 0, "1K", "0.0100"),
    ("gpt-image-2", {}, 0, "4K", "0.05"),
    ("gpt-image-2", {"n": 3}, 0, "1K", "0.075"),
    ("gpt-image-2-all", {"quality": "high"}, 0, "2K", "0.10"),
    ("gpt-image-2-all", {"quality": "auto"}, 0, "2K", "0.04"),
    ("gpt-image-2.5-sunburst", {}, 0, "1K", "0.03"),
    ("grok-imagine-image-pro", {}, 0, "4K", "0.12"),
    ("flux-2-klein-4b", {}, 2, "1K", "0.0090"),
    ("qwen3-image", {}, 3, "1K", "0.043"),
]


def test_prices_follow_resolution_quality_and_inputs():
    """A price follows the rate of its resolution and quality, inputs and count."""
    prices = [
        (*row[:4], str(price(MODELS[row[0]], row[1], refs=row[2], tier=row[3])))
        for row in PRICES
    ]

    assert prices == PRICES
