"""How the API says no, by status or by the ``code`` in its body."""

# ruff: noqa: PT017  what a property allows is a value or an error, not one of them

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.cases import check_all

from apimodels_async._api.checks import BASE_URL
from apimodels_async._api.refusals import (
    http_date,
    name_the_base,
    read_body,
    refusal,
    retry_after,
)
from apimodels_async._ports import Reply
from apimodels_async.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    InsufficientCreditsError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    UnexpectedResponseError,
)

DATE = "Mon, 23 Nov 2026 07:00:00 GMT"
HTML = b"<html><head><title>502 Bad Gateway</title></head>\r\n\x1b[31m</html>"
TYPES = {
    400: BadRequestError,
    401: AuthenticationError,
    402: InsufficientCreditsError,
    403: PermissionDeniedError,
    404: NotFoundError,
    408: APIStatusError,
    425: APIStatusError,
    429: RateLimitError,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
BODIES = st.binary() | st.dictionaries(
    st.sampled_from(["code", "msg", "data", "error", "message"]), JSON
).map(lambda body: json.dumps(body).encode())
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "date", "content-encoding"]),
    st.text() | st.floats().map(str) | st.integers().map(str),
)


def answer(status, body=b"", **headers):
    """Return a reply; a body that is no bytes is sent as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, names, raw)


def expected_type(status):
    """Return the error type documented for *status* from 400."""
    return ServerError if status >= 500 else TYPES.get(status, BadRequestError)


# --- outside 200-299 ---------------------------------------------------------------


def test_each_status_has_its_error():
    """A status from 400 to 599 becomes its own error, with the API's words."""
    for status in range(400, 600):
        body = {"code": status, "msg": "because", "data": None}
        error = refusal(answer(status, body))

        assert expected_type(status) is type(error)
        assert (status, status) == (error.status, error.code)
        assert str(error).endswith(f"(HTTP {status}): because")


def test_a_page_of_html_is_shown_in_part_for_each_status():
    """A proxy's page gives the error of its status, no code and a printable snippet."""
    for status in range(400, 600):
        error = refusal(answer(status, HTML * 100))

        assert expected_type(status) is type(error)
        assert (status, None) == (error.status, error.code)
        assert "<title>502 Bad Gateway" in str(error)
        assert str(error).isprintable()
        assert len(str(error)) < 250


def test_a_redirect_is_never_followed_nor_repeated():
    """A 3xx (or 1xx) answer is unexpected; where it points to is not shown."""
    for status in [*range(100, 200), *range(300, 400)]:
        reply = answer(status, location="https://evil.example/?key=1")
        with pytest.raises(UnexpectedResponseError) as caught:
            read_body(reply)

        expected = f"the API answered {status}, a redirect; none is followed"
        assert expected == str(caught.value)
        assert status == caught.value.status


def test_a_wrong_base_url_is_pointed_to():
    """A 404 or a page that is not the API's says what answered; others say nothing."""
    page = b" <html>Welcome</html>"
    with pytest.raises(UnexpectedResponseError) as welcome:
        read_body(answer(200, page))
    lacks = f"should end in a version path, as {BASE_URL} does"
    no_task = refusal(answer(404, {"code": 404, "msg": "no task"}))
    cases = [
        (refusal(answer(404, "Not Found")), b"Not Found", "https://a.b", lacks),
        (refusal(answer(404, page)), page, "https://a.b/v2", "right?"),
        (welcome.value, page, "https://a.b/api", lacks),
        (refusal(answer(404, {"code": 404})), b"{", "https://a.b", lacks),
        (no_task, b"{", "https://a.b/api/v1", ""),
        (refusal(answer(500, page)), page, "https://a.b", ""),
    ]

    def check(error, body, base_url, words):
        before = str(error)
        name_the_base(error, body, base_url, "balance")
        added = f". It was {base_url}/balance that answered: " if words else ""
        assert str(error).startswith(before + added)
        assert str(error).endswith(words)
        assert bool(words) is (str(error) != before)

    check_all(cases, check)


def test_an_empty_refusal_has_no_words():
    """A refusal without a body ends after its status."""
    assert str(refusal(answer(402))) == "not enough credits on the account (HTTP 402)"


def test_the_words_are_looked_for_in_the_vendors_order():
    """The reason is failMsg, msg, error.message, error, message, or the raw text."""
    cases = [
        ({"data": {"failMsg": "1st"}, "msg": "2nd"}, "1st"),
        ({"data": {"failMsg": ""}, "msg": "2nd"}, "2nd"),
        ({"data": None, "msg": "2nd", "error": {"message": "3rd"}}, "2nd"),
        ({"msg": "success", "error": {"message": "3rd"}, "message": "5th"}, "3rd"),
        ({"msg": "", "error": "4th", "message": "5th"}, "4th"),
        ({"msg": {}, "error": {"message": None}, "message": "5th"}, "5th"),
        ({"error": {"code": "x"}}, '{"code": "x"}'),
        ({"msg": ["a", 1]}, '["a", 1]'),
        ([1, "raw"], '[1, "raw"]'),
        (b"plain text", "plain text"),
        (b'{"msg": "cut of', '{"msg": "cut of'),
        ({"msg": "\x1b[2Jcleared\nline"}, "\\x1b[2Jcleared\\nline"),
    ]

    def check(body, said):
        expected = f"the API refused the request (HTTP 400): {said}"
        assert expected == str(refusal(answer(400, body)))

    check_all(cases, check)


