"""The value that says where the API calls back."""

from __future__ import annotations

import math

import pytest
from support.cases import check_all

from apimodels_async import (
    ConfigurationError,
    ImageRequest,
    SparkPixEdit,
    SparkPixImage,
)
from apimodels_async._api.requests import callback_of
from apimodels_async.webhooks import Callback

SECRET = "0123456789abcdef0123456789abcdef"


def test_what_cannot_work_is_refused():
    """A bad value is told by name, before anything is sent."""
    cases = [
        ({"url": "ftp://example.com"}, "http"),
        ({"url": "https://example.com/?a=b"}, "query"),
        ({"url": "https://example.com/#a"}, "query"),
        ({"url": "https://me:pass@example.com/"}, "user"),
        ({"url": "hooks"}, "http"),
        ({"url": "http://[::1]x/hooks"}, "http"),
        ({"secret": "short"}, "32"),
        ({"interval": 0}, "interval"),
        ({"patience": math.inf}, "patience"),
        ({"patience": math.nan}, "patience"),
        ({"interval": True}, "interval"),
    ]

    def check(options, says):
        with pytest.raises(ConfigurationError, match=says) as caught:
            Callback(**({"url": "https://example.com/hooks"} | options))
        assert "pass" not in str(caught.value)
        assert "short" not in str(caught.value).split("callback secret")[0]

    check_all(cases, check)


def test_the_secret_comes_from_the_environment(monkeypatch):
    """Two processes with one environment understand each other's addresses."""
    monkeypatch.setenv("APIMODELS_CALLBACK_SECRET", SECRET)
    here, there = Callback("https://a.example"), Callback("https://b.example/x/")
    nonce = here.new_nonce()
    assert there.nonce_of(here.address(nonce)) == nonce


def test_without_a_secret_each_has_its_own():
    """An object that was given no secret accepts only addresses of its own."""
    here, there = Callback("https://a.example"), Callback("https://a.example")
    nonce = here.new_nonce()
    assert here.nonce_of(here.address(nonce)) == nonce
    assert there.nonce_of(here.address(nonce)) is None


def test_it_shows_no_secret():
    """Neither repr nor attributes spell the secret out."""
    callback = Callback("https://a.example/hooks/", secret=SECRET)
    assert repr(callback) == "<Callback https://a.example/hooks>"
    assert SECRET not in str(vars(callback))


def test_a_callback_of_the_requests_own_is_seen():
    """The callback URL of a request is known for every kind of request."""
    cases = [
        (SparkPixImage(prompt="a"), None),
        (
            SparkPixImage(prompt="a", callback_url="https://a.example"),
            "https://a.example",
        ),
        (SparkPixImage(prompt="a", extra={"callBackUrl": "https://b"}), "https://b"),
        (SparkPixEdit(prompt="a", images=["https://a.example/1.png"]), None),
        (ImageRequest("m", "a"), None),
        (ImageRequest("m", "a", {"callback_url": "https://c"}), "https://c"),
    ]

    def check(request_, own):
        assert callback_of(request_) == own

    check_all(cases, check)
