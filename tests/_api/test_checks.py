"""What the API page allows, checked before anything is sent."""

from __future__ import annotations

import math
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cases import check_all

from apimodels_async._api import checks
from apimodels_async.errors import InvalidRequestError

HUGE = 10**5000  # Python refuses to print it


def refused(check, *values):
    """Return the error with which *check* refuses *values*."""
    with pytest.raises(InvalidRequestError) as caught:
        check(*values)
    return caught.value


def test_a_refusal_names_parameter_value_and_what_is_allowed():
    """A refusal says which parameter, which value, in 80 characters, and why."""
    cases = [
        ("neon", "'neon'"),
        ("\x1b[2J", "'\\x1b[2J'"),
        ("x" * 1000, "'" + "x" * 78 + "…"),
        (HUGE, "<int>"),
        ([HUGE], "<list>"),
    ]

    def check(value, shown):
        error = refused(checks.refuse, "style", value, "one of a, b")

        assert f"style={shown} is not allowed: one of a, b" == str(error)
        assert error.parameter == "style"

    check_all(cases, check)


@pytest.mark.parametrize("value", ["a fox", " x ", "猫", "0"])
def test_a_prompt_is_text(value):
    """A text with something in it is a prompt."""
    checks.check_prompt(value)


def test_a_prompt_that_is_refused_is_not_repeated():
    """Errors end up in logs, and no log has a prompt."""
    said = str(refused(checks.refuse, "prompt", "a secret fox", "anything"))

    assert said == "prompt=12 characters is not allowed: anything"


def test_a_prompt_is_not_empty():
    """Anything but a text with something in it is no prompt."""

    def check(value):
        assert refused(checks.check_prompt, value).parameter == "prompt"

    check_all(["", " \t\n\u3000", None, 5, b"fox", ["fox"], True], check)


def test_a_model_is_named_by_text():
    """Any text that is not blank can be a model id; anything else is refused."""

    def check(value):
        assert refused(checks.check_model, value).parameter == "model"
        assert checks.check_model("vendor/model 2") == "vendor/model 2"

    check_all(["", " ", None, 5, ["m"]], check)


@pytest.mark.parametrize("value", [None, 5, b"a", "\ud800"])
def test_a_name_is_text(value):
    """A parameter's name is any text that UTF-8 can write."""
    assert refused(checks.check_name, value).parameter == "name"
    checks.check_name("naïve 🦊")


def test_a_whole_number_is_an_int():
    """Whole numbers of any sign pass: the page gives the seed no range."""

    def check(value):
        checks.check_whole("seed", value)

    check_all([None, 0, -1, 42, 2**63, 2**64], check)


def test_a_truth_or_a_fraction_is_no_whole_number():
    """True, 1.0 and "1" are refused as whole numbers; so is one beyond printing."""

    def check(value):
        assert refused(checks.check_whole, "seed", value).parameter == "seed"

    check_all([True, False, 1.0, "1", [1], HUGE], check)


@pytest.mark.parametrize(
    "weights",
    [
        None,
        "huggingface.co/owner/model",
        "huggingface.co/o-w.n_er/m.o-del/file.safetensors",
        "huggingface.co/owner/model/sub/file.safetensors",
    ],
)
def test_lora_weights_are_named_by_their_path(weights):
    """A Hugging Face path with or without a file names LoRA weights."""
    checks.check_lora(weights)


def test_other_lora_weights_are_refused():
    """Anything but the documented form is refused."""
    cases = [
        "",
        5,
        "owner/model",
        "https://huggingface.co/owner/model",
        "huggingface.co/owner",
        "huggingface.co/owner/model/file.bin",
        "huggingface.co/owner/model?x=1",
        "huggingface.co/owner/model\n",
        "huggingfaceXco/owner/model",
        "huggingface.co/öwner/model",
    ]

    def check(weights):
        assert refused(checks.check_lora, weights).parameter == "lora_weights"

    check_all(cases, check)


def test_a_url_is_absolute_http():
    """An http(s) URL with a host and without blanks or controls is one."""
    cases = [
        ("https://example.com/a.jpg", True),
        ("http://127.0.0.1:8787/f/1.png?x=1#y", True),
        ("HTTPS://EXAMPLE.COM", True),
        ("https://[::1]/a", True),
        ("https://example.com/ünï", True),
        ("", False),
        ("example.com/a.jpg", False),
        ("/a.jpg", False),
        ("//example.com/a.jpg", False),
        ("https:///a.jpg", False),
        ("https://", False),
        ("https://[::1/a", False),
        ("https://[::1]x/a", False),
        ("https://u@[::1]:8/a", True),
        ("ftp://example.com/a", False),
        ("file:///etc/passwd", False),
        ("data:image/png;base64,AAAA", False),
        ("javascript:alert(1)", False),
        ("https://example.com/a b", False),
        (" https://example.com", False),
        ("https://example.com/\n", False),
        ("https://example.com/\u202e", False),
    ]

    def check(value, expected):
        assert expected is checks.is_http_url(value)

    check_all(cases, check)


