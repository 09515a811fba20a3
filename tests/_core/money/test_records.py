"""Results and requests as stores keep them."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cases import check_all

from apimodels_async._core.money.records import (
    Keys,
    dump_result,
    load_result,
    read_amount,
)
from apimodels_async.models import ImageResult


@pytest.mark.parametrize(
    "result",
    [
        ImageResult(urls=("https://a/b",)),
        ImageResult(
            urls=("https://a/b", "data:image/png;base64,AAAA"),
            task_id="clx1",
            model="gpt-image-2",
            credits=Decimal("0.0250"),
            duration_s=15.5,
            created_at=datetime(2024, 1, 13, 5, 24, 10, 123000, tzinfo=UTC),
            completed_at=datetime(2024, 1, 13, 5, 24, 25, tzinfo=UTC),
            expires_at=datetime(2024, 1, 20, 5, 24, 25, tzinfo=UTC),
            raw={"taskId": "clx1", "new": {"a": [1, None, True, 0.1, "é🦊"]}},
        ),
    ],
    ids=["bare", "full"],
)
def test_a_result_is_read_back_as_it_was(result):
    """A result survives the journal: money exact, times in UTC, raw unchanged."""
    twin = load_result(dump_result(result))

    assert result == twin
    assert str(result.credits) == str(twin.credits)


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=6,
)
TIMES = st.none() | st.datetimes(timezones=st.just(UTC))
RESULTS = st.builds(
    ImageResult,
    urls=st.lists(TEXT, min_size=1).map(tuple),
    task_id=st.none() | TEXT,
    model=st.none() | TEXT,
    credits=st.none() | st.decimals(0, 1000, places=6),
    duration_s=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    created_at=TIMES,
    completed_at=TIMES,
    expires_at=TIMES,
    raw=st.dictionaries(TEXT, JSON),
)


@given(RESULTS)
def test_a_result_comes_back_as_it_was(result):
    """Everything of a result survives the journal, money and times exactly."""
    assert result == load_result(dump_result(result))


# --- what somebody else wrote -----------------------------------------------------

DAMAGED = [
    *("", "null", "[]", "5", '"text"', "{", "{}", "[" * 100_000),
    *('{"urls": []}', '{"urls": "https://a/b"}', '{"urls": [null]}'),
    *('{"urls": ["a"], "credits": "-5"}', '{"urls": ["a"], "credits": "NaN"}'),
    *('{"urls": ["a"], "credits": 5}', '{"urls": ["a"], "credits": "1e99999"}'),
    *('{"urls": ["a"], "task_id": 7}', '{"urls": ["a"], "raw": 7}'),
    *('{"urls": ["a"], "duration_s": NaN}', '{"urls": ["a"], "duration_s": "x"}'),
    *('{"urls": ["a"], "expires_at": "soon"}', '{"urls": ["a"], "model": {}}'),
    '{"urls": ["a"], "completed_at": "2024-01-13T05:24:10"}',
]


def test_a_damaged_result_is_a_value_error():
    """Whatever is wrong with the text, it is one kind of error, in a few words."""

    def check(text):
        words = "^a result that cannot be (read|one)$"
        with pytest.raises(ValueError, match=words) as caught:
            load_result(text)
        assert type(caught.value) is ValueError

    check_all([(text,) for text in DAMAGED], check)


@given(JSON, st.sampled_from([*ImageResult.__annotations__]), RESULTS)
def test_any_json_is_a_result_or_a_value_error(value, name, result):
    """A field with anything in it makes a result whose figures can be used, or none."""
    fields = json.loads(dump_result(result)) | {name: value}
    with contextlib.suppress(ValueError):
        found = load_result(json.dumps(fields))
        assert found.url == found.urls[0]
        assert found.credits is None or 0 <= found.credits < 10**19


def test_an_amount_is_a_plain_sum():
    """Nothing below zero, not a number, or beyond all money touches a budget."""
    assert read_amount("0.0250") == Decimal("0.0250")
    assert read_amount("1e18") == 10**18
    bad = [
        "",
        "x",
        "-0.01",
        "1e19",
        "NaN",
        "sNaN",
        "Infinity",
        "1e999999999",
        None,
        5,
        b"1",
    ]

    def check(value):
        words = "^an amount (that cannot be read|below zero)$"
        with pytest.raises(ValueError, match=words):
            read_amount(value)

    check_all([(value,) for value in bad], check)


DIGESTS = st.lists(st.sampled_from(["1:a", "1:b", "1:c"]))


def keys_of(digests):
    """Return the keys a fresh run gives."""
    keys = Keys()
    return [keys.name_of(digest) for digest in digests]


@given(DIGESTS)
def test_keys_are_stable_and_never_shared(digests):
    """The next run gives the same keys, and equal requests get keys of their own."""
    keys = keys_of(digests)
    assert keys == keys_of(digests)
    assert len(keys) == len(set(keys))


@given(DIGESTS, st.randoms())
def test_keys_do_not_depend_on_other_items(digests, random):
    """Another order of the source gives the same set of keys."""
    keys = sorted(keys_of(digests))
    random.shuffle(digests)
    assert keys == sorted(keys_of(digests))


def test_keys_are_the_same_in_every_release():
    """What a journal has is found by them: the digest, and a number from 1."""
    assert keys_of(["1:a", "1:b", "1:a"]) == ["1:a-1", "1:b-1", "1:a-2"]
