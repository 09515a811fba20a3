"""What an order that was there already means."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from support.cases import check_all

from apimodels_async import InvalidRequestError
from apimodels_async._api.checks import check_key
from apimodels_async._core.money.orders import (
    BEFORE,
    ENDED,
    OrderRecord,
    Standing,
    lost_words,
    standing_of,
)
from apimodels_async._core.money.resume import OrderState

TIME = datetime(2026, 11, 28, tzinfo=UTC)


def record(state=OrderState.INTENDED, **more):
    """Return a record of an order."""
    values = {
        "idempotency_key": "k",
        "attempt": 1,
        "digest": "1:a",
        "model": "m",
        "prompt": "p",
        "request": "{}",
        "price": None,
        "state": state,
        "intended_at": TIME,
    }
    return OrderRecord(**(values | more))


def test_each_state_has_its_meaning():
    """A result, a task, something to wait for, or nothing that anybody knows."""
    cases = [
        (OrderState.COMPLETED, False, Standing.RESULT),
        (OrderState.ACCEPTED, False, Standing.TASK),
        (OrderState.ACCEPTED, True, Standing.TASK),
        (OrderState.INTENDED, True, Standing.UNDER_WAY),
        (OrderState.INTENDED, False, Standing.LOST),
        (OrderState.UNKNOWN, True, Standing.LOST),
    ]

    def check(state, owned, standing):
        assert standing_of(record(state, owned=owned), "1:a") is standing

    check_all(cases, check)


def test_a_key_names_one_request():
    """Another request under it is refused, and the words say which one it names."""
    words = r"(?m)2026-11-28 00:00:00 UTC\): give this one a key of its own$"
    with pytest.raises(InvalidRequestError, match=words) as caught:
        standing_of(record(OrderState.ACCEPTED), "1:b")

    assert caught.value.parameter == "idempotency_key"
    assert caught.value.idempotency_key == "k"
    assert caught.value.charged is False


def test_digests_of_another_form_are_not_compared():
    """What an older release wrote is not another request because of its form."""
    assert standing_of(record(OrderState.ACCEPTED), "2:b") is Standing.TASK


def test_no_word_makes_less_of_an_order():
    """Nothing follows an end; every other state can be followed by an end."""
    for word, before in BEFORE.items():
        assert not before & ENDED
        assert OrderState.INTENDED in before
        assert (OrderState.ACCEPTED in before) is (
            word not in {OrderState.REFUSED, OrderState.UNKNOWN}
        )


def test_what_is_lost_is_told_with_its_way_out():
    """The words name the key, the time, why, and forget()."""
    words = lost_words(record(error="cut"))

    assert all(each in words for each in ("'k'", "2026-11-28", "forget()", ": cut"))
    assert lost_words(record()).endswith("order again")


def test_only_what_is_lost_waits_for_its_callback():
    """For an hour, if its address had a nonce."""
    lost = {OrderState.INTENDED, OrderState.UNKNOWN}
    for state in OrderState:
        known = record(state, nonce="ab", age_s=3599.0)
        assert known.awaits_callback is (state in lost)
        assert not record(state, nonce="ab", age_s=3600.0).awaits_callback
        assert not record(state).awaits_callback


# --- keys -------------------------------------------------------------------------


def test_a_key_is_printable_text():
    """Of 1-255 characters; anything else is refused by its name."""

    def refuse(value):
        with pytest.raises(InvalidRequestError) as caught:
            check_key(value)
        assert caught.value.parameter == "idempotency_key"

    for good in ("k", "chat42/msg17", "ключ 🦊", "x" * 255):
        assert check_key(good) == good
    check_all(["", "x" * 256, "a\nb", "\0", "\ud800", 7, None, b"k", ["k"]], refuse)
