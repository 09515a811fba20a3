"""Texts of the library in the words of a command line."""

from __future__ import annotations

import pytest

from apimodels_async import PollPolicy, check_request
from apimodels_async._api.checks import check_image
from apimodels_async._api.refusals import name_the_base
from apimodels_async._core.money.orders import FORGET_HINT
from apimodels_async._io.config import resolve_base_url, resolve_key
from apimodels_async.cli.words import plain_words, split_tip
from apimodels_async.errors import ApiModelsError, NotFoundError

PYTHON = ("=", "None", "()", "PollPolicy", "api_key", "base_url", "session.", "{")


def refusals(monkeypatch, tmp_path):
    """Return what the library says of typical mistakes."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("APIMODELS_API_KEY", "APIMODELS_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    calls = [
        lambda: resolve_key(None),
        lambda: resolve_base_url("http://example.com"),
        lambda: PollPolicy(interval=0.5),
        lambda: check_request({"prompt": "a", "aspect_ratio": "1:1", "width": 256}),
        lambda: check_request({"prompt": "a", "width": True}),
        lambda: check_image("images[0]", "a.png"),
        lambda: check_request({"prompt": "a", "model": "real-esrgan"}),
        lambda: check_request({"prompt": "a", "sede": 1}),
        lambda: check_request({"prompt": "a", "max_cost": 1}),
        lambda: check_request({"prompt": " "}),
    ]
    said = [f"it is lost. {FORGET_HINT}", "it was sent; compare balance() before"]
    for call in calls:
        with pytest.raises(ApiModelsError) as caught:
            call()
        said.append(str(caught.value))
    for base_url in ("https://example.com", "https://example.com/v1"):
        missing = NotFoundError("the API does not know this", status=404)
        name_the_base(missing, b"", base_url, "images")
        said.append(str(missing))
    return said


def test_no_python_in_what_a_command_says(monkeypatch, tmp_path):
    """Parameters are called by their options; calls, classes and values go."""
    told = [plain_words(each) for each in refusals(monkeypatch, tmp_path)]
    hints = ("--extra name=value", "--param name=value")
    bare = [text.replace(hints[0], "").replace(hints[1], "") for text in told]

    assert [text for text in bare if any(word in text for word in PYTHON)] == []
    assert all("--poll-interval must be 2" in text for text in told if "poll" in text)


def test_options_are_called_as_they_are_typed():
    """A value is quoted; in a file of prompts names stay the API's."""
    text = "aspect_ratio='16x9' is not allowed: a ratio such as 16:9, or auto"

    assert plain_words(text).startswith('--aspect-ratio "16x9" is not allowed: a')
    assert plain_words(text, options=False).startswith('aspect_ratio "16x9" is not')
    assert plain_words("lost (ClientOSError: no route) here (OSError)") == (
        "lost (no route) here"
    )
    assert plain_words("prompt=9001 characters is not allowed: at most 9000") == (
        "PROMPT of 9001 characters is not allowed: at most 9000"
    )
    assert plain_words("image=None is not allowed: needs one") == "image: needs one"
    assert plain_words("expected text, got NoneType @ $.a").endswith("got null @ $.a")
    assert plain_words("the order under idempotency_key='m 7' of today") == (
        "the order under --idempotency-key m 7 of today"
    )


def test_one_kind_of_quotes():
    """What is quoted has double ones, but where a shell would read more in them."""
    assert plain_words("model 'm-3' is not known") == 'model "m-3" is not known'
    for same in ("the API's word isn't ours", "run: apimodels ls '$HOME'"):
        assert plain_words(same) == same


def test_who_did_not_answer_is_said():
    """Of a connection that was refused the address counts, not the call."""
    said = "POST images/generations failed while connecting (refused at 127.0.0.1:9)"

    assert plain_words(said) == "no connection to the API (refused at 127.0.0.1:9)"


def test_what_to_do_is_told_apart():
    """A question, a command to run and the way round a check become the tip."""
    cases = {
        "`sede`: did you mean seed? To send it all the same: extra={...}": (
            'there is no parameter "sede"',
            "did you mean seed? To send it all the same: --extra name=value",
        ),
        "a=5 is not allowed: 1 to 3. To send it all the same: extra={...}": (
            "a 5 is not allowed: 1 to 3",
            "to send it all the same: --extra name=value",
        ),
        "x is not installed; run: pip install x": (
            "x is not installed",
            "run: pip install x",
        ),
        "it is so.": ("it is so", ""),
    }

    told = {text: split_tip(plain_words(text)) for text in cases}
    assert told == cases
