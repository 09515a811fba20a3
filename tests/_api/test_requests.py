"""What is sent: one function an endpoint, wire names, and nothing unchecked."""

# ruff: noqa: PT017  what a property allows is a value or an error, not one of them

from __future__ import annotations

import json
import math
import types

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.cases import check_all

from apimodels_async._api import calls, requests
from apimodels_async._api.catalogue import known_models
from apimodels_async._api.requests import (
    build_request,
    encode,
    model_of,
    read_request,
)
from apimodels_async._ports import File, Kind, Request
from apimodels_async.errors import InvalidRequestError
from apimodels_async.models import ImageRequest, SparkPixEdit, SparkPixImage

URL = "https://example.com/a.jpg"
HOOK = "https://example.com/hook"
HUGE = 10**5000  # Python refuses to write it
REPLY_MAX = 64 << 20


def sent(request):
    """Return the JSON that *request* is sent as."""
    return json.loads(encode(request).body)


def refused(request):
    """Return the parameter for which *request* is refused."""
    with pytest.raises(InvalidRequestError) as caught:
        encode(request)
    assert str(caught.value).isprintable()
    return caught.value.parameter


# --- SparkPix Image -------------------------------------------------------------


def test_a_prompt_alone_is_sent_alone():
    """Parameters nobody gave are not sent: the API's own defaults hold."""
    expected = Request(
        method="POST",
        path="images/generations-sync",
        kind=Kind.GENERATE,
        body=b'{"prompt":"a fox"}',
        reply_bytes_max=REPLY_MAX,
    )
    assert expected == encode(SparkPixImage(prompt="a fox"))


def test_every_parameter_of_sparkpix_image_has_its_wire_name():
    """Each documented parameter is sent, spelt as the page spells it."""
    request = SparkPixImage(
        prompt="a fox",
        aspect_ratio="custom",
        width=512,
        height=1440,
        prompt_upsampling=False,
        seed=0,
        lora_weights="huggingface.co/owner/model",
        lora_scale=-1,
        callback_url=HOOK,
        extra={"new": [1, None], "left_out": None},
    )
    expected = {
        "prompt": "a fox",
        "aspect_ratio": "custom",
        "width": 512,
        "height": 1440,
        "prompt_upsampling": False,
        "seed": 0,
        "lora_weights": "huggingface.co/owner/model",
        "lora_scale": -1,
        "callBackUrl": HOOK,
        "new": [1, None],
    }
    assert expected == sent(request)


def test_text_is_sent_as_utf_8():
    """A prompt in any script is sent as it is, in UTF-8, without blanks between."""
    body = encode(SparkPixImage(prompt='猫 "🦊"\n')).body
    assert '{"prompt":"猫 \\"🦊\\"\\n"}'.encode() == body