@given(st.text() | st.text("htps:/[]@#?.x").map("https://".__add__))
def test_any_text_is_a_url_or_not(value):
    """Whatever the text is, the answer is yes or no."""
    assert checks.is_http_url(value) in {True, False}


@pytest.mark.parametrize("value", [None, 5, b"https://example.com", "example.com"])
def test_what_is_no_url_is_refused_by_name(value):
    """A URL parameter names itself and what it got."""
    error = refused(checks.check_url, "callback_url", value)
    expected = f"callback_url={value!r} is not allowed: an http(s) URL"

    assert expected == str(error)
    checks.check_url("callback_url", "https://example.com/hook")


def test_json_can_hold_plain_values():
    """Texts, finite numbers, flags, lists and mappings of them can be sent."""
    plain = [
        None,
        True,
        5,
        1.5,
        "x",
        "🦊",
        [],
        (1, [2]),
        {"a": {"b": [1, None]}},
        2**64,
    ]

    checks.check_json("p", plain)
    check_all([(value,) for value in plain], partial(checks.check_json, "p"))


def deep(levels):
    """Return a list in a list in a list."""
    value = []
    for _ in range(levels):
        value = [value]
    return value


def endless():
    """Return a mapping that holds itself."""
    value = {}
    value["self"] = value
    return value


def test_what_json_cannot_hold_is_refused_at_its_place():
    """A value that cannot be sent names the place where it is."""
    cases = [
        (math.nan, "p"),
        (-math.inf, "p"),
        ("\ud800", "p"),
        (b"x", "p"),
        ({1, 2}, "p"),
        (object, "p"),
        (HUGE, "p"),
        ([1, math.nan], "p[1]"),
        ({"a": [{"b": b""}]}, "p.a[0].b"),
        ({1: 2}, "name in p"),
        ({"\ud800": 2}, "name in p"),
        (deep(200), "p"),
        (endless(), "p"),
    ]

    def check(value, parameter):
        error = refused(checks.check_json, "p", value)

        assert parameter == error.parameter.partition("[0][0]")[0].partition(".self")[0]
        assert str(error).isprintable()

    check_all(cases, check)


@pytest.mark.parametrize("value", ["clx1", "A-b_9", "x" * 128])
def test_a_task_id_is_a_plain_word(value):
    """Letters, digits, hyphens and underscores are a task id, unchanged."""
    assert value == checks.check_task_id(value)


def test_what_could_change_a_url_is_no_task_id():
    """Anything that would need quoting in a URL is refused as a task id."""

    def check(value):
        assert refused(checks.check_task_id, value).parameter == "task_id"

    check_all(
        [
            "",
            "x" * 129,
            "a b",
            "../x",
            "a&task_id=b",
            "a%20",
            "é",
            "a\n",
            None,
            5,
            b"clx1",
        ],
        check,
    )


def test_an_id_or_a_token_is_text():
    """A text passes unchanged, anything else is refused."""
    assert checks.check_text("am1.xyz") == "am1.xyz"
    assert refused(checks.check_text, 5).parameter == "task_id"


def test_a_count_is_at_least_one():
    """A whole number from 1 is a count; anything else is refused."""

    def check(value):
        assert (
            refused(checks.check_count, "max_pending", value).parameter == "max_pending"
        )
        checks.check_count("max_pending", 1)

    check_all([0, -1, 1.0, True, "1", None], check)


def test_an_index_is_one_of_the_pictures():
    """Of two pictures, 0 and 1 can be chosen."""

    def check(value):
        assert refused(checks.check_index, value, 2).parameter == "index"
        checks.check_index(0, 2)
        checks.check_index(1, 2)

    check_all([-1, 2, 0.5, True, "0", None], check)


def test_an_amount_of_money_is_positive_and_finite():
    """Positive, finite numbers are amounts; None is no limit; the rest is refused."""

    def check(value):
        assert refused(checks.check_amount, "max_cost", value).parameter == "max_cost"
        for amount in (None, 1, 0.5, Decimal("0.01")):
            checks.check_amount("max_cost", amount)

    check_all(
        [0, -1, math.nan, math.inf, True, "5", Decimal("NaN"), Decimal("sNaN"), HUGE],
        check,
    )


def test_a_timeout_is_a_number_of_seconds():
    """A wait takes a number or None; text, NaN and what no clock reaches are named."""

    def check(value):
        assert refused(checks.check_timeout, value).parameter == "timeout"
        for seconds in (None, 0, 1.5, Decimal("0.5"), math.inf):
            assert checks.check_timeout(seconds) == seconds

    check_all([("5",), (math.nan,), (True,), (HUGE,), ([],)], check)


def test_a_path_is_one_a_file_can_have():
    """A path is text or a path object without NUL, or None; others are named."""

    def check(value):
        assert refused(checks.check_path, "journal", value).parameter == "journal"
        for path in (None, "a", Path("b/c")):
            checks.check_path("journal", path)

    check_all([5, b"a", "a\0b", Path("a\0b"), True], check)
