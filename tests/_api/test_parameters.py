"""
What is known of a model's parameters, checked before anything is sent.
"""

from __future__ import annotations

import json
import logging
import numbers
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cases import check_all

from apimodels_async import (
    ImageRequest,
    InvalidRequestError,
    SparkPixEdit,
    SparkPixImage,
    check_request,
    known_models,
)
from apimodels_async._api import checks
from apimodels_async._api.catalogue import known_names, near_models
from apimodels_async._api.parameters import OPTIONS
from apimodels_async._api.prices import price_of
from apimodels_async._api.requests import callback_of, encode, group_of, read_request
from apimodels_async._api.spelling import distance

URL = "https://example.com/a.png"
ALL = "gpt-image-2-all"
BASE64 = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
TYPES = {
    *("text", "whole", "number", "flag", "ratio", "size"),
    *("url", "urls", "image", "images"),
}


class Count(numbers.Integral):
    """A whole number that is no int, as numpy's are."""

    def __init__(self, value):
        self.value = value

    def __int__(self):
        return self.value

    def _none(self, *others):
        raise NotImplementedError

    __abs__ = __add__ = __and__ = __ceil__ = __eq__ = __floor__ = __floordiv__ = _none
    __invert__ = __le__ = __lshift__ = __lt__ = __mod__ = __mul__ = __neg__ = _none
    __or__ = __pos__ = __pow__ = __radd__ = __rand__ = __rfloordiv__ = _none
    __rlshift__ = __rmod__ = __rmul__ = __ror__ = __round__ = __rpow__ = _none
    __rrshift__ = __rshift__ = __rtruediv__ = __rxor__ = __truediv__ = _none
    __trunc__ = __xor__ = _none
    __hash__ = object.__hash__


def numpy_like(found, shape=()):
    """Return what says it is numpy's, without being a number."""
    return type(
        "bool", (), {"__module__": "numpy", "shape": shape, "item": lambda _: found}
    )()


def sent(item):
    """Return the JSON that a batch would send for *item*."""
    return json.loads(encode(read_request(item)).body)


def refusal(item):
    """Return what is said when *item* is refused."""
    with pytest.raises(InvalidRequestError) as caught:
        encode(read_request(item))
    return str(caught.value)


# --- names ------------------------------------------------------------------------


def test_a_misspelt_name_is_refused_with_the_one_that_was_meant():
    """A name no model has, within two edits of one of this model's, is a slip."""
    cases = {
        ("sparkpix-image", "aspect_ratoi"): "aspect_ratio",
        ("sparkpix-image", "promt"): "prompt",
        ("sparkpix-image", "modle"): "model",
        ("sparkpix-image", "extras"): "extra",
        ("sparkpix-image-edit", "trubo"): "turbo",
        ("gpt-image-2", "resolutoin"): "resolution",
        ("gpt-image-2", "callbackurl"): "callback_url",
        ("sparkpix-image", "callbackUrl"): "callback_url",
        ("openai/gpt-image-2", "Quality"): "quality",
        ("kling-v2-1", "image_ulr"): "image_url",
    }

    def check(case, meant):
        model, name = case
        item = {"prompt": "x", "model": model, "images": [URL], name: "1"}
        assert refusal(item) == (
            f"`{name}`: did you mean {meant}? To send it all the same: extra={{...}}"
        )

    check_all(cases.items(), check)


def test_a_slip_in_the_name_of_the_model_is_no_order_of_another():
    """Without it the default model would be paid for."""
    assert "did you mean model?" in refusal({"prompt": "x", "modell": "gpt-image-2"})


def test_an_option_of_ours_is_no_parameter():
    """Sent as one it would do nothing, and be paid for, whatever the model."""
    cases = {
        "idempotency_key": "the items of a batch have name=",
        "idempotencykey": "did you mean idempotency_key?",
        "idempotency": "did you mean idempotency_key?",
        "store": "an option of Session()",
        "timeout": "Session(timeouts=...)",
        "journal": "an option of batch()",
    }

    def check(name, words):
        for model in ({}, {"model": "gpt-image-2"}, {"model": "novelty-9"}):
            told = refusal({"prompt": "x", name: "k", **model})
            assert words in told
            assert "extra={...}" in told

    check_all(cases.items(), check)
    assert not OPTIONS.keys() & known_names()


