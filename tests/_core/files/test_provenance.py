"""What is written down about a picture."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

from support.cases import check_all

from apimodels_async._core.files.provenance import (
    EMBEDDED_BYTES_MAX,
    PROMPT_CHARS_MAX,
    SOFTWARE,
    brief,
    compact,
    describe,
    sidecar,
)
from apimodels_async.models import ImageRequest, ImageResult, SparkPixImage

RESULT = ImageResult(
    urls=("https://a.b/1.png?sig=x#y", "data:image/png;base64,AAAA"),
    task_id="clx1",
    model="gpt-image-2",
    credits=Decimal("0.05"),
    completed_at=datetime(2026, 11, 23, tzinfo=UTC),
)


def test_the_facts_are_those_of_request_and_result():
    """Prompt, model, seed, parameters, id, address, times and credits."""
    request = ImageRequest(
        "gpt-image-2",
        "a fox \N{FOX FACE}",
        {"seed": 7, "resolution": "2K", "image_urls": ("https://a.b/c?token=1",)},
    )

    assert describe(RESULT, request, None, 0) == {
        "prompt": "a fox \N{FOX FACE}",
        "model": "gpt-image-2",
        "seed": 7,
        "params": {"resolution": "2K", "image_urls": ["https://a.b/c"]},
        "task_id": "clx1",
        "url": "https://a.b/1.png",
        "created_at": None,
        "completed_at": "2026-11-23T00:00:00+00:00",
        "credits": "0.05",
        "software": SOFTWARE,
    }


def test_secrets_and_bulk_are_left_out():
    """Callback addresses are not written down, inline pictures only by their size."""
    request = SparkPixImage(
        prompt="a fox",
        callback_url="https://me/?token=1",
        extra={"odd": {1: Decimal(2)}},
    )
    facts = describe(RESULT, request, "sparkpix-image", 1)

    assert facts["params"] == {"odd": {"1": "2"}}
    assert facts["url"] == "data:image/png;base64,... (26 characters)"


def test_only_addresses_lose_what_may_be_secret():
    """A query or fragment is cut off an address, and off nothing else."""

    def check(text, written):
        request = ImageRequest("m", "a fox", {"note": text})
        assert describe(RESULT, request, None, 0)["params"] == {"note": written}

    check_all(
        [
            ("https://a.b/c?d=1?e=2", "https://a.b/c"),
            ("http://a.b/c?d=1#e", "http://a.b/c"),
            ("https://a.b/c#token=1", "https://a.b/c"),
            ("https://a.b/c?d in snow, #2", "https://a.b/c?d in snow, #2"),
            ("what?now#1", "what?now#1"),
            ("data:text/plain,a,b", "data:text/plain,... (19 characters)"),
        ],
        check,
    )


def test_an_unknown_price_is_no_text():
    """What a result without credits cost is written down as not known."""
    free = ImageResult(urls=("https://a.b/1.png",))

    assert describe(free, None, None, 0)["credits"] is None


def test_without_a_request_less_is_known():
    """What was asked for is then empty; a lone surrogate is made readable."""
    facts = describe(RESULT, None, None, 0)

    assert (facts["prompt"], facts["seed"], facts["params"]) == (None, None, {})
    request = ImageRequest("m", "\ud800", {})
    assert describe(RESULT, request, None, 0)["prompt"] == "?"


def test_a_sidecar_is_readable_json():
    """It is indented UTF-8, as people would write it."""
    text = sidecar({"prompt": "a fox \N{FOX FACE}"})

    assert text.decode() == '{\n  "prompt": "a fox \N{FOX FACE}"\n}\n'


def test_a_picture_holds_one_line_of_what_is_known():
    """What goes into a picture is ASCII without empty fields."""
    facts = {"prompt": "\N{FOX FACE}", "seed": None, "params": {}}

    assert json.loads(compact(facts)) == {"prompt": "\N{FOX FACE}"}
    assert compact(facts).isascii()
    assert brief(facts) == facts


def test_a_long_prompt_is_shortened_in_a_picture():
    """It must fit a JPEG segment; the sidecar has all of it."""
    facts = {"prompt": "\N{FOX FACE}" * 9_000, "params": {"x": 1}}
    shown = brief(facts)

    assert shown == {"prompt": "\N{FOX FACE}" * PROMPT_CHARS_MAX, "params": {}}
    assert len(compact(shown)) <= EMBEDDED_BYTES_MAX
    fits = {"prompt": "", "params": {}}
    fits["prompt"] = "x" * (EMBEDDED_BYTES_MAX - len(compact(fits)))
    assert brief(fits) == fits
    assert brief({"prompt": None, "params": {"x": "y" * 50_000}})["prompt"] == ""
