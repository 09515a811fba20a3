"""
Results and requests as the journal keeps them.
"""

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


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.binary(max_size=2))))
def test_each_item_has_a_key_of_its_own_that_comes_again(items):
    """No two items share a key, and the same source gives the same keys."""
    first, second = Keys(Counter()), Keys(Counter())
    keys = [first.key_of(*item) for item in items]

    assert len(items) == len(set(keys))
    assert keys == [second.key_of(*item) for item in items]


def test_path_and_body_are_told_apart():
    """A byte that moves from the path to the body makes another key."""
    assert Keys(Counter()).key_of("ab", b"c") != Keys(Counter()).key_of("a", b"bc")
