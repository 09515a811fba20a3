"""When callbacks are trusted."""

from __future__ import annotations

from apimodels_async._core.polling.callback_trust import MISSES_MAX, CallbackTrust


def ended(callback_trust, story):
    """Let tasks end, with a callback (y) or without (n)."""
    for each in story:
        callback_trust.ended(hinted=each == "y")
    return callback_trust.trusted


def test_nothing_is_trusted_before_the_first_callback():
    """A receiver that is not reached at all changes nothing."""
    assert not CallbackTrust(30.0).trusted
    assert not ended(CallbackTrust(30.0), "nn")


def test_one_callback_that_came_true_is_enough():
    """The first task that ends as its callback said makes callbacks trusted."""
    assert ended(CallbackTrust(30.0), "y")


def test_some_may_be_lost():
    """Fewer than three in a row that stay away are bad luck."""
    assert ended(CallbackTrust(30.0), "y" + "n" * (MISSES_MAX - 1) + "ynn")


def test_three_in_a_row_that_stay_away_end_the_trust_until_the_next():
    """A receiver that is down is noticed, and so is its return."""
    callback_trust = CallbackTrust(30.0)
    assert not ended(callback_trust, "y" + "n" * MISSES_MAX)
    assert ended(callback_trust, "y")