def test_a_reason_of_a_megabyte_is_cut():
    """A reason is shown in 2,000 characters at most."""
    assert len(str(refusal(answer(400, {"msg": "x" * 1_000_000})))) < 2100


# --- inside 200-299 ----------------------------------------------------------------


def test_a_success_is_handed_over_unchanged():
    """A body with code 200, or with data and no code, comes back as it is."""
    cases = [
        {"code": 200, "msg": "success", "data": {"a": 1}},
        {"code": "200", "data": None},
        {"data": []},
        {"created": 1, "data": [{"url": "https://a/b"}]},
        {"code": 200},
        [],
        "text",
        None,
    ]

    def check(body):
        assert body == read_body(answer(200, body))

    check_all(cases, check)


def test_every_2xx_is_read():
    """The body of every status from 200 to 299 is looked at."""

    def check(status):
        with pytest.raises(InsufficientCreditsError) as caught:
            read_body(answer(status, {"code": 402}))

        assert (status, 402) == (caught.value.status, caught.value.code)

    check_all([200, 201, 202, 226, 299], check)


@pytest.mark.parametrize("code", [402, "402", "0402"], ids=repr)
def test_an_envelope_code_refuses_like_a_status(code):
    """HTTP 200 with a code of 402, in digits or as a number, is a lack of credits."""
    body = {"code": code, "msg": "Insufficient credits", "data": None}

    with pytest.raises(InsufficientCreditsError) as caught:
        read_body(answer(200, body))

    assert (caught.value.status, caught.value.code) == (200, 402)
    assert str(caught.value) == (
        "not enough credits on the account (HTTP 200, 402): Insufficient credits"
    )


def test_each_envelope_code_has_its_error():
    """A body code other than 200 becomes the error of the status it names."""
    for code in [*range(400, 600), 0, -1, 201, 302, 10**9]:
        with pytest.raises(APIStatusError) as caught:
            read_body(answer(200, {"code": code}))

        assert expected_type(code) is type(caught.value)
        assert (200, code) == (caught.value.status, caught.value.code)


def test_a_code_that_cannot_be_read_is_unexpected():
    """A body with neither data nor a readable code is not taken for a success."""
    cases = [
        {"code": True, "data": {}},
        {"code": 200.0, "data": {}},
        {"code": None, "data": {}},
        {"code": "ok", "data": {}},
        {"code": "²", "data": {}},
        {"code": "", "data": {}},
        {"code": [200], "data": {}},
        {"error": {"message": "no"}},
        {},
    ]

    def check(body):
        with pytest.raises(UnexpectedResponseError) as caught:
            read_body(answer(200, body))

        expected = (
            f"the answer carries neither data nor a known code: {json.dumps(body)}"
        )
        assert expected == str(caught.value)
        assert caught.value.status == 200

    check_all(cases, check)


def test_an_encoded_answer_is_refused():
    """A body that was compressed although nobody asked for it is not unpacked."""

    def check(encoding):
        with pytest.raises(UnexpectedResponseError) as caught:
            read_body(answer(200, {"code": 200}, content_encoding=encoding))

        shown = "in some way" if encoding.startswith("x") else encoding
        expected = f"the answer is encoded ({shown}), which was not asked"
        assert expected == str(caught.value)
        assert caught.value.status == 200

    check_all(["gzip", "br", "zstd", "deflate, gzip", "x\x1b"], check)


def test_identity_is_no_encoding():
    """An answer that says it is not encoded is read."""
    assert read_body(answer(200, 1, content_encoding="identity")) == 1


def test_a_success_that_cannot_be_read_is_unexpected():
    """Bytes with status 200 that are not JSON say so, whatever their content type."""
    cases = [
        (b"", "the API's answer is an empty body"),
        (HTML, "the API's answer is not JSON (Expecting value at character 0): <html>"),
        (b'{"code": 20', "the API's answer is not JSON (Expecting ',' delimiter"),
        (b"\xff\xfe", "the API's answer is not UTF-8: "),
        (b"[" * 100_000, "the API's answer is not acceptable JSON (RecursionError)"),
    ]

    def check(body, reason):
        with pytest.raises(UnexpectedResponseError) as caught:
            read_body(answer(200, body, content_type="application/json"))

        assert reason == str(caught.value)[: len(reason)]
        assert caught.value.status == 200
        assert None is caught.value.__context__

    check_all(cases, check)