def test_the_api_key_is_no_parameter():
    """It would be in the body and in the store; so there is no hint how to send it."""
    told = refusal({"prompt": "x", "model": "gpt-image-2", "api_key": "sk_secret"})

    assert "an option of Session()" in told
    assert "extra" not in told
    assert "sk_secret" not in told


def test_other_names_pass_through():
    """What another model has, what is like nothing, all of an unknown model passes."""
    for item in (
        {"prompt": "x", "strength": 0.5},
        {"prompt": "x", "model": "gpt-image-2", "turbo": True, "style_preset": "a"},
        {"prompt": "x", "model": "novelty-9", "aspect_ratoi": "1:1", "sede": 1},
    ):
        assert sent(item) == item
    named = {"prompt": "x", "model": "sparkpix-image", "resolution": "2K"}
    assert sent(named)["resolution"] == "2K"


def test_a_parameter_of_other_models_asks_for_a_model():
    """Where none is named it is no order of SparkPix, which would leave it out."""
    for name, value in (("resolution", "4K"), ("n", 3), ("image_url", URL)):
        with pytest.raises(InvalidRequestError, match="name the model") as caught:
            check_request({"prompt": "x", name: value})
        assert caught.value.parameter == name
        assert sent({"prompt": "x", "extra": {name: value}})[name] == value


@given(st.sampled_from(sorted(known_models())), st.text("adeiorst_", max_size=12))
def test_a_name_is_refused_exactly_within_two_edits(model, name):
    """A name passes if a model has it, or if none of this model's is near."""
    known = known_models()[model]
    own = {*known.params, "prompt", "model", "extra", "callback_url", "callBackUrl"}
    near = name in OPTIONS or any(distance(name, each) <= 2 for each in own)
    near = near and name not in known_names()
    request = ImageRequest(model, "x", {name: None})
    try:
        encode(request)
    except InvalidRequestError as error:
        assert near is str(error).startswith("`")  # noqa: PT017  either way
    else:
        assert not near


# --- values -----------------------------------------------------------------------


def test_a_value_outside_what_is_documented_is_refused():
    """Lists, ranges, types and counts of a known model are checked, by name."""
    cases = [
        ("gpt-image-2", {"resolution": "8K"}, "one of 1K, 2K, 4K"),
        ("gpt-image-2", {"resolution": ["2K"]}, "text"),
        ("gpt-image-2", {"quality": True}, "text"),
        ("gpt-image-2", {"aspect_ratio": "16x9"}, "a ratio such as 16:9, or auto"),
        ("gpt-image-2", {"aspect_ratio": 1.5}, "a ratio"),
        ("gpt-image-2", {"image_urls": URL}, "a list of images"),
        ("gpt-image-2", {"image_urls": [URL] * 17}, "takes at most 16"),
        ("gpt-image-2", {"image_url": {"url": URL}}, "an http(s) URL, a data: URI"),
        (
            "gpt-image-2",
            {"image_url": URL, "image_urls": [f"{URL}{n}" for n in range(16)]},
            "takes at most 16",
        ),
        (ALL, {"quality": "hgih"}, "low, medium, high, auto; did you mean high?"),
        (ALL, {"n": 0}, "a whole number from 1"),
        (ALL, {"n": "4"}, "a whole number from 1"),
        (ALL, {"n": True}, "a whole number from 1"),
        (ALL, {"size": "1024*1024"}, "a size such as 1024x1024"),
        (ALL, {"size": 1024}, "a size such as"),
        (ALL, {"size": "3856x1024"}, "sides of at most 3840 pixels"),
        (ALL, {"size": "1000x1000"}, "multiples of 16"),
        (ALL, {"size": "3200x1024"}, "at most 3:1"),
        (ALL, {"size": "512x512"}, "655360 to 8294400 pixels in all"),
        ("z-image-spicy", {"size": "128x512"}, "sides of at least 256 pixels"),
        ("z-image-spicy", {"width": 1600}, "a whole number from 256 to 1536"),
        ("z-image-spicy", {"seed": 1.5}, "a whole number"),
        ("doubao-seedream-5-0-260128", {"size": "1K"}, "one of 2K, 4K"),
        ("doubao-seedream-5-0-flash", {"layer_decomposition": 1}, "true or false"),
        ("qwen3-image", {"aspect_ratio": "5:4"}, "21:9"),
        ("real-esrgan", {"image": URL, "scale": "2"}, "a number from 1"),
        ("sparkpix-image", {"width": 100}, "256 to 1440"),
        ("sparkpix/sparkpix-image", {"width": 260}, "to 1440, a multiple of 16"),
        ("sparkpix-image", {"aspect_ratio": "21:9"}, "one of custom, 1:1"),
        ("sparkpix-image", {"seed": "42"}, "a whole number"),
    ]

    def check(model, params, words):
        said = refusal({"prompt": "x", "model": model, **params})
        assert words in said
        assert said.endswith(" To send it all the same: extra={...}")

    check_all(cases, check)


