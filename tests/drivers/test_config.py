"""
Key and base URL: where they come from and what is refused.
"""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from apimodels_async import ConfigurationError
from apimodels_async._io.clock import LoopClock
from apimodels_async._io.config import (
    BASE_URL,
    is_loopback,
    resolve_base_url,
    resolve_key,
)

pytestmark = pytest.mark.usefixtures("tmp_path")  # a home to write in
KEY = "sk_canary_0123456789"


def write_credentials(text, mode=0o600):
    """Write the credentials file of this test's home."""
    path = Path("~/.apimodels/credentials").expanduser()
    path.parent.mkdir()
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_argument_wins_over_the_variable_and_that_over_the_file(monkeypatch):
    """The nearest source of a key is used."""
    write_credentials("sk_file")
    assert resolve_key(None).reveal() == "sk_file"
    monkeypatch.setenv("APIMODELS_API_KEY", "sk_env")
    assert resolve_key(None).reveal() == "sk_env"
    assert resolve_key("sk_given").reveal() == "sk_given"


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        f"\n  {KEY}  \n",
        f"# mine\napi_key = {KEY}\n",
        f'APIMODELS_API_KEY="{KEY}"',
        f"export K='{KEY}'\nother=1",
    ],
)
def test_a_credentials_file_is_read_in_its_usual_forms(text):
    """A key alone, or as name=key, quoted or not, after comments and blank lines."""
    write_credentials(text)

    assert resolve_key(None).reveal() == KEY


def test_without_any_key_the_ways_are_named():
    """The error says where a key may come from."""
    with pytest.raises(ConfigurationError, match="APIMODELS_API_KEY"):
        resolve_key(None)


def test_a_file_without_a_key_is_no_key():
    """A file of comments holds none."""
    write_credentials("# nothing\n\n")
    with pytest.raises(ConfigurationError, match="no API key"):
        resolve_key(None)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_others_can_read_is_refused(mode):
    """Group or world access to the file is an error that says what to run."""
    path = write_credentials(KEY, mode)
    with pytest.raises(ConfigurationError, match="chmod 600") as caught:
        resolve_key(None)

    assert str(path) in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_pipe_is_not_waited_for():
    """What is no file is refused at once."""
    path = write_credentials(KEY)
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(ConfigurationError, match="not a file"):
        resolve_key(None)


def test_a_link_is_not_followed():
    """A symbolic link in the place of the file is refused."""
    path = write_credentials(KEY)
    path.rename(path.with_name("real"))
    path.symlink_to("real")
    with pytest.raises(ConfigurationError, match="is not used"):
        resolve_key(None)


@pytest.mark.parametrize(
    "key", ["sk b", "sk\r\nX-Evil: 1", "sk\x00", "snow☃man", "\u00a0", "   "]
)
def test_what_cannot_be_a_key_is_refused_without_showing_it(key):
    """A key that would break a header is refused, and not repeated."""
    with pytest.raises(ConfigurationError) as caught:
        resolve_key(key)

    assert key not in str(caught.value)


def test_blanks_around_a_key_are_dropped():
    """A line break after a pasted key does no harm."""
    assert resolve_key(f" {KEY}\n").reveal() == KEY


def test_the_base_url_comes_from_argument_variable_or_default(monkeypatch):
    """The nearest source of a base URL is used, without its last slash."""
    assert resolve_base_url(None) == BASE_URL
    monkeypatch.setenv("APIMODELS_BASE_URL", "https://env.example/v1/")
    assert resolve_base_url(None) == "https://env.example/v1"
    assert resolve_base_url("http://[::1]:80/v1") == "http://[::1]:80/v1"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://apimodels.app/api/v1", "in the clear"),
        ("ftp://apimodels.app", "in the clear"),
        ("https://me:secret@apimodels.app", "no user"),
        ("https://apimodels.app\\@evil.example", "backslash"),
        ("https://", "absolute"),
        ("apimodels.app/api/v1", "absolute"),
        ("https://apimodels.app/ä", "plain"),
        ("https://apimodels.app/a b", "plain"),
        ("https://apimodels.app/v1?x=1", "query"),
        ("https://apimodels.app/v1#x", "fragment"),
        ("https://apimodels.app:99999/", "(?i)port|read"),
        ("https://[::1/", "(?i)invalid|read"),
        ("http://127.0.0.1.evil.example/", "in the clear"),
    ],
)
def test_a_base_url_that_would_leak_is_refused(url, why):
    """Only https, or http to this machine, and only to the host that is shown."""
    with pytest.raises(ConfigurationError, match=why) as caught:
        resolve_base_url(url)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost.example", False),
        ("10.0.0.1", False),
        ("", False),
    ],
)
def test_loopback_is_told_without_a_resolver(host, expected):
    """Only literal addresses and the one name count."""
    assert is_loopback(host) is expected


async def test_the_clock_is_the_loops():
    """Seconds and sleeps are the loop's, dates the wall clock's."""
    clock = LoopClock()
    before = datetime.now(UTC)
    assert before <= clock.utcnow() <= datetime.now(UTC)

    await clock.sleep(90)
    assert clock.time() == asyncio.get_running_loop().time() == 90
    event = asyncio.Event()
    await clock.wait(event, 100)
    assert clock.time() == 100
    event.set()
    await clock.wait(event, None)
    assert clock.time() == 100
