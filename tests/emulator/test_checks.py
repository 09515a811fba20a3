"""What is refused, and how the refusal reads."""

import re

import pytest

from apimodels_async.emulator.api import checks
from apimodels_async.emulator.service import sizes
from apimodels_async.emulator.service.catalogue import MODELS, price
from apimodels_async.emulator.service.values import RefusalError

OK = {"prompt": "a fox"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "prompt is required"),
        ({"prompt": "  "}, "prompt is required"),
        ({"prompt": 7}, "prompt must be a string, got 7"),
        ({"aspect_ratio": "5:4"}, "aspect_ratio must be one of custom, 1:1"),
        ({"aspect_ratio": 1}, "got 1"),
        ({"width": 100}, "width must be an integer between 256 and 1440 and a"),
        ({"width": 1456}, "multiple of 16, got 1456"),
        ({"height": 257}, "got 257"),
        ({"height": True}, "got True"),
        ({"height": 512.0}, "got 512.0"),
        ({"aspect_ratio": "1:1", "width": 512}, 'only when aspect_ratio is "custom"'),
        ({"prompt_upsampling": 1}, "prompt_upsampling must be true or false, got 1"),
        ({"seed": "1"}, "seed must be an integer, got '1'"),
        ({"lora_scale": 4}, "lora_scale must be a number between -1 and 3, got 4"),
        ({"lora_scale": float("nan")}, "got nan"),
        ({"lora_scale": True}, "got True"),
        ({"lora_weights": "example.com/a/b"}, "huggingface.co/<owner>/<model>"),
        ({"callBackUrl": "ftp://x"}, "callBackUrl must be an http or https URL"),
        ({"prompt": ["x" * 200]}, "..."),
    ],
)
def test_sparkpix_image_refuses(body, words):
    """A bad SparkPix Image parameter is named with its value and what is allowed."""
    with pytest.raises(RefusalError, match=re.escape(words)) as caught:
        checks.sparkpix_image(body and {**OK, **body})

    assert caught.value.status == 400


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"width": 256, "height": 1440, "aspect_ratio": "custom"},
        {"aspect_ratio": None, "seed": -1, "lora_scale": -1},
        {"lora_weights": "huggingface.co/owner/model"},
        {"lora_weights": "https://huggingface.co/owner/model/file.safetensors"},
        {"nobody": "knows this"},
    ],
)
def test_sparkpix_image_accepts(body):
    """Documented values pass, and so does an unknown field."""
    checks.sparkpix_image({**OK, **body})


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"images": "https://example.com/a.jpg"}, "images must be an array of URLs"),
        ({"images": ["https://example.com/a.jpg", 7]}, "images[1] must be an http"),
        ({"images": ["data:image/png;base64,AA=="]}, "images[0]"),
        ({"images": ["https://example.com/a.jpg"] * 9}, "at most 8 input images"),
        ({"aspect_ratio": "custom"}, "match_input_image, 1:1"),
        ({"turbo": "yes"}, "turbo must be true or false"),
    ],
)
def test_sparkpix_edit_refuses(body, words):
    """A bad SparkPix Edit parameter is named."""
    with pytest.raises(RefusalError, match=re.escape(words)):
        checks.sparkpix_edit({**OK, **body})