def test_prompts_and_images_that_a_model_needs_are_asked_for():
    """A prompt that is too long and an image that is missing are refused."""
    assert "at most 2500 characters" in refusal(ImageRequest("kling-v2", "x" * 2501))
    assert "needs an image" in refusal(ImageRequest("kling-expand", "x"))
    assert "needs an image" in refusal(ImageRequest("real-esrgan"))
    encode(ImageRequest("real-esrgan", extra={"image": "odd"}))


def test_a_flag_makes_the_prompt_optional():
    """Layers are made of one image without a prompt."""
    params = {"image_url": URL, "layer_decomposition": True}
    encode(ImageRequest("doubao-seedream-5-0-flash", None, params))

    assert "prompt" in refusal(ImageRequest("doubao-seedream-5-0-flash"))


def test_allowed_values_pass_unchanged():
    """Whatever is documented, and either spelling of a tier, is sent as it is given."""
    cases = [
        ("gpt-image-2", {"resolution": "2k", "aspect_ratio": "auto"}),
        ("gemini-3.1-flash-image", {"resolution": 512}),
        ("grok-4.2-image", {"size": "1024x1536", "n": 2}),
        (ALL, {"size": "3840x2160", "quality": "auto"}),
        (ALL, {"size": "auto"}),
        ("gpt-image-2", {"quality": "low", "callback_url": URL}),
        ("z-image-spicy", {"size": "256x1536"}),
        ("gpt-image-2", {"resolution": None, "aspect_ratoi": None} | {"n": "2"}),
        ("gemini-3-pro-image", {"image_url": [URL, URL]}),
    ]

    def check(model, params):
        params.pop("aspect_ratoi", None)
        item = {"model": model, "prompt": "x", **params}
        assert sent(item) == {k: v for k, v in item.items() if v is not None}

    check_all(cases, check)


# --- images -----------------------------------------------------------------------


def test_a_local_file_points_to_its_upload():
    """Where a link is expected, a path is refused with the way to make one of it."""
    items = [
        SparkPixEdit(prompt="x", images=["photo.png"]),
        SparkPixEdit(prompt="x", images=[Path("photo.png")]),
        SparkPixEdit(prompt="x", images="photo.png"),
        SparkPixEdit(prompt="x", images=[b"\x89PNG"]),
        {"prompt": "x", "model": "gpt-image-2", "image_urls": ["./photo.png"]},
        {"prompt": "x", "model": "gpt-image-2", "image_urls": [URL, "C:\\a.png"]},
        {"prompt": "x", "model": "gpt-image-2", "image_url": "file:///tmp/photo.png"},
        {"prompt": "x", "model": "gpt-image-2-lite", "mask": "~/mask"},
        {"prompt": "x", "model": "novelty-9", "picture": Path("photo.png")},
    ]

    def check(item):
        assert "session.upload(path)" in refusal(item)

    check_all(items, check)
    assert "session.upload" not in refusal(SparkPixEdit(prompt="x", images=["ftp://x"]))


