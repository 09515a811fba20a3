"""Key and base URL: from the argument, the environment, or the credentials file."""

# ruff: noqa: PT017  what a property allows is a value or an error, not one of them

from __future__ import annotations

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cases import check_all
from support.sessions import KEY

from apimodels_async import Session
from apimodels_async._io.config import (
    callback_secret,
    check_http,
    credentials_problem,
    resolve_base_url,
    resolve_key,
    resolve_polling,
)
from apimodels_async.errors import ConfigurationError
from apimodels_async.policies import PollPolicy

BASE_URL = "https://apimodels.app/api/v1"
BAD = "base_url is not usable: "


@pytest.fixture
def store(tmp_path):
    """Return a function that writes the credentials file, and its path."""

    def write(text, mode=0o600):
        path = tmp_path / ".apimodels" / "credentials"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return path

    return write


def refusal(resolve, value=None):
    """Return the words with which *value* is refused."""
    with pytest.raises(ConfigurationError) as caught:
        resolve(value)
    assert None is caught.value.__context__ is caught.value.__cause__
    return str(caught.value)


# --- the key --------------------------------------------------------------------


def test_the_argument_comes_first(monkeypatch, store):
    """The argument, then the environment, then the file: the first one counts."""
    store("sk_from_file")
    assert resolve_key(None).reveal() == "sk_from_file"

    monkeypatch.setenv("APIMODELS_API_KEY", "sk_from_environment")
    assert resolve_key(None).reveal() == "sk_from_environment"
    assert resolve_key("sk_from_argument").reveal() == "sk_from_argument"


def test_without_a_key_all_three_places_are_named():
    """A missing key is an error that says where one may be put."""
    assert refusal(resolve_key) == (
        "no API key: pass api_key=, set APIMODELS_API_KEY, run `apimodels login` "
        "(extra [cli]), or write it to ~/.apimodels/credentials (mode 600)"
    )


def test_an_address_is_no_key():
    """An address given as the key is told so, and not shown."""
    said = refusal(resolve_key, "https://me:word@images.example/v1")

    assert "is an address" in said
    assert "base_url" in said
    assert "word" not in said
    assert "example" not in said


@pytest.mark.parametrize("blank", [" ", "\t", "\n", "\r\n"])
def test_blanks_around_a_key_are_dropped(blank):
    """A key pasted with a line end is the key without it."""
    assert resolve_key(f"{blank}{KEY}{blank}").reveal() == KEY


@pytest.mark.parametrize("place", ["argument", "environment", "file"])
def test_a_key_that_could_break_a_header_is_refused(monkeypatch, store, place):
    """A blank, control or non-ASCII character is refused, and the key never shown."""
    cases = [
        f"{KEY}\r\nX-Evil: 1",
        f"{KEY}\n{KEY}",
        f"{KEY} {KEY}",
        f"{KEY}\t{KEY}",
        f"{KEY}\0",
        f"{KEY}\x7f",
        f"{KEY}é",
        f"{KEY}\u200b",
        f"{KEY}\ud800",
        f"{KEY}\xa0x",
    ]

    def check(key):
        where = "the argument"
        if place == "argument":
            words = refusal(resolve_key, key)
        elif place == "environment":
            if {"\0", "\ud800"} & {*key}:
                return  # an environment variable cannot hold it
            monkeypatch.setenv("APIMODELS_API_KEY", key)
            where, words = "APIMODELS_API_KEY", refusal(resolve_key)
        else:
            if len(key.splitlines()) > 1:
                return  # a line of the file is a key; the next one is another
            where = store(key.encode("utf-8", "surrogatepass"))
            words = refusal(resolve_key)

        assert words == (
            f"the API key ({where}) must be printable ASCII text without blanks"
        )

    check_all(cases, check)


@pytest.mark.parametrize("key", ["", " ", "\n\t ", KEY.encode(), [KEY], 5])
def test_a_blank_key_is_refused(monkeypatch, key):
    """An empty key is none, and so is what is no text, whatever else is there."""
    monkeypatch.setenv("APIMODELS_API_KEY", KEY)
    assert refusal(resolve_key, key).startswith("api_key= is empty, or no text: pass")
    assert refusal(Session, key).startswith("api_key= is empty")


def test_an_empty_variable_is_not_set(monkeypatch, store):
    """What is empty in the environment counts as not being there."""
    store("sk_from_file")
    for name in ("API_KEY", "BASE_URL", "CALLBACK_SECRET"):
        monkeypatch.setenv(f"APIMODELS_{name}", "")

    assert resolve_key(None).reveal() == "sk_from_file"
    assert resolve_base_url(None) == BASE_URL
    assert len(callback_secret(None).reveal()) == 64


