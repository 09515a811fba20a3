"""Wire names, wire types and wire units stop at the converter."""

# ruff: noqa: PT017  what a property allows is a value or an error, not one of them

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cases import check_all

from apimodels_async._api.convert import (
    WireBalance,
    WireFile,
    WireImage,
    WireModel,
    WireOpenAIImage,
    WireTask,
    structure,
)
from apimodels_async._api.decode import UnreadableError

TASK = {"taskId": "clx1", "state": "completed"}
HUGE = 10**400
WIRES = (WireTask, WireImage, WireOpenAIImage, WireBalance, WireModel, WireFile)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [
        *("taskId", "state", "resultUrls", "createTime", "completeTime", "failMsg"),
        *("failCode", "credits", "model", "url", "duration", "b64_json", "balance"),
        *("total", "frozen", "currency", "id", "publicUrl", "uploadUrl"),
    ]
)


def test_wire_names_become_ours():
    """Known fields are read under our names, and unknown ones are ignored."""
    cases = [
        (WireTask, TASK, WireTask("clx1", "completed")),
        (
            WireTask,
            {
                **TASK,
                "resultUrls": ["https://a/b"],
                "createTime": 1,
                "completeTime": 2.5,
                "failMsg": "no",
                "failCode": "X",
                "credits": 0.025,
                "model": "m",
                "retryable": True,
                "resultJson": "{}",
            },
            WireTask(
                "clx1",
                "completed",
                ["https://a/b"],
                1.0,
                2.5,
                "no",
                "X",
                Decimal("0.025"),
                "m",
            ),
        ),
        (WireImage, {"url": "https://a/b"}, WireImage("https://a/b")),
        (WireOpenAIImage, {}, WireOpenAIImage()),
        (WireBalance, {"balance": "1.10"}, WireBalance(Decimal("1.10"))),
        (WireModel, {"id": "m", "endpoint": 7}, WireModel("m")),
        (
            WireFile,
            {"publicUrl": "https://a/b", "uploadUrl": "https://c", "expiresAt": 1},
            WireFile("https://a/b", "https://c"),
        ),
    ]

    def check(wire, data, expected):
        assert expected == structure(data, wire)

    check_all(cases, check)


def test_an_amount_is_exact_or_absent():
    """Credits are read as exact decimals; what is no amount of money reads as None."""
    cases = [
        (0, Decimal(0)),
        (1, Decimal(1)),
        (0.01, Decimal("0.01")),
        (0.1 + 0.2, Decimal("0.30000000000000004")),
        ("0.0130", Decimal("0.0130")),
        ("1e-3", Decimal("0.001")),
        (None, None),
        (True, None),
        (False, None),
        ("NaN", None),
        ("sNaN", None),
        ("Infinity", None),
        (float("nan"), None),
        (float("inf"), None),
        ("free", None),
        ("", None),
        ([1], None),
        ({}, None),
        (HUGE, None),
        (1e300, None),
        ("1e999999999", None),
        ("-1e999999999", None),
        ("1e-999999999", None),
    ]

    def check(value, expected):
        assert expected == structure({**TASK, "credits": value}, WireTask).credits

    check_all(cases, check)


def test_an_optional_number_is_lenient():
    """A date in a new format costs nobody a picture: it reads as None."""
    cases = [
        (1705123450000, 1705123450000.0),
        (2.5, 2.5),
        (None, None),
        ("1705123465000", 1705123465000.0),
        ("2024-01-13T05:24:10Z", None),
        (True, None),
        (HUGE, None),
        (float("inf"), None),
        (float("nan"), None),
        ([], None),
    ]

    def check(value, expected):
        assert (
            expected == structure({**TASK, "createTime": value}, WireTask).create_time
        )

    check_all(cases, check)


def test_an_optional_text_is_lenient():
    """An optional text of another type reads as None."""

    def check(value):
        assert None is structure({**TASK, "model": value}, WireTask).model

    check_all([5, True, [], {}, 1.5], check)


def test_a_required_field_is_strict_and_the_error_says_where():
    """A required field that is missing or of another type names its place."""
    cases = [
        (WireTask, None, "expected an object, got NoneType @ $.data"),
        (WireTask, [], "expected an object, got list @ $.data"),
        (WireTask, "x", "expected an object, got str @ $.data"),
        (WireTask, {"state": "pending"}, "a field is missing @ $.data.taskId"),
        (WireTask, {"taskId": "clx1"}, "a field is missing @ $.data.state"),
        (WireTask, {**TASK, "taskId": 5.0}, "expected text, got float @ $.data.taskId"),
        (
            WireTask,
            {**TASK, "state": None},
            "expected text, got NoneType @ $.data.state",
        ),
        (
            WireBalance,
            {"balance": True},
            "expected an amount, got bool @ $.data.balance",
        ),
        (
            WireBalance,
            {"balance": "NaN"},
            "expected an amount, got NaN @ $.data.balance",
        ),
        (WireModel, {}, "a field is missing @ $.data.id"),
    ]

    def check(wire, data, reason):
        with pytest.raises(UnreadableError) as caught:
            structure(data, wire)

        # cattrs may append its own words about the place of the wire name.
        assert _normal(reason) == _normal(str(caught.value))

    check_all(cases, check)


def _normal(reason):
    """Return *reason* with our field names in the vendor's spelling."""
    for ours, theirs in (("task_id", "taskId"), ("result_urls", "resultUrls")):
        reason = reason.replace(ours, theirs)
    return reason


def test_a_required_amount_that_is_no_number_is_unreadable():
    """A balance in words is refused at its place."""
    with pytest.raises(UnreadableError) as caught:
        structure({"balance": "a lot"}, WireBalance)

    assert str(caught.value).endswith(" @ $.data.balance")


def test_every_misfit_is_named_at_its_place():
    """Two wrong fields give one error that names both, each at its place."""
    with pytest.raises(UnreadableError) as caught:
        structure({"state": 1}, WireTask)

    assert "a field is missing @ $.data." in str(caught.value)
    assert "expected text, got int @ $.data.state" in str(caught.value)


@given(st.sampled_from(WIRES), st.dictionaries(NAMES, JSON) | JSON)
def test_any_json_fits_or_is_unreadable(wire, data):
    """Whatever JSON arrives, nothing but UnreadableError is raised."""
    try:
        value = structure(data, wire)
    except UnreadableError as error:
        assert str(error)
    else:
        assert isinstance(value, wire)