def test_pictures_may_come_inline_where_the_api_takes_them():
    """``data:`` and base64, wrapped and unpadded too, pass; SparkPix takes URLs."""
    wrapped = "\n".join([BASE64[:20], BASE64[20:], "ab=="])
    for image in (URL, f"data:image/png;base64,{BASE64}", BASE64, wrapped, BASE64 * 99):
        item = {"prompt": "x", "model": "grok-4.2-image", "image": image}
        assert sent(item)["image"] == image
        if image != URL:
            refusal(SparkPixEdit(prompt="x", images=[image]))


# --- extra ------------------------------------------------------------------------


def test_extra_is_sent_as_it_is():
    """Misspelt names and odd values go through unchecked, for every kind of request."""
    odd = {"aspect_ratoi": "16:9", "resolution": "9K", "width": 3}
    for request in (
        SparkPixImage(prompt="x", extra=odd),
        SparkPixEdit(prompt="x", images=[URL], extra=odd),
        SparkPixEdit(prompt="x", images=[], extra={**odd, "images": [BASE64]}),
        ImageRequest("gpt-image-2", "x", extra=odd),
        ImageRequest("gpt-image-2", extra={**odd, "prompt": "x"}),
        {"prompt": "x", "extra": odd},
        {"prompt": "x", "model": "gpt-image-2", "extra": odd},
    ):
        assert sent(request).items() >= {**odd, "prompt": "x"}.items()


def test_extra_is_a_mapping_and_says_nothing_twice():
    """Anything else is refused, and so is a name that was given already."""
    cases = [
        ({"prompt": "x", "extra": "seed=1"}, "a mapping of parameters"),
        ({"prompt": "x", "seed": 1, "extra": {"seed": 2}}, "seed is given twice"),
        ({"prompt": "x", "new": 1, "extra": {"new": 2}}, "new is given twice"),
        ({"prompt": "x", "model": "m", "extra": {"model": "n"}}, "model is given"),
        (ImageRequest("m", "x", {"a": 1}, {"a": 1}), "a is given twice"),
        (ImageRequest("m", "x", extra={"a": object()}), "JSON has no object"),
    ]

    def check(item, words):
        assert words in refusal(item)

    check_all(cases, check)
    assert sent({"prompt": "x", "seed": None, "extra": {"seed": 2}})["seed"] == 2


def test_extra_counts_for_price_group_and_callback():
    """What is sent is what decides, by whatever way it came."""
    extra = {"resolution": "2K", "n": 2, "callback_url": URL}
    request = ImageRequest("gpt-image-2", "x", extra=extra)

    assert check_request(request).price == Decimal("0.06")
    assert group_of(request) == "gpt-image-2 2K"
    assert callback_of(request) == URL


# --- numbers ----------------------------------------------------------------------


def test_numbers_of_every_kind_are_numbers():
    """numpy's, ``Decimal`` and fractions are sent as JSON's own numbers."""
    request = SparkPixImage(
        prompt="x",
        width=Count(512),
        height=Decimal(512),
        seed=Decimal("1E+2"),
        lora_scale=Fraction(1, 2),
        prompt_upsampling=numpy_like(found=True),
        extra={"deep": [{"a": Decimal("0.1"), "b": Count(3)}]},
    )

    assert sent(request) == {
        "prompt": "x",
        "width": 512,
        "height": 512,
        "seed": 100,
        "lora_scale": 0.5,
        "prompt_upsampling": True,
        "deep": [{"a": 0.1, "b": 3}],
    }


def test_numbers_that_json_cannot_hold_are_refused():
    """What is not finite, and arrays, are refused like any other value."""
    decimals = map(Decimal, ("NaN", "sNaN", "Infinity", "1E+999999"))

    def check(value):
        assert "x=" in refusal(SparkPixImage(prompt="x", extra={"x": value}))
        for allowed in (checks.check_count, checks.check_amount):
            with pytest.raises(InvalidRequestError):
                allowed("x", value)

    check_all([*decimals, Fraction(10**400), numpy_like(1, (1,))], check)