def test_an_empty_secret_of_callbacks_is_refused(monkeypatch):
    """A secret that is given and empty is not replaced by that of the environment."""
    monkeypatch.setenv("APIMODELS_CALLBACK_SECRET", "s" * 32)
    assert "at least 32 characters" in refusal(callback_secret, "")


@given(st.text(min_size=1))
def test_no_key_is_ever_shown(key):
    """Whatever is passed as a key, it is a printable secret or refused unseen."""
    marked = f"sk_marked{key}"
    try:
        secret = resolve_key(marked)
    except ConfigurationError as error:
        assert "sk_marked" not in str(error)
    else:
        assert secret.reveal().isprintable()
        assert secret.reveal().isascii()
        assert "sk_marked" not in repr(secret)


def test_a_key_is_found_in_the_file(store):
    """The first line that is no comment is the key, bare or as name=key."""
    cases = [
        KEY,
        f"{KEY}\n",
        f"\n\n  {KEY}  \r\nsk_second\n",
        f"# my key\n{KEY}\n",
        f"APIMODELS_API_KEY={KEY}",
        f"api_key = '{KEY}'",
        f'export APIMODELS_API_KEY="{KEY}"',
    ]

    def check(text):
        store(text)
        assert resolve_key(None).reveal() == KEY

    check_all(cases, check)


def test_a_key_may_end_like_base64(store):
    """Equals signs at the end belong to the key."""
    for text in ("abc==", "name=abc==", "name = 'abc=='"):
        store(text)
        assert resolve_key(None).reveal() == "abc=="


def test_equals_signs_inside_a_key_are_kept(store):
    """What stands before an equals sign is a name only if it can be one."""
    store("sk-abc=def")
    assert resolve_key(None).reveal() == "sk-abc=def"


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing here\n", "api_key="])
def test_a_file_without_a_key_is_no_key(store, text):
    """An empty file, or one of comments, counts as a missing key."""
    store(text)
    assert refusal(resolve_key).startswith("no API key")


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_private_file_is_read(store, mode):
    """A file that only its owner can read is used."""
    store(KEY, mode)
    assert resolve_key(None).reveal() == KEY


def test_a_file_others_can_open_is_not_read(store):
    """A file that others can read or write is refused, with the cure."""
    cases = [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644]

    def check(mode):
        path = store(KEY, mode)
        words = refusal(resolve_key)

        expected = f"{path} is not used: others can read it; run: chmod 600 {path}"
        assert expected == words
        assert mode == stat.S_IMODE(path.stat().st_mode)

    check_all(cases, check)


def test_a_file_of_somebody_elses_is_not_read(tmp_path):
    """Only this user and root may have written it, however private it is."""
    path = tmp_path / "credentials"
    found = {
        owner: credentials_problem(
            os.stat_result((stat.S_IFREG | 0o600, 0, 0, 1, owner, 0, 0, 0, 0, 0)),
            1000,
            path,
        )
        for owner in (1000, 0, 1001)
    }

    assert found == {1000: None, 0: None, 1001: "it is somebody else's"}


def test_where_files_have_no_mode_any_file_is_read(tmp_path):
    """Windows tells neither owner nor mode; a directory and a link are refused."""
    path, link = tmp_path / "credentials", tmp_path / "link"
    path.touch(mode=0o666)
    link.symlink_to(path)

    assert credentials_problem(path.stat(), None, path) is None
    assert credentials_problem(path.stat(), None, link) == "it is a link"
    assert credentials_problem(tmp_path.stat(), None, tmp_path) == "it is not a file"


def test_nothing_in_the_working_directory_says_key_or_address(
    monkeypatch, tmp_path_factory
):
    """Files that other tools read there are not read."""
    place = tmp_path_factory.mktemp("project")
    monkeypatch.chdir(place)
    text = "APIMODELS_API_KEY=sk_stray\nAPIMODELS_BASE_URL=https://stray.example\n"
    names = (".env", "credentials", ".apimodels/credentials", "apimodels.toml")
    for name in (*names, "batch.json", ".netrc", "config"):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(text)
        (place / name).chmod(0o600)

    assert refusal(resolve_key).startswith("no API key")
    assert resolve_base_url(None) == BASE_URL


def test_a_link_is_not_followed(store, tmp_path):
    """A symbolic link in place of the file is refused."""
    path = store(KEY)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    words = refusal(resolve_key)

    assert words.startswith(f"{path} is not used: ")
    assert KEY not in words


def test_a_folder_is_no_file(tmp_path):
    """A folder in place of the file is refused."""
    path = tmp_path / ".apimodels" / "credentials"
    path.mkdir(parents=True, mode=0o700)

    assert f"{path} is not used: it is not a file" == refusal(resolve_key)


