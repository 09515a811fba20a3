"""What an order that was there already means, and which requests are the same."""

from __future__ import annotations

import json
import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cases import check_all

from apimodels_async import InvalidRequestError
from apimodels_async._core.money.orders import (
    BEFORE,
    ENDED,
    OrderRecord,
    Standing,
    addresses_in,
    check_key,
    digest_of,
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
    with pytest.raises(InvalidRequestError, match="2026-11-28 00:00:00") as caught:
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


# --- digests ----------------------------------------------------------------------

PATH = "images/generations"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
    ),
    max_leaves=8,
)
BODIES = st.dictionaries(TEXT, VALUES, max_size=4)


def respelt(value):
    """Return the same value: other order, other numbers, other Unicode form."""
    if isinstance(value, dict):
        return {
            unicodedata.normalize("NFD", name): respelt(each)
            for name, each in reversed(value.items())
        }
    if isinstance(value, list):
        return [respelt(each) for each in value]
    if isinstance(value, str):
        return unicodedata.normalize("NFD", value)
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


@given(BODIES)
def test_spelling_does_not_matter(body):
    """Order of parameters, 1 and 1.0, and the Unicode form change no digest."""
    if len({unicodedata.normalize("NFD", name) for name in body}) == len(body):
        twin = json.loads(json.dumps(body))
        assert digest_of(PATH, twin) == digest_of(PATH, body)
        assert digest_of(PATH, dict(reversed(body.items()))) == digest_of(PATH, body)


def test_the_same_request_has_one_digest():
    """Whatever its spelling, its callback address and its addresses' signatures."""
    body = {"prompt": "café", "n": 1, "image": ["https://a.example/b.png?sig=1#top"]}
    same = [
        respelt(body),
        {**body, "n": 1.0},
        {**body, "callBackUrl": "https://me.example/hook"},
        {**body, "image": ["https://a.example/b.png?sig=2"]},
        {**body, "image": ["https://a.example/b.png"]},
    ]

    def check(other):
        assert digest_of(PATH, other) == digest_of(PATH, body)

    check_all([(each,) for each in same], check)
    big = {"image": ["HTTPS://a.example/b.png?sig=1"]}
    assert digest_of(PATH, big) == digest_of(
        PATH, {"image": ["HTTPS://a.example/b.png"]}
    )


def test_other_requests_have_other_digests():
    """Also where a prompt begins like an address, or Unicode forms meet."""
    bodies = [
        {},
        {"prompt": "a"},
        {"prompt": "A"},
        {"prompt": ["a"]},
        {"prompt": "https://shop.example/a.png?draw it in red"},
        {"prompt": "https://shop.example/a.png?draw it in blue"},
        {"text": "https://shop.example/a.png ?red"},
        {"text": "https://shop.example/a.png ?blue"},
        {"n": 1},
        {"n": True},
        {"n": "1"},
        {"n": 1.5},
        {"n": None},
        {"n": [1, 2]},
        {"n": [2, 1]},
        {"n": {"a": 1}},
        {"n": {"fields": [["a", 1]]}},
        {"n": [["a", 1]]},
        {"\u00e9": 1, "e\u0301": 2},
        {"\u00e9": 2, "e\u0301": 2},
        {"image": "https://a.example/b.png"},
        {"image": "https://a.example/c.png"},
        {"inner": {"callBackUrl": "https://me.example"}},
        {"inner": {}},
    ]
    digests = {digest_of(PATH, body) for body in bodies}

    assert len(digests) == len(bodies)
    assert digest_of("images/edits", {}) not in digests
    assert all(each.startswith("1:") for each in digests)


def test_an_upload_counts_by_what_it_holds():
    """Two addresses of one content are the same, and no text is."""
    contents = {"https://f.example/1": "abc", "https://f.example/2": "abc"}
    one = digest_of(PATH, {"image": "https://f.example/1"}, contents)

    assert digest_of(PATH, {"image": "https://f.example/2"}, contents) == one
    assert digest_of(PATH, {"image": "https://f.example/1"}) != one
    assert digest_of(PATH, {"image": "content abc"}, contents) != one
    assert digest_of(PATH, {"image": {"content": "abc"}}, contents) != one


def test_the_addresses_of_a_request():
    """All that may be uploads, however deep; no prompt, no callback, no text."""
    body = {
        "prompt": "https://a.example/p",
        "callBackUrl": "https://a.example/c",
        "image": ["https://a.example/1", {"mask": "HTTP://a.example/2"}],
        "text": "https://a.example/ is where it is",
        "n": 1,
    }

    assert addresses_in(body) == {"https://a.example/1", "HTTP://a.example/2"}


def test_numbers_without_end_have_a_digest():
    """JSON's own reader makes them; they are sent, so they are named."""
    bodies = [{"n": float("inf")}, {"n": float("nan")}, {"n": 1e300}]

    assert len({digest_of(PATH, body) for body in bodies}) == 3
