"""Values: what people ask for and what they get."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime
from decimal import Decimal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cases import check_all

from apimodels_async import models
from apimodels_async.model_info import ModelInfo
from apimodels_async.models import (
    Balance,
    ImageRequest,
    ImageResult,
    Outcome,
    SessionStats,
    SparkPixEdit,
    SparkPixImage,
    TaskEvent,
    TaskSnapshot,
    TaskState,
)

AT = datetime(2026, 11, 23, tzinfo=UTC)
RESULT = ImageResult(urls=("https://a/1.png", "https://a/2.png"), raw={"x": 1})
VALUES = [
    TaskEvent(TaskState.PENDING, "clx1", AT),
    RESULT,
    TaskSnapshot("clx1", TaskState("moderating")),
    SparkPixImage(prompt="a fox", extra={"new": 1}),
    SparkPixEdit(prompt="x", images=("https://a/1.png",)),
    ImageRequest("m", "x", {"n": 1}),
    Outcome(0, ImageRequest("m"), RESULT),
    Balance(balance=Decimal(1)),
    ModelInfo(id="m", raw={"id": "m"}),
    SessionStats(pending=1),
]


@pytest.mark.parametrize(
    ("state", "word", "finished"),
    [
        (TaskState.PENDING, "pending", False),
        (TaskState.PROCESSING, "processing", False),
        (TaskState.COMPLETED, "completed", True),
        (TaskState.FAILED, "failed", True),
    ],
)
def test_a_state_is_the_apis_word(state, word, finished):
    """A state equals, hashes, formats and joins as the word, and knows if it ends."""
    assert word == state == TaskState(word)
    assert state is TaskState(word)
    assert word == str(state) == f"{state}"
    assert 1 == {word: 1}[state] == {state: 1}[word]
    assert finished is state.finished


@given(st.text(min_size=1, max_size=64))
def test_an_unknown_state_is_kept_as_it_came(word):
    """Any other word of up to 64 characters is a state that is not finished."""
    state = TaskState(word)

    assert word == state == str(state) == state.value
    assert isinstance(state, TaskState)
    assert (word in {"completed", "failed"}) is state.finished
    assert hash(word) == hash(state)


def test_what_is_no_word_is_no_state():
    """Empty, endless and other values are refused as states."""

    def check(value):
        with pytest.raises(ValueError, match="is not a valid TaskState"):
            TaskState(value)

    check_all(["", "x" * 65, None, 5, b"pending", True, ["x"]], check)


def test_unknown_words_add_no_members():
    """The four states stay four, whatever the API says."""
    TaskState("moderating")
    assert [*TaskState] == ["pending", "processing", "completed", "failed"]


def test_a_result_has_a_first_url():
    """The url of a result is the first of its urls."""
    assert RESULT.url == "https://a/1.png"


def test_a_value_is_frozen_and_travels():
    """Values cannot be changed, and are the same after a copy or a pickle."""

    def check(value):
        name = attrs.fields(type(value))[0].name
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(value, name, "other")

        assert value == copy.deepcopy(value)
        assert value == pickle.loads(pickle.dumps(value))  # noqa: S301  our own

    check_all(VALUES, check)


@pytest.mark.parametrize("value", [RESULT, ModelInfo(id="m", raw={"secret": 1})])
def test_the_raw_mapping_is_not_printed(value):
    """The API's own mapping stays out of the repr: it can be large."""
    assert "raw" not in repr(value)


@pytest.mark.parametrize("cls", [SparkPixImage, SparkPixEdit, ImageRequest])
def test_defaults_are_not_shared(cls):
    """Each request has mappings of its own."""
    needed = {"images": ()} if cls is SparkPixEdit else {}
    make = (
        (lambda: cls("m")) if cls is ImageRequest else lambda: cls(prompt="x", **needed)
    )
    name = "params" if cls is ImageRequest else "extra"

    assert getattr(make(), name) == {}
    assert getattr(make(), name) is not getattr(make(), name)


def test_every_exported_value_exists():
    """What the module exports, it has."""
    assert set(models.__all__) <= set(vars(models))