def test_a_pipe_is_no_file(tmp_path):
    """A pipe in place of the file is refused at once, without waiting for a writer."""
    path = tmp_path / ".apimodels" / "credentials"
    path.parent.mkdir()
    os.mkfifo(path, 0o600)

    assert f"{path} is not used: it is not a file" == refusal(resolve_key)


def test_a_file_below_a_file_is_refused(tmp_path):
    """A path that cannot be opened is an error of the set-up, with the reason."""
    (tmp_path / ".apimodels").write_text("x")
    assert refusal(resolve_key).endswith("is not used: Not a directory")


def test_a_file_that_is_no_text_is_refused(store):
    """Bytes that are no UTF-8 are no key, and are not shown."""
    path = store(b"\xff\xfe\x00s\x00k")
    assert refusal(resolve_key).startswith(f"the API key ({path}) must be printable")


def test_a_byte_order_mark_is_no_part_of_the_key(store):
    """A file that an editor on Windows saved as UTF-8 is read like any other."""
    store(b"\xef\xbb\xbfsk_file_01")
    assert resolve_key(None).reveal() == "sk_file_01"


def test_only_the_beginning_of_a_file_is_read(store):
    """Of a file that is much too large, nothing beyond 4 kB is looked at."""
    store("#" * 5000 + f"\n{KEY}")
    assert refusal(resolve_key).startswith("no API key")


# --- the base URL ---------------------------------------------------------------


def test_the_base_url_has_a_default(monkeypatch):
    """The argument, then the environment, then the address of the API page."""
    assert resolve_base_url(None) == BASE_URL
    monkeypatch.setenv("APIMODELS_BASE_URL", "https://example.com/v2/")
    assert resolve_base_url(None) == "https://example.com/v2"
    assert resolve_base_url("https://a.example") == "https://a.example"
    for empty in ("", " \n"):  # where an address is another one's, so is the account
        assert refusal(resolve_base_url, empty).startswith("base_url is empty: pass an")


def test_a_base_url_is_https_or_loopback():
    """https anywhere and http on this machine are used, without a slash at the end."""
    cases = [
        (BASE_URL, BASE_URL),
        (f"{BASE_URL}/", BASE_URL),
        (f"{BASE_URL}///", BASE_URL),
        ("https://api.apimodels.app/v1", "https://api.apimodels.app/v1"),
        ("https://10.0.0.1:8443/x", "https://10.0.0.1:8443/x"),
        ("https://[2001:db8::1]:8443/x", "https://[2001:db8::1]:8443/x"),
        ("HTTPS://EXAMPLE.COM/x", "HTTPS://EXAMPLE.COM/x"),
        ("http://localhost:8787/api/v1", "http://localhost:8787/api/v1"),
        ("http://LOCALHOST", "http://LOCALHOST"),
        ("http://127.0.0.1:8787", "http://127.0.0.1:8787"),
        ("http://127.8.8.8", "http://127.8.8.8"),
        ("http://[::1]:8787/api/v1", "http://[::1]:8787/api/v1"),
    ]

    def check(url, expected):
        assert expected == resolve_base_url(url)

    check_all(cases, check)


