"""
What a journal keeps and what it means in the next run; keys, names, retry tokens.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apimodels_async import ImageResult
from apimodels_async._core.files.names import item_stem
from apimodels_async._core.money.records import Keys, dump_result, load_result
from apimodels_async._core.money.resume import Record, RecordState, Step, next_step
from apimodels_async._core.money.retry_budget import (
    PER_REQUEST,
    PER_S,
    TOKENS_MAX,
    RetryBudget,
)

S = RecordState
STEPS = {
    # state: (step, with retry_failed, with resubmit_unknown)
    None: (Step.SUBMIT, Step.SUBMIT, Step.SUBMIT),
    S.INTENDED: (Step.REPLAY, Step.REPLAY, Step.SUBMIT),
    S.ACCEPTED: (Step.ATTACH, Step.ATTACH, Step.ATTACH),
    S.COMPLETED: (Step.REPLAY, Step.REPLAY, Step.REPLAY),
    S.FAILED: (Step.REPLAY, Step.SUBMIT, Step.REPLAY),
    S.REFUSED: (Step.SUBMIT, Step.SUBMIT, Step.SUBMIT),
    S.UNKNOWN: (Step.REPLAY, Step.REPLAY, Step.SUBMIT),
}


def test_the_table_of_steps_has_every_state():
    """No state is without a line."""
    assert {None, *RecordState} == set(STEPS)


@pytest.mark.parametrize("state", STEPS)
def test_the_next_step_follows_the_record(state):
    """What may have been paid for is never ordered anew without being told to."""
    record = None if state is None else Record("k", state)
    plain, failed, unknown = STEPS[state]
    for retry, resubmit, expected in (
        (False, False, plain),
        (True, False, failed),
        (False, True, unknown),
    ):
        step = next_step(record, retry_failed=retry, resubmit_unknown=resubmit)
        assert expected is step
    both = next_step(record, retry_failed=True, resubmit_unknown=True)
    assert (Step.SUBMIT if Step.SUBMIT in (failed, unknown) else plain) is both


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


def test_a_key_belongs_to_one_endpoint():
    """The same body sent elsewhere is another item."""
    assert keys_of([b"{}"], "images/edit") != keys_of([b"{}"], "images/generations")
    assert keys_of([b"ab"], "x") != keys_of([b"b"], "xa")


@given(st.lists(st.tuples(st.floats(0, 2), st.booleans()), max_size=300))
def test_retries_never_pass_a_tenth_of_the_traffic_and_the_refill(steps):
    """Whatever the traffic, retries stay within burst + a tenth + one a second."""
    budget = RetryBudget()
    now, requests, retries = 0.0, 0, 0
    for passed, wants_retry in steps:
        now += passed
        if wants_retry:
            retries += budget.spend(now)
        else:
            budget.earn(now)
            requests += 1
        most = TOKENS_MAX + PER_REQUEST * requests + PER_S * now
        assert retries <= most + 1e-6


def test_an_empty_retry_budget_refuses_and_recovers():
    """After the burst a retry takes a second, or ten requests."""
    budget = RetryBudget()
    assert [budget.spend(0.0) for _ in range(11)] == [True] * 10 + [False]
    assert not budget.spend(0.9)
    assert budget.spend(1.1)
    for _ in range(10):
        budget.earn(1.1)
    assert budget.spend(1.1)
    assert not budget.spend(0.5)  # a clock that goes back gives nothing


@pytest.mark.parametrize(
    ("index", "task_id", "prompt", "expected"),
    [
        (41, "cl1", "A red fox, in snow!", "00041-a-red-fox-in-snow"),
        (0, "cl1", "../../etc/passwd", "00000-etc-passwd"),
        (7, "cl1", "狐", "00007-狐"),
        (7, None, None, "00007-image"),
        (7, "cl1", "", "00007-cl1"),
        (123456, None, "x" * 90, "123456-" + "x" * 48),
        (1, None, "x" * 47 + " y", "00001-" + "x" * 47),
    ],
)
def test_an_item_s_file_name_is_ours(index, task_id, prompt, expected):
    """Index and a slug of the prompt, nothing a path could be made of."""
    assert expected == item_stem(index, task_id, prompt)
