"""How a session polls, retries and waits."""

from __future__ import annotations

import math

import pytest
from support.cases import check_all

from apimodels_async.errors import ConfigurationError
from apimodels_async.policies import PollPolicy, RetryPolicy, Timeouts

WRONG = [0, -1, math.nan, math.inf, -math.inf, True, False, "2.5", None, [2.5]]
FIELDS = [
    (PollPolicy, "interval"),
    (PollPolicy, "deadline"),
    (RetryPolicy, "attempts"),
    (RetryPolicy, "base"),
    (RetryPolicy, "cap"),
    (Timeouts, "connect"),
    (Timeouts, "read"),
    (Timeouts, "generate"),
    (Timeouts, "download"),
]


def test_the_defaults_are_those_of_the_design():
    """Without arguments: every 2.5 s for half an hour, four tries, bounded waits."""
    assert PollPolicy(interval=2.5, deadline=1800.0, learned=False) == PollPolicy()
    assert RetryPolicy(attempts=4, base=0.25, cap=8.0) == RetryPolicy()
    assert (
        Timeouts(connect=5.0, read=30.0, generate=150.0, download=300.0) == Timeouts()
    )


def test_an_interval_of_two_to_three_seconds_passes():
    """What the API asks for is accepted, both ends included."""

    def check(interval):
        assert interval == PollPolicy(interval).interval

    check_all([2, 2.0, 2.5, 3, 3.0], check)


@pytest.mark.parametrize("interval", [0.001, 1.999, 3.001, 60])
def test_another_interval_needs_unchecked(interval):
    """An interval outside 2-3 s is refused, with the way around it."""
    with pytest.raises(ConfigurationError) as caught:
        PollPolicy(interval)

    assert (
        f"PollPolicy.interval must be 2 to 3 seconds, not {interval!r}: the API asks "
        "for that. For an emulator use PollPolicy.unchecked(interval=...)."
    ) == str(caught.value)
    assert isinstance(caught.value, ValueError)
    unchecked = PollPolicy.unchecked(interval=interval, deadline=9.0, learned=True)
    assert (interval, 9.0, True) == (
        unchecked.interval,
        unchecked.deadline,
        unchecked.learned,
    )


def test_unchecked_is_no_other_policy():
    """A policy made unchecked equals the checked one of the same numbers."""
    assert PollPolicy(2.5) == PollPolicy.unchecked(interval=2.5)
    assert repr(PollPolicy(2.5)) == repr(PollPolicy.unchecked(interval=2.5))


def test_a_number_that_is_none_is_refused():
    """Zero, negative, infinite, true and textual numbers name their field."""

    def check(policy, name, value):
        with pytest.raises(ConfigurationError) as caught:
            policy(**{name: value})

        named = f"{policy.__name__}.{name}"
        expected = f"{named} must be a positive, finite number, not {value!r}"
        assert expected == str(caught.value)

    check_all([(*field, value) for field in FIELDS for value in WRONG], check)


def test_unchecked_lifts_the_range_alone():
    """An unchecked interval is still a positive, finite number."""

    def check(value):
        with pytest.raises(ConfigurationError):
            PollPolicy.unchecked(interval=value)

    check_all(WRONG, check)


def test_tries_are_whole():
    """Two and a half tries are refused."""
    with pytest.raises(ConfigurationError) as caught:
        RetryPolicy(attempts=2.5)

    assert str(caught.value) == "RetryPolicy.attempts must be a whole number, not 2.5"


@pytest.mark.parametrize("rate", [value for value in WRONG if value is not None])
def test_a_rate_is_a_positive_number(rate):
    """Polls a second are positive and finite, or None for no cap."""
    with pytest.raises(ConfigurationError, match=r"PollPolicy\.max_rate"):
        PollPolicy(max_rate=rate)

    assert PollPolicy(max_rate=50).max_rate == 50
    assert PollPolicy.unchecked(interval=1, max_rate=0.5).max_rate == 0.5


@pytest.mark.parametrize("learned", [True, False, {}, {"m 2K": [1.0, 2, 3.5]}])
def test_learned_takes_what_a_session_gave(learned):
    """It is on, off, or the durations of an earlier run; the policy stays hashable."""
    assert PollPolicy(learned=learned).learned == learned
    assert isinstance(hash(PollPolicy(learned=learned)), int)


@pytest.mark.parametrize(
    "learned",
    [
        *(None, 1, "m", ["m"], {"m": 1.0}, {"m": ["1"]}, {1: [1.0]}),
        *({"m": [-1.0]}, {"m": [math.nan]}, {"m": [math.inf]}),
    ],
)
def test_learned_takes_nothing_else(learned):
    """Anything else is refused with what to give."""
    with pytest.raises(ConfigurationError, match=r"session\.durations\(\)"):
        PollPolicy(learned=learned)
