"""Callback addresses: what is ours is read back, and nothing else is."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given
from support.cases import check_all

from apimodels_async._core.polling.callback_address import sign, verify

SECRET = b"a secret of the server's own, 32+"
NONCE = "00112233445566778899aabbccddeeff"
TAIL = sign(SECRET, NONCE)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@given(raw=st.binary(min_size=16, max_size=16), secret=st.binary(min_size=32))
def test_an_address_gives_its_nonce_back(raw, secret):
    """A nonce that was put into a tail of 43 harmless characters is read from it."""
    tail = sign(secret, raw.hex())
    assert verify(secret, tail) == raw.hex()
    assert len(tail) == 43
    assert set(tail) <= set(ALPHABET)


def test_any_other_character_makes_it_a_stranger():
    """No single character can be exchanged, the last with its spare bits included."""

    def check(place):
        for other in set(ALPHABET) - {TAIL[place]}:
            assert verify(SECRET, TAIL[:place] + other + TAIL[place + 1 :]) is None

    check_all(range(43), check)


def test_what_is_no_address_is_refused():
    """Text of any length and kind is refused, not an error."""

    def check(tail):
        assert verify(SECRET, tail) is None

    check_all(
        [
            "",
            "hooks",
            TAIL + "=",
            TAIL[:-1],
            TAIL + "A",
            "\u00fc" * 43,
            "*" * 43,
            "A" * 43,
        ],
        check,
    )


@given(tail=st.text(max_size=60))
def test_any_text_is_refused(tail):
    """No text that was not made by the secret passes."""
    assert verify(SECRET, tail) is None


def test_another_secret_reads_nothing():
    """An address of one server is a stranger's to another."""
    assert verify(SECRET + b"!", TAIL) is None


def test_an_address_is_the_same_in_every_release():
    """Those that are out when a program is updated are still known."""
    nonce = "00112233445566778899aabbccddeeff"
    signed = "ABEiM0RVZneImaq7zN3u_73mlWYmBncVv_1ipTT5Frg"
    assert sign(b"secret", nonce) == signed
    assert verify(b"secret", signed) == nonce
