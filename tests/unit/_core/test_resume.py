"""
What a journal's record of an earlier run means for this one.
"""

from __future__ import annotations

import itertools

import pytest

from apimodels_async._core.money.resume import Record, RecordState, Step, next_step


@pytest.mark.parametrize(
    ("state", "plain", "failed", "unknown"),
    [
        (None, Step.SUBMIT, Step.SUBMIT, Step.SUBMIT),
        (RecordState.INTENDED, Step.REPLAY, Step.REPLAY, Step.SUBMIT),
        (RecordState.ACCEPTED, Step.ATTACH, Step.ATTACH, Step.ATTACH),
        (RecordState.COMPLETED, Step.REPLAY, Step.REPLAY, Step.REPLAY),
        (RecordState.FAILED, Step.REPLAY, Step.SUBMIT, Step.REPLAY),
        (RecordState.REFUSED, Step.SUBMIT, Step.SUBMIT, Step.SUBMIT),
        (RecordState.UNKNOWN, Step.REPLAY, Step.REPLAY, Step.SUBMIT),
    ],
)
def test_what_may_be_paid_for_is_not_ordered_anew(state, plain, failed, unknown):
    """Only what was never taken is sent again, unless the caller asks for more."""
    record = state and Record("key", state)
    found = {
        (again, anew): next_step(record, retry_failed=again, resubmit_unknown=anew)
        for again, anew in itertools.product((False, True), repeat=2)
    }

    assert plain is found[False, False]
    assert failed is found[True, False]
    assert unknown is found[False, True]
    assert found[True, True] in {failed, unknown}


@pytest.mark.parametrize("state", RecordState)
def test_what_was_sent_lately_and_has_an_address_may_be_called_back(state):
    """Of unknown fate, with a nonce, and younger than an hour: worth waiting for."""
    lost = state in {RecordState.INTENDED, RecordState.UNKNOWN}
    assert Record("k", state, nonce="ab", age_s=3599.0).awaits_callback is lost
    assert not Record("k", state, nonce="ab", age_s=3600.0).awaits_callback
    assert not Record("k", state, age_s=1.0).awaits_callback
