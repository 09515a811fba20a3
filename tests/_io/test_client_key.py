"""
The key stays out of what others show: answers that repeat it, frames that raise.
"""

from __future__ import annotations

import json

import pytest
from support.cases import check_all

from apimodels_async import Session, sync
from apimodels_async._secret import Secret
from apimodels_async.errors import ConfigurationError
from apimodels_async.webhooks import Callback

KEY = "sk_canary/77fe1b+Z"
HOOK = "https://app.example.com"
LONG = "canary-of-a-callback-secret-0123456789"

ECHOES = {
    "plain": KEY.encode(),
    "JSON's slash": KEY.replace("/", "\\/").encode(),
    "JSON's escapes": KEY.replace("k", "\\u006b").replace("Z", "\\u005A").encode(),
    "in a URL": b"sk_canary%2F77fe1b%2BZ",
}


def test_an_answer_that_repeats_the_key_is_masked():
    """However it is spelt, JSON stays JSON and the key is not in it."""
    secret = Secret(KEY)

    def check(echo):
        masked = secret.mask(b'{"msg":"you sent %b, twice: %b"}' % (echo, echo))
        assert json.loads(masked)["msg"] == "you sent ***, twice: ***"

    check_all([*ECHOES.values(), ECHOES["JSON's escapes"]], check)


def test_what_does_not_repeat_it_stays_the_same_object():
    """Nearly every answer: looked through, not copied."""
    body = b'{"code":200,"data":{"taskId":"clx1","state":"pending"}}'
    assert Secret(KEY).mask(body) is body


def test_a_word_of_the_answers_is_no_key():
    """Something as short as ``code`` is not masked: every answer would break."""
    assert Secret("code").mask(b'{"code":200}') == b'{"code":200}'


def frames(make):
    """Return what the library's frames hold when *make* fails, as text."""
    with pytest.raises(ConfigurationError) as caught:
        make()
    found, trace = [], caught.value.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename != __file__:
            found += [repr(value) for value in trace.tb_frame.f_locals.values()]
        trace = trace.tb_next
    return found


SET_UPS = {
    "session, bad URL": lambda: Session(KEY, base_url="http://api.example.org/v1"),
    "session, bad number": lambda: Session(KEY, max_polls=0),
    "session, blank": lambda: Session(f"{KEY} x"),
    "sync, bad URL": lambda: sync.Session(KEY, base_url="http://api.example.org/v1"),
    "sync, blank": lambda: sync.Session(f"{KEY} x"),
    "callback, bad URL": lambda: Callback("app.example.com", secret=LONG),
    "callback, bad number": lambda: Callback(HOOK, secret=LONG, interval=0),
    "callback, short": lambda: Callback(HOOK, secret=LONG[:20]),
}


def test_a_set_up_that_fails_shows_no_secret():
    """Neither key nor callback secret is in a local, and each local has a repr."""

    def check(make):
        shown = " ".join(frames(make))
        assert KEY not in shown
        assert LONG[:20] not in shown

    check_all(SET_UPS.values(), check)


def test_a_key_in_the_environment_is_not_shown(monkeypatch):
    """As one that is given."""
    monkeypatch.setenv("APIMODELS_API_KEY", f"{KEY} x")
    assert KEY not in " ".join(frames(Session))
