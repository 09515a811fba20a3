"""Addresses that others chose: not a character is changed that may stand there."""

from __future__ import annotations

import pytest

from apimodels_async._io.http.addresses import exact_url, moved_url

SIGNED = "/fox%27s%20den.png?user=me%40x&scope=a%2Fb&t=%7E1&u=%c3%A9&p=a|b&q=~"


def test_what_is_well_formed_is_sent_as_it_is():
    """Escapes are neither decoded nor written otherwise, in path and query."""
    for text in (SIGNED, "/", "/a/../b", "/a//b", "/%zz", "/?", "/?a=[1]"):
        url = exact_url(f"https://files.example{text}")

        assert url.raw_path_qs == text.removesuffix("?") or text


def test_what_no_request_may_hold_is_escaped():
    """Blanks, line breaks and letters beyond ASCII become escapes, and nothing else."""
    for text, sent in {
        "/a b?c=%2F d": "/a%20b?c=%2F%20d",
        "/é%27": "/%C3%A9%27",
        "/a\r\nHost: x": "/a%0D%0AHost:%20x",
        "?x=%2F": "/?x=%2F",
        "": "/",
        '/"<>\\': "/%22%3C%3E%5C",
    }.items():
        assert exact_url(f"https://files.example{text}").raw_path_qs == sent


def test_the_host_is_read_as_everywhere():
    """It is lower case, in ASCII, and its port a number."""
    for text, authority in {
        "HTTPS://FILES.example:8443/x": "files.example:8443",
        "https://b\xfccher.example/x": "xn--bcher-kva.example",
        "https://[2A00::1]:1/x": "[2a00::1]:1",
    }.items():
        assert exact_url(text).raw_authority == authority


@pytest.mark.parametrize(
    "text",
    [
        *("https://[", "https://h:99999/", "https://h:x/", "https://h/\ud800"),
        *("https://a b/", "https://a\r\nHost: b/", "https://a\\@b/", "https://:1/"),
    ],
)
def test_what_is_no_address_is_refused(text):
    """A host or port that cannot be read, or what could mean another host, is none."""
    with pytest.raises(ValueError):  # noqa: PT011  yarl's words, and Python's
        exact_url(text)


def test_a_redirect_leads_where_it_says():
    """Relative and whole ones, their escapes left as they are."""
    here = exact_url("https://files.example/a%27/b?x=%2F")
    for location, there in {
        SIGNED: f"https://files.example{SIGNED}",
        "c%7E": "https://files.example/a%27/c%7E",
        "?y=%41": "https://files.example/a%27/b?y=%41",
        "//other.example/%41": "https://other.example/%41",
        "https://Other.example/%41": "https://other.example/%41",
        "": "https://files.example/a%27/b?x=%2F",
        "/\udce9": "https://files.example/%E9",  # as the head of an answer is read
    }.items():
        assert str(moved_url(here, location)) == there