def test_counts_and_amounts_may_be_of_any_kind():
    """The numbers of a batch are checked alike."""
    checks.check_count("max_pending", Count(3))
    checks.check_count("start", Decimal(0), least=0)
    checks.check_amount("max_cost", Fraction(1, 2))


def test_a_count_is_priced_as_it_will_be_read():
    """However it is written, so many pictures are paid for; else nothing is known."""
    cases = [
        *((4, "0.10"), ("4", "0.10"), (" 4.0 ", "0.10"), (Decimal(4), "0.10")),
        *((Count(4), "0.10"), (3.2, "0.10"), (None, "0.025"), (0, "0.025")),
        *(("many", None), ([4], None), (float("inf"), None)),
    ]

    def check(count, price):
        request = ImageRequest("gpt-image-2", "x", {"resolution": "1K", "n": count})
        assert price_of(request) == (None if price is None else Decimal(price))

    check_all(cases, check)


def test_input_images_are_priced():
    """A budget knows what each of them costs more, where that was published."""
    more = {"image_urls": [URL, f"{URL}2"]}

    for model, price in (
        ("kling-v2-1", "0.074"),
        ("flux-2-klein-4b", "0.009"),
        ("qwen3-image", "0.043"),
        ("gemini-2.5-flash-image", "0.02"),
    ):
        assert check_request(ImageRequest(model, "x", more)).price == Decimal(price)


# --- models -----------------------------------------------------------------------


def test_an_id_close_to_a_known_one_is_warned_of_once(caplog):
    """It is sent as it is; the log asks once whether another was meant."""
    with caplog.at_level(logging.WARNING, "apimodels_async.models"):
        for _ in range(3):
            assert (
                sent({"prompt": "x", "model": "gpt-imaeg-2"})["model"] == "gpt-imaeg-2"
            )
        encode(ImageRequest("brand-new-model", "x"))
        encode(ImageRequest("gpt-image-2", "x"))

    (record,) = caplog.records
    assert record.getMessage() == (
        "model 'gpt-imaeg-2' is not known (did you mean gpt-image-2?); "
        "it is sent as it is"
    )


def test_the_prefix_of_an_id_is_no_difference():
    """Prefixed ids are compared by what follows."""
    assert near_models("openai/gpt-imge-2") == ["gpt-image-2"]
    assert near_models("openai/gpt-image-2") == []
    assert near_models("x" * 1000) == []


# --- the catalogue ----------------------------------------------------------------


def test_every_parameter_has_type_and_source():
    """The data is sound: types are known, ranges fit, sources are named."""
    sources = {"api page", "vendor page", "vendor code", "public code"}
    for known in known_models().values():
        for name, spec in known.params.items():
            assert name == spec.name
            assert spec.type in TYPES
            assert spec.source in sources
            assert not spec.values or spec.source != "public code"
            assert spec.low is None or spec.high is None or spec.low < spec.high
        assert known.image_field is None or known.image_field in known.params
        assert known.prompt_unless is None or known.prompt_unless in known.params


def test_sparkpix_is_checked_by_what_the_catalogue_says():
    """The two endpoints have the ratios and ranges of the page, and its parameters."""
    image, edit = (
        known_models()["sparkpix-image"],
        known_models()["sparkpix-image-edit"],
    )
    width, scale = image.params["width"], image.params["lora_scale"]
    ratios = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3")

    assert image.params["aspect_ratio"].values == ("custom", *ratios)
    assert edit.params["aspect_ratio"].values == ("match_input_image", *ratios)
    assert (width.low, width.high, width.step) == (256, 1440, 16)
    assert (scale.low, scale.high) == (-1, 3)
    for kind, known in ((SparkPixImage, image), (SparkPixEdit, edit)):
        names = {field.name for field in kind.__attrs_attrs__} - {"prompt", "extra"}
        assert names == known.params.keys()
