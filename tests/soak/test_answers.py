"""Answers that no API should give, by seed."""

from __future__ import annotations

from soak import answers

SEED = 1
CASES = 360  # the nightly session tries 20,000


async def test_no_answer_does_more_than_end_its_own_order():
    """Whatever is answered, only typed errors come, and others' tasks go on."""
    report = await answers.run(SEED, CASES)

    assert report.broken == []
    assert sum(report.ends.values()) == CASES
    assert report.ends["untouched", "result"] == CASES // len(answers.SURFACES)
    for surface, end in (
        ("poll", "result"),
        ("create", "OutcomeUnknownError"),
        ("balance", "UnexpectedResponseError"),
    ):
        assert report.ends[surface, end] > 0
