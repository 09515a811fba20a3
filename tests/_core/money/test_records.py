"""Results and requests as the journal keeps them."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apimodels_async._core.money.records import Keys, dump_result, load_result
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
    credits=st.none() | st.decimals(allow_nan=False, allow_infinity=False),
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


BODIES = st.lists(st.sampled_from([b"{}", b'{"prompt":"a"}', b'{"prompt":"b"}']))


def keys_of(bodies, path="p"):
    """Return the keys a fresh run gives."""
    keys = Keys(seen=Counter())
    return [keys.key_of(path, body) for body in bodies]


@given(BODIES)
def test_keys_are_stable_and_never_shared(bodies):
    """The next run gives the same keys, and equal requests get keys of their own."""
    keys = keys_of(bodies)
    assert keys == keys_of(bodies)
    assert len(keys) == len(set(keys))


@given(BODIES, st.randoms())
def test_keys_do_not_depend_on_other_items(bodies, random):
    """Another order of the source gives the same set of keys."""
    keys = sorted(keys_of(bodies))
    random.shuffle(bodies)
    assert keys == sorted(keys_of(bodies))


def test_path_and_body_are_told_apart():
    """A byte that moves from the path to the body makes another key."""
    assert keys_of([b"c"], "ab") != keys_of([b"bc"], "a")
    assert keys_of([b"{}"], "images/edit") != keys_of([b"{}"], "images/generations")


def test_keys_of_old_journals_are_found_again():
    """A key is the same in every release: 16 bytes of SHA-256 in hex, and a number."""
    digest = "3644c1bd17dfbb49ee8fb86946e72486"
    assert keys_of([b"{}", b"{}"], "images/generations") == [
        f"{digest}-1",
        f"{digest}-2",
    ]