def test_a_value_the_page_does_not_allow_is_refused():
    """Each parameter of SparkPix Image is checked, and the error names it."""
    cases = [
        ({"prompt": " "}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": "\ud800"}, "prompt"),
        ({"aspect_ratio": "2:1"}, "aspect_ratio"),
        ({"aspect_ratio": "match_input_image"}, "aspect_ratio"),
        ({"width": 100}, "width"),
        ({"height": 257}, "height"),
        ({"aspect_ratio": "1:1", "width": 512}, "width"),
        ({"prompt_upsampling": "yes"}, "prompt_upsampling"),
        ({"seed": 1.5}, "seed"),
        ({"lora_weights": "owner/model"}, "lora_weights"),
        ({"lora_scale": 4}, "lora_scale"),
        ({"lora_scale": math.nan}, "lora_scale"),
        ({"callback_url": "example.com"}, "callback_url"),
        ({"extra": {"prompt": "x"}}, "prompt"),
        ({"extra": {"x": math.inf}}, "x"),
        ({"extra": {"x": {"y": b""}}}, "x.y"),
        ({"extra": {5: 1}}, "name"),
        ({"extra": {"\ud800": 1}}, "name"),
    ]

    def check(changes, parameter):
        assert parameter == refused(SparkPixImage(**{"prompt": "a fox", **changes}))

    check_all(cases, check)


@pytest.mark.parametrize("name", ["width", "height"])
def test_a_side_is_256_to_1440_in_steps_of_16(name):
    """Of all sizes, only multiples of 16 from 256 to 1440 pass, for both sides."""
    passed = []
    for side in range(2000):
        request = SparkPixImage(prompt="a fox", aspect_ratio="custom", **{name: side})
        try:
            encode(request)
        except InvalidRequestError as error:
            assert name == error.parameter
            assert "from 256 to 1440, a multiple of 16" in str(error)
        else:
            passed.append(side)

    assert [*range(256, 1441, 16)] == passed


def test_a_size_needs_the_custom_ratio():
    """Width and height go only with the ratio custom, which is the default."""
    for ratio in (None, "custom"):
        encode(SparkPixImage(prompt="a", aspect_ratio=ratio, width=512, height=256))

    with pytest.raises(InvalidRequestError) as caught:
        encode(SparkPixImage(prompt="a", aspect_ratio="16:9", height=512))

    assert str(caught.value).startswith(
        "height=512 is not allowed: only with aspect_ratio='custom', not '16:9'"
    )


def test_a_value_of_another_type_is_refused():
    """Numbers in quotes, truths for numbers, numbers for truths: each is refused."""
    cases = {
        "aspect_ratio": ["", "16:9 ", "16/9", 1, ["1:1"], {}],
        "width": ["512", 512.0, True, HUGE, -256],
        "prompt_upsampling": [0, 1, "true", "", []],
        "seed": [True, 1.0, "1", [1]],
        "lora_scale": [-1.01, 3.01, math.inf, True, "1", [], HUGE],
    }

    def check(name, value):
        assert name == refused(SparkPixImage(**{"prompt": "a fox", name: value}))

    check_all([(name, value) for name in cases for value in cases[name]], check)


def test_what_the_page_allows_passes():
    """Ratios, truths, seeds of any sign and scales from -1 to 3 are sent as given."""
    cases = {
        "aspect_ratio": ["1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3"],
        "prompt_upsampling": [True, False],
        "seed": [0, -1, 42, 2**63, 2**64],
        "lora_scale": [-1, -0.5, 0, 0.5, 3, 3.0],
    }

    def check(name, value):
        assert value == sent(SparkPixImage(**{"prompt": "a fox", name: value}))[name]

    check_all([(name, value) for name in cases for value in cases[name]], check)


@pytest.mark.parametrize(
    "changes", [{"seed": HUGE}, {"extra": {"seeds": [HUGE]}}], ids=["seed", "extra"]
)
def test_a_number_python_cannot_write_is_refused(changes):
    """A whole number of 5,000 digits is refused like any other value."""
    assert refused(SparkPixImage(prompt="a fox", **changes)).startswith("seed")


# --- SparkPix Image Edit --------------------------------------------------------


def test_every_parameter_of_sparkpix_edit_has_its_wire_name():
    """Each documented parameter of the edit endpoint is sent as the page spells it."""
    request = SparkPixEdit(
        prompt="at sunset",
        images=(URL, "http://example.com/b.png"),
        aspect_ratio="match_input_image",
        turbo=False,
        seed=42,
        callback_url=HOOK,
        extra={"new": 1},
    )
    expected = {
        "prompt": "at sunset",
        "images": [URL, "http://example.com/b.png"],
        "aspect_ratio": "match_input_image",
        "turbo": False,
        "seed": 42,
        "callBackUrl": HOOK,
        "new": 1,
    }

    assert expected == sent(request)
    assert encode(request).path == "images/edit"
    assert Kind.GENERATE is encode(request).kind


def test_images_may_come_from_anything_that_yields_them():
    """Images from a generator are all sent: it is read once."""
    images = (f"https://example.com/{number}.png" for number in range(3))

    expected = [f"https://example.com/{number}.png" for number in range(3)]
    assert expected == sent(SparkPixEdit(prompt="fuse", images=images))["images"]


def test_an_edit_the_page_does_not_allow_is_refused():
    """Each parameter of SparkPix Image Edit is checked, and the error names it."""
    cases = [
        ({"prompt": ""}, "prompt"),
        ({"images": ()}, "images"),
        ({"images": None}, "images"),
        ({"images": 5}, "images"),
        ({"images": URL}, "images"),
        ({"images": iter([])}, "images"),
        ({"images": [URL, "a.png"]}, "images[1]"),
        ({"images": [URL, None]}, "images[1]"),
        ({"images": b"https"}, "images[0]"),
        ({"aspect_ratio": "custom"}, "aspect_ratio"),
        ({"turbo": 1}, "turbo"),
        ({"seed": "42"}, "seed"),
        ({"callback_url": "ftp://x"}, "callback_url"),
        ({"extra": {"images": []}}, "images"),
    ]

    def check(changes, parameter):
        request = SparkPixEdit(**{"prompt": "x", "images": [URL], **changes})
        assert parameter == refused(request)

    check_all(cases, check)


# --- any other model --------------------------------------------------------------


def test_a_task_request_is_sent_under_the_apis_names():
    """Model, prompt and parameters are sent as given; None means left out."""
    params = {"resolution": "2K", "n": 2, "callback_url": HOOK, "seed": None}

    expected = Request(
        method="POST",
        path="images/generations",
        kind=Kind.CREATE,
        body=(
            b'{"model":"gpt-image-2","prompt":"a moose","resolution":"2K","n":2,'
            b'"callback_url":"https://example.com/hook"}'
        ),
        reply_bytes_max=REPLY_MAX,
    )
    assert expected == encode(ImageRequest("gpt-image-2", "a moose", params))


@pytest.mark.parametrize("model", ["new-model-2027", "vendor/new-model", "模型"])
def test_an_unknown_model_passes_through(model):
    """A model and parameters we do not know are sent unchanged: the API decides."""
    params = {"magic": {"deep": [True, None, 1.5]}, "image_urls": [URL] * 99}

    expected = {"model": model, "prompt": "x", **params}
    assert expected == sent(ImageRequest(model, "x", params))


@pytest.mark.parametrize("name", sorted(known_models()))
def test_each_known_model_takes_as_many_images_as_published(name):
    """A known model is sent its most images, and one more is refused."""
    known = known_models()[name]
    prompt = "x" if known.prompt else None
    if known.image_field is None:
        assert prompt == sent(ImageRequest(name, prompt))["prompt"]
        return
    most = known.images_max or 50

    full = ImageRequest(name, prompt, {known.image_field: [URL] * most})
    more = ImageRequest(name, prompt, {known.image_field: (URL,) * (most + 1)})

    assert [URL] * most == sent(full)[known.image_field]
    if known.images_max is None:
        assert [URL] * (most + 1) == sent(more)[known.image_field]
    else:
        assert known.image_field == refused(more)


def test_an_upscaler_needs_no_prompt():
    """A model that takes no prompt is sent without one; one that does is refused."""
    assert sent(ImageRequest("real-esrgan", None, {"image": URL})) == {
        "model": "real-esrgan",
        "image": URL,
    }
    assert refused(ImageRequest("gpt-image-2")) == "prompt"
    assert refused(ImageRequest("unheard-of")) == "prompt"
    assert refused(ImageRequest("real-esrgan", " ")) == "prompt"


def test_a_task_request_that_cannot_be_sent_is_refused():
    """What no model can take is refused before it is sent, and named."""
    cases = [
        (ImageRequest("m", ""), "prompt"),
        (ImageRequest("", "x"), "model"),
        (ImageRequest(" ", "x"), "model"),
        (ImageRequest(None, "x"), "model"),
        (ImageRequest(5, "x"), "model"),
        (ImageRequest(["m"], "x"), "model"),
        (ImageRequest("m", "x", {"prompt": "y"}), "prompt"),
        (ImageRequest("m", "x", {"model": "y"}), "model"),
        (ImageRequest("m", "x", {"image_url": ""}), "image_url"),
        (ImageRequest("m", "x", {"image_urls": []}), "image_urls"),
        (ImageRequest("m", "x", {"callback_url": "x"}), "callback_url"),
        (ImageRequest("m", "x", {"a": [{"b": math.nan}]}), "a[0].b"),
        (ImageRequest("m", "x", {"a": types.SimpleNamespace()}), "a"),
        (ImageRequest("m", "x", {1: 2}), "name"),
        ("a fox", "prompt"),
        (None, "prompt"),
        (b"a fox", "prompt"),
    ]

    def check(request_, parameter):
        assert parameter == refused(request_)

    check_all(cases, check)


# --- loose arguments --------------------------------------------------------------


def test_loose_arguments_become_a_request():
    """Prompt, model and parameters are sorted into the request they describe."""
    cases = [
        (("a fox", None, {}), SparkPixImage(prompt="a fox")),
        (
            ("a fox", "sparkpix-image", {"seed": 1, "new": 2}),
            SparkPixImage(prompt="a fox", seed=1, extra={"new": 2}),
        ),
        (
            ("x", "sparkpix-image-edit", {"images": [URL], "turbo": True, "new": 2}),
            SparkPixEdit(prompt="x", images=[URL], turbo=True, extra={"new": 2}),
        ),
        (("x", "sparkpix-image-edit", {}), SparkPixEdit(prompt="x", images=())),
        (("x", "gpt-image-2", {}), ImageRequest("gpt-image-2", "x")),
        (
            (None, "real-esrgan", {"image": URL}),
            ImageRequest("real-esrgan", None, {"image": URL}),
        ),
        (
            ("x", None, {"extra": {"a": 1}}),
            SparkPixImage(prompt="x", extra={"a": 1}),
        ),
        ((None, None, {}), SparkPixImage(prompt="")),
    ]

    def check(arguments, expected):
        assert expected == build_request(*arguments)

    check_all(cases, check)


def test_loose_arguments_that_are_no_text_are_refused():
    """A prompt or model that is no text is refused, and named."""
    cases = [
        ("x", "", "model"),
        ("x", " ", "model"),
        ("x", 5, "model"),
        (5, None, "prompt"),
        (b"x", "m", "prompt"),
        (["x"], "m", "prompt"),
    ]

    def check(prompt, model, parameter):
        with pytest.raises(InvalidRequestError) as caught:
            build_request(prompt, model, {})

        assert parameter == caught.value.parameter

    check_all(cases, check)


def test_the_parameters_given_are_not_kept_alive():
    """A task request has a copy: the caller's mapping may change afterwards."""
    params = {"n": 1}
    request = build_request("x", "m", params)
    params["n"] = 2

    assert request.params == {"n": 1}


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (SparkPixImage(prompt="x"), "sparkpix-image"),
        (SparkPixEdit(prompt="x", images=[URL]), "sparkpix-image-edit"),
        (ImageRequest("grok-4.2-image", "x"), "grok-4.2-image"),
    ],
)
def test_each_request_names_its_model(request_, expected):
    """A request value knows the model id it is for."""
    assert expected == model_of(request_)