def test_a_base_url_that_could_leak_the_key_is_refused():
    """Anything but a plain https or loopback address is refused, passwords unseen."""
    cases = [
        (5, "it must be an absolute URL of plain characters"),
        (b"https://apimodels.app", "it must be an absolute URL of plain characters"),
        ("apimodels.app", "it must be an absolute URL of plain characters"),
        ("apimodels.app.evil", "it must be an absolute URL of plain characters"),
        ("/api/v1", "it must be an absolute URL of plain characters"),
        ("//apimodels.app", "://apimodels.app would send the key in the clear"),
        ("https:/apimodels.app", "it must be an absolute URL of plain characters"),
        ("https:///api", "it must be an absolute URL of plain characters"),
        ("https://", "it must be an absolute URL of plain characters"),
        ("https://:443/x", "it must be an absolute URL of plain characters"),
        ("https://exa mple.com", "it must be an absolute URL of plain characters"),
        ("https://example.com/\n", "it must be an absolute URL of plain characters"),
        ("https://ex\u0430mple.com", "it must be an absolute URL of plain characters"),
        ("https://u:PASS@x\u2100y", "it must hold no user, password or backslash"),
        ("https://u:PASS@example.com", "it must hold no user, password or backslash"),
        ("https://PASS@example.com", "it must hold no user, password or backslash"),
        ("https://@example.com", "it must hold no user, password or backslash"),
        ("https://[u:PASS@x]", "it must hold no user, password or backslash"),
        (
            "https://apimodels.app\\@evil.example",
            "it must hold no user, password or backslash",
        ),
        (
            "https://evil.example\\.apimodels.app",
            "it must hold no user, password or backslash",
        ),
        ("https://example.com/x?a=1", "it must have no query and no fragment"),
        ("https://example.com/x?", "it must have no query and no fragment"),
        ("https://example.com/x#a", "it must have no query and no fragment"),
        ("https://example.com/x#", "it must have no query and no fragment"),
        ("https://example.com:99999", "its host or port cannot be read"),
        ("https://example.com:x", "its host or port cannot be read"),
        ("https://[::1", "its host or port cannot be read"),
        ("http://[fe80::1%25eth0]/api", ""),
        ("http://2130706433/api", "http://2130706433 would send the key"),
        ("https://[x]", "its host or port cannot be read"),
        ("http://[::1]x/", "it"),
        ("http://[::1]x:80/", "it"),
        ("http://x[::1]/", "it"),
        (
            "http://apimodels.app/api/v1",
            "http://apimodels.app would send the key in the clear; use https",
        ),
        ("http://10.0.0.1", "http://10.0.0.1 would send the key in the clear"),
        ("http://0.0.0.0", "http://0.0.0.0 would send the key in the clear"),
        ("http://127.1", "http://127.1 would send the key in the clear"),
        (
            "http://localhost.evil.example",
            "http://localhost.evil.example would send the key in the clear",
        ),
        (
            "http://127.0.0.1.evil.example",
            "http://127.0.0.1.evil.example would send the key in the clear",
        ),
        ("http://[::ffff:1.2.3.4]", "http://::ffff:1.2.3.4 would send the key"),
        ("ftp://localhost", "ftp://localhost would send the key in the clear"),
        ("file://localhost/x", "file://localhost would send the key in the clear"),
    ]

    def check(url, reason):
        words = refusal(resolve_base_url, url)

        assert BAD + reason == words[: len(BAD) + len(reason)]
        assert "PASS" not in words

    check_all(cases, check)


@given(st.text() | st.text("htps:/[]@#?.x\\1").map("https://".__add__))
def test_any_base_url_is_used_or_refused(url):
    """Whatever the text, it is a usable address or a ConfigurationError."""
    try:
        found = resolve_base_url(url)
    except ConfigurationError as error:
        assert str(error)
    else:
        assert found.lower().startswith(("https://", "http://"))
        assert not set(found) & set("@?#\\ \n")


# --- the interval ----------------------------------------------------------------


def test_the_environment_sets_the_interval_on_this_machine(monkeypatch):
    """A loopback API is polled as the environment says; all else stays."""
    policy = PollPolicy(3, deadline=60, max_rate=5)
    assert resolve_polling(policy, "http://127.0.0.1:8787/api/v1") is policy

    monkeypatch.setenv("APIMODELS_POLL_INTERVAL", "0.05")
    found = resolve_polling(policy, "http://127.0.0.1:8787/api/v1")
    assert found == PollPolicy.unchecked(interval=0.05, deadline=60, max_rate=5)


def test_the_environment_cannot_hurry_the_real_api(monkeypatch):
    """Anywhere else the variable says nothing."""
    monkeypatch.setenv("APIMODELS_POLL_INTERVAL", "0.05")

    assert resolve_polling(PollPolicy(), BASE_URL) == PollPolicy()


def test_an_interval_the_program_chose_comes_first(monkeypatch):
    """An unchecked interval is the program's own, whatever the environment says."""
    monkeypatch.setenv("APIMODELS_POLL_INTERVAL", "0.05")
    policy = PollPolicy.unchecked(interval=1)

    assert resolve_polling(policy, "http://127.0.0.1:8787/api/v1") is policy


def test_an_interval_that_cannot_be_is_refused(monkeypatch):
    """What is no positive number is an error that names what is wrong."""
    cases = ["soon", "0", "-1", "nan", "inf"]

    def check(text):
        monkeypatch.setenv("APIMODELS_POLL_INTERVAL", text)

        with pytest.raises(ConfigurationError, match="POLL_INTERVAL must be a pos"):
            resolve_polling(PollPolicy(), "http://localhost/api/v1")

    check_all(cases, check)


def test_what_is_borrowed_is_a_session_of_aiohttps():
    """What cannot carry requests is refused by name; no session is the usual case."""
    check_http(None, fresh=True)

    def check(value):
        with pytest.raises(ConfigurationError, match=f"not {type(value).__name__}"):
            check_http(value, fresh=False)

    check_all(["http://a", 5, b"", {}], check)
