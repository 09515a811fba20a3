"""What is refused, and how the refusal reads."""

import pytest

from apimodels_async.emulator.api import checks
from apimodels_async.emulator.service.catalogue import MODELS
from apimodels_async.emulator.service.values import RefusalError

OK = {"prompt": "a fox"}


# Parameters besides the prompt -> words of the refusal.
BAD_IMAGE = [
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
]
GOOD_IMAGE = [
    {},
    {"width": 256, "height": 1440, "aspect_ratio": "custom"},
    {"aspect_ratio": None, "seed": -1, "lora_scale": -1},
    {"lora_weights": "huggingface.co/owner/model"},
    {"lora_weights": "https://huggingface.co/owner/model/file.safetensors"},
    {"nobody": "knows this"},
]
BAD_EDIT = [
    ({"images": "https://example.com/a.jpg"}, "images must be an array of URLs"),
    ({"images": ["https://example.com/a.jpg", 7]}, "images[1] must be an http"),
    ({"images": ["data:image/png;base64,AA=="]}, "images[0]"),
    ({"images": ["https://example.com/a.jpg"] * 9}, "at most 8 input images"),
    ({"aspect_ratio": "custom"}, "match_input_image, 1:1"),
    ({"turbo": "yes"}, "turbo must be true or false"),
]
BAD_GENERATION = [
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
]


def refusals(check, bodies):
    """Return what *check* answers to each body, as status and message."""
    found = []
    for body in bodies:
        with pytest.raises(RefusalError) as caught:
            check(body)
        found.append((caught.value.status, caught.value.msg))
    return found


def unlike(found, words):
    """Return the refusals that are no 400 or lack their words."""
    return {
        word: answer
        for answer, word in zip(found, words, strict=True)
        if answer[0] != 400 or word not in answer[1]
    }


def test_sparkpix_image_refuses():
    """A bad SparkPix Image parameter is named with its value and what is allowed."""
    bodies = [body and {**OK, **body} for body, _ in BAD_IMAGE]
    found = refusals(checks.sparkpix_image, bodies)

    assert unlike(found, [words for _, words in BAD_IMAGE]) == {}


def test_sparkpix_image_accepts():
    """Documented values pass, and so does an unknown field."""
    for body in GOOD_IMAGE:
        checks.sparkpix_image({**OK, **body})


def test_sparkpix_edit_refuses():
    """A bad SparkPix Edit parameter is named."""
    found = refusals(checks.sparkpix_edit, [{**OK, **body} for body, _ in BAD_EDIT])

    assert unlike(found, [words for _, words in BAD_EDIT]) == {}


def test_generation_refuses():
    """A bad parameter of any other model is named."""
    bodies = [{**OK, "model": model, **body} for model, body, _ in BAD_GENERATION]
    found = refusals(
        lambda body: checks.generation(MODELS[body["model"]], body), bodies
    )

    assert unlike(found, [words for *_, words in BAD_GENERATION]) == {}


def test_an_image_sent_under_two_names_counts_once():
    """The same image under several names is one input; order is kept."""
    body = {"image": "A", "image_urls": ["A", "B"], "images": ["C"]}

    assert checks.references(body) == ["A", "B", "C"]