def test_an_item_of_a_batch_is_a_prompt_a_mapping_or_a_value():
    """Each of the three forms becomes the request it describes."""
    cases = [
        ("a fox", SparkPixImage(prompt="a fox")),
        ({"prompt": "a fox", "seed": 1}, SparkPixImage(prompt="a fox", seed=1)),
        (
            types.MappingProxyType({"prompt": "x", "model": "m", "n": 1}),
            ImageRequest("m", "x", {"n": 1}),
        ),
        ({}, SparkPixImage(prompt="")),
        (ImageRequest("m"), ImageRequest("m")),
        (
            SparkPixEdit(prompt="x", images=[URL]),
            SparkPixEdit(prompt="x", images=[URL]),
        ),
    ]

    def check(found, expected):
        assert expected == read_request(found)

    check_all(cases, check)


def test_an_item_of_another_kind_is_refused():
    """Anything else is no request."""

    def check(found):
        with pytest.raises(InvalidRequestError) as caught:
            read_request(found)

        assert caught.value.parameter == "request"

    check_all([None, 5, b"a fox", ["a fox"], Exception()], check)


# --- the free endpoints -----------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "path"),
    [
        (requests.poll("clx1"), "images/generations?task_id=clx1"),
        (calls.balance().request, "balance"),
        (calls.models().request, "models"),
    ],
)
def test_a_question_is_a_free_get(request_, path):
    """Questions are GETs without a body, free, and their answers are small."""
    spacing = 2.0 if "task_id" in path else 0.0
    expected = Request(
        method="GET",
        path=path,
        kind=Kind.FREE,
        reply_bytes_max=1 << 20,
        spacing_s=spacing,
    )
    assert expected == request_