# --- Retry-After -------------------------------------------------------------------


def test_retry_after_is_seconds_or_a_date():
    """A wait is read in seconds, or as a date against the answer's own Date."""
    cases = [
        ("0", 0.0),
        ("5", 5.0),
        ("1.5", 1.5),
        ("119", 119.0),
        ("120", 120.0),
        ("121", 121.0),
        ("1000000000", 1e9),
        ("-1", None),
        ("inf", None),
        ("-inf", None),
        ("nan", None),
        ("1e400", None),
        ("soon", None),
        ("", None),
        ("5, 5", None),
        ("Mon, 23 Nov 2026 07:00:00 GMT", 0.0),
        ("Mon, 23 Nov 2026 07:00:07 GMT", 7.0),
        ("Mon, 23 Nov 2026 08:00:00 +0000", 3600.0),
        ("Mon, 23 Nov 2026 06:59:59 GMT", None),
        ("Mon, 23 Nov 2026 07:00:07 -0000", None),
        ("Mon, 99 Nov 2026 07:00:07 GMT", None),
    ]

    def check(value, expected):
        assert expected == retry_after({"retry-after": value, "date": DATE})

    check_all(cases, check)


@pytest.mark.parametrize("headers", [{}, {"retry-after": DATE}, {"date": DATE}])
def test_a_wait_that_cannot_be_told_is_none(headers):
    """Without the header, or a Date to measure a date against, there is no wait."""
    assert None is retry_after(headers)


def test_a_rate_limit_carries_its_wait():
    """A 429 has the seconds of its header, in words too; so has a 429 in the body."""
    by_status = refusal(answer(429, {"msg": "slow"}, retry_after="2"))
    with pytest.raises(RateLimitError) as caught:
        read_body(answer(200, {"code": 429}, retry_after="600"))

    assert by_status.retry_after == 2.0
    assert str(by_status) == "too many requests, wait 2 s (HTTP 429): slow"
    assert caught.value.retry_after == 600.0
    assert None is refusal(answer(429)).retry_after


def test_a_date_of_a_header_is_utc():
    """A date with a known offset becomes UTC; anything else is None."""
    cases = [
        (DATE, datetime(2026, 11, 23, 7, tzinfo=UTC)),
        ("Mon, 23 Nov 2026 09:00:00 +0200", datetime(2026, 11, 23, 7, tzinfo=UTC)),
        ("", None),
        ("yesterday", None),
        ("Mon, 23 Nov 2026 07:00:00 -0000", None),
        ("Mon, 23 Nov 99999999999 07:00:00 GMT", None),
        ("Mon, 23 Nov 2026 07:00:00 +9999999", None),
        ("Fri, 31 Dec 9999 23:59:59 -0100", None),
    ]

    def check(value, expected):
        found = http_date(value)

        assert expected == found
        assert found is None or found.tzinfo is UTC

    check_all(cases, check)


# --- fuzz --------------------------------------------------------------------------


@given(st.integers(100, 599), BODIES, HEADERS)
@example(200, b'{"code": ' + b"9" * 4000 + b"}", {})
@example(200, b'{"code": "' + b"9" * 5000 + b'"}', {})
def test_any_answer_is_read_or_refused(status, body, headers):
    """Whatever arrives, read_body returns JSON or raises an error that can be shown."""
    try:
        read_body(Reply(status, headers, body))
    except (APIStatusError, UnexpectedResponseError) as error:
        assert status == error.status
        assert str(error).isprintable()
    else:
        assert 200 <= status < 300


@given(st.text() | st.floats().map(repr), st.text())
@example("Mon, 23 Nov 2026 07:00:00 GMT", "Mon, 01 Jan 0001 00:00:00 +2300")
@example("Fri, 31 Dec 9999 23:59:59 -2300", "Mon, 01 Jan 0001 00:00:00 +0000")
def test_any_retry_after_is_a_wait_or_none(value, date):
    """Whatever the headers hold, the wait is finite and not negative, or None."""
    wait = retry_after({"retry-after": value, "date": date})

    assert wait is None or (math.isfinite(wait) and wait >= 0)


@given(
    st.sampled_from(["Mon, ", "", "Foo "]),
    st.integers(-5, 10**6),
    st.sampled_from(["Jan", "Feb", "13", "x"]),
    st.integers(-5, 10**6),
    st.sampled_from(["00:00:00", "25:00", "99:99:99", "1:2:3:4", "x"]),
    st.sampled_from(["GMT", "+0000", "-9999", "+99999", "EST", "-0000", ""]),
)
def test_anything_like_a_date_is_a_date_or_none(day, number, month, year, time, zone):
    """A text shaped like a date, however wrong, is a date or None."""
    found = http_date(f"{day}{number} {month} {year} {time} {zone}")

    assert found is None or found.tzinfo is UTC
