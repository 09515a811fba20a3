"""Taking up a broken transfer where it ended, and only if it is still the same file."""

from __future__ import annotations

import pytest
from support.cases import check_all

from apimodels_async._core.files.ranges import (
    Origin,
    continues,
    origin_of,
    resume_headers,
)

URL = "https://files.example/a.png"
BYTES = {"Accept-Ranges": "bytes", "Content-Length": "1000"}
TAG = '"v1"'
CHANGED = "Mon, 23 Nov 2026 09:00:00 GMT"
LATER = "Mon, 23 Nov 2026 10:00:00 GMT"
A_MINUTE_ON = "Mon, 23 Nov 2026 09:01:00 GMT"
JUST_THEN = "Mon, 23 Nov 2026 09:00:30 GMT"


def test_only_a_sure_version_can_be_taken_up():
    """A strong tag, or a date well in the past, of a server that serves ranges."""
    cases = [
        ({**BYTES, "ETag": TAG}, TAG, 1000),
        ({**BYTES, "ETag": 'W/"v1"'}, None, 1000),
        ({**BYTES, "Last-Modified": CHANGED, "Date": LATER}, CHANGED, 1000),
        ({**BYTES, "Last-Modified": CHANGED, "Date": JUST_THEN}, None, 1000),
        ({**BYTES, "Last-Modified": CHANGED, "Date": A_MINUTE_ON}, CHANGED, 1000),
        ({**BYTES, "Last-Modified": CHANGED}, None, 1000),
        ({**BYTES, "Last-Modified": "yesterday", "Date": LATER}, None, 1000),
        ({**BYTES, "Last-Modified": CHANGED[:-4], "Date": LATER}, None, 1000),
        ({"ETag": TAG}, None, None),
        ({"ETag": TAG, "Accept-Ranges": "none"}, None, None),
        ({**BYTES, "Content-Length": "many"}, None, None),
        ({}, None, None),
    ]

    def check(headers, version, total):
        assert origin_of(URL, headers) == Origin(URL, version, total)

    check_all(cases, check)


def test_what_is_missing_is_asked_for():
    """From the first missing byte on, if it is still that version."""
    origin = Origin(URL, TAG, 1000)

    assert resume_headers(origin, URL, 400) == {
        "Range": "bytes=400-",
        "If-Range": TAG,
    }


@pytest.mark.parametrize(
    ("origin", "url", "have"),
    [
        (None, URL, 400),
        (Origin(URL, TAG, 1000), URL, 0),
        (Origin(URL, None, 1000), URL, 400),
        (Origin(URL, TAG, 1000), URL + "?fresh", 400),
    ],
    ids=["nothing known", "nothing held", "no version", "another address"],
)
def test_otherwise_the_whole_is_asked_for(origin, url, have):
    """Without a version, or from another address, a download begins anew."""
    assert resume_headers(origin, url, have) == {}


def test_a_part_must_fit():
    """It starts where ours ends, ends within the file, and is of the same version."""
    cases = [
        ("bytes 400-999/1000", {}, True),
        ("bytes 400-999/1000", {"ETag": TAG}, True),
        ("bytes 400-999/1000", {"ETag": '"v2"'}, False),
        ("bytes 0-999/1000", {}, False),
        ("bytes 401-999/1000", {}, False),
        ("bytes 400-999/2000", {}, False),
        ("bytes 400-1000/1000", {}, False),
        ("bytes 400-399/1000", {}, False),
        ("bytes 400-999/*", {}, False),
        ("", {}, False),
    ]

    def check(content_range, more, fits):
        headers = {"Content-Range": content_range, **more}

        assert continues(Origin(URL, TAG, 1000), headers, 400) is fits

    check_all(cases, check)


def test_a_part_that_says_nothing_of_its_place_does_not_fit():
    """Without its header a part may be any part; the last byte alone is a part."""
    origin = Origin(URL, TAG, 1000)

    assert not continues(origin, {}, 400)
    assert continues(origin, {"Content-Range": "bytes 999-999/1000"}, 999)


def test_a_date_is_no_tag():
    """A part of a version known by date is not compared by tag."""
    headers = {"Content-Range": "bytes 400-999/1000", "ETag": TAG}

    assert continues(Origin(URL, CHANGED, None), headers, 400)