def test_a_small_file_is_uploaded_as_form_data():
    """Up to 4 MiB the file itself is sent."""
    file = File("a.png", "image/png", b"x" * (4 << 20))

    expected = Request(method="POST", path="files", kind=Kind.UPLOAD, file=file)
    assert expected == requests.upload(file)


def test_a_large_file_asks_where_to_be_put():
    """Above 4 MiB the API is asked for an address."""
    request = requests.upload(File("a.png", "image/png", b"x" * ((4 << 20) + 1)))

    expected = {"filename": "a.png", "contentType": "image/png", "fileSize": 4194305}
    assert expected == json.loads(request.body)
    assert (request.file, request.kind) == (None, Kind.UPLOAD)


# --- fuzz -------------------------------------------------------------------------

ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.sampled_from(["custom", "1:1", 512, URL, 2**2000, object()]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(), max_size=3) | st.integers(), inner)
    ),
    max_leaves=5,
)
NAMES = st.sampled_from(
    [
        *("aspect_ratio", "width", "height", "prompt_upsampling", "seed", "images"),
        *("lora_weights", "lora_scale", "turbo", "callback_url", "callBackUrl"),
        *("image_url", "extra", "new", "prompt", "model"),
    ]
)


@given(
    ODD | st.just("a fox"),
    ODD | st.sampled_from([None, "sparkpix-image-edit", "gpt-image-2", "real-esrgan"]),
    st.dictionaries(NAMES, ODD),
)
@example("a fox", "gpt-image-2", {"aspect_ratio": {"\x1f": b""}})
def test_any_arguments_are_sent_as_json_or_refused(prompt, model, params):
    """Whatever is asked for is sent as JSON or refused, never anything else."""
    try:
        body = encode(build_request(prompt, model, params)).body
    except InvalidRequestError as error:
        assert str(error).isprintable()
    else:
        assert prompt == json.loads(body).get("prompt")