@pytest.mark.parametrize(
    ("model", "body", "words"),
    [
        ("gpt-image-2", {"prompt": ""}, "prompt is required"),
        ("kling-v3", {"prompt": "x" * 2501}, "at most 2500 characters"),
        ("gpt-image-2", {"resolution": "3K"}, "resolution must be one of 512, 1K"),
        ("qwen3-image", {"resolution": "4K"}, "one of 1K, 2K"),
        ("gpt-image-2", {"aspect_ratio": "wide"}, "auto or a ratio"),
        ("gpt-image-2", {"aspect_ratio": "0:1"}, "auto or a ratio"),
        ("gpt-image-2", {"aspect_ratio": "99:1"}, "auto or a ratio"),
        ("gpt-image-2", {"size": "huge"}, "WIDTHxHEIGHT"),
        ("z-image-spicy", {"size": "64x64"}, "256 to 1536"),
        ("z-image-spicy", {"width": 2000}, "between 256 and 1536"),
        ("gpt-image-2-all", {"size": "1000x1000"}, "two multiples of 16"),
        ("gpt-image-2-all", {"size": "256x256"}, "655360"),
        ("gpt-image-2", {"quality": "best"}, "quality must be one of"),
        ("gpt-image-2", {"n": 0}, "between 1 and 10"),
        ("gpt-image-2", {"image_urls": [1]}, "data URI or base64"),
        ("z-image-spicy", {"image_url": "https://x.org/a.png"}, "at most 0 input"),
        ("real-esrgan", {}, "needs an input image"),
    ],
)
def test_generation_refuses(model, body, words):
    """A bad parameter of any other model is named."""
    with pytest.raises(RefusalError, match=re.escape(words)):
        checks.generation(MODELS[model], {**OK, **body})


def test_an_image_sent_under_two_names_counts_once():
    """The same image under several names is one input; order is kept."""
    body = {"image": "A", "image_urls": ["A", "B"], "images": ["C"]}

    assert checks.references(body) == ["A", "B", "C"]


@pytest.mark.parametrize(
    ("params", "sides", "expected"),
    [
        ({}, None, (1024, 1024)),
        ({"aspect_ratio": "16:9"}, None, (1280, 720)),
        ({"aspect_ratio": "3:4"}, None, (864, 1152)),
        ({"aspect_ratio": "16:9", "resolution": "4k"}, None, (3840, 2160)),
        ({"width": 512, "height": 256}, None, (512, 256)),
        ({"width": 512}, None, (512, 512)),
        ({"size": "640x480"}, None, (640, 480)),
        ({"size": "2K"}, None, (2048, 2048)),
        ({"size": "9999x9999"}, None, (4096, 4096)),
        ({}, (400, 300), (1152, 864)),
        ({}, (1000, 999), (1024, 1024)),
        ({"aspect_ratio": "match_input_image"}, (1000, 1), (4096, 64)),
        ({"scale": 4}, (300, 200), (1200, 800)),
    ],
)
def test_sizes_follow_the_request(params, sides, expected):
    """Sides follow width and height, size, scale, ratio and resolution, in order."""
    assert sizes.frame(params, sides) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [("1024x1536", "1K"), ("2048x2048", "2K"), ("3840x2160", "4K"), ("4K", "4K")],
)
def test_tier_follows_the_long_edge(size, expected):
    """The price's resolution word follows the longer side."""
    assert sizes.tier({"size": size}) == expected


@pytest.mark.parametrize(
    ("model", "params", "refs", "tier", "expected"),
    [
        ("sparkpix-image", {}, 0, "1K", "0.0100"),
        ("gpt-image-2", {}, 0, "4K", "0.05"),
        ("gpt-image-2", {"n": 3}, 0, "1K", "0.075"),
        ("gpt-image-2-all", {"quality": "high"}, 0, "2K", "0.10"),
        ("gpt-image-2-all", {"quality": "auto"}, 0, "2K", "0.04"),
        ("gpt-image-2.5-sunburst", {}, 0, "1K", "0.03"),
        ("grok-imagine-image-pro", {}, 0, "4K", "0.12"),
        ("flux-2-klein-4b", {}, 2, "1K", "0.0090"),
        ("qwen3-image", {}, 3, "1K", "0.043"),
    ],
)
def test_prices_follow_resolution_quality_and_inputs(
    model, params, refs, tier, expected
):
    """A price follows the rate of its resolution and quality, inputs and count."""
    assert str(price(MODELS[model], params, refs=refs, tier=tier)) == expected
