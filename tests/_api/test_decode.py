"""Bytes of an answer become JSON, or an error that says why not."""

# ruff: noqa: PT017  what a property allows is a value or an error, not one of them

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.cases import check_all

from apimodels_async._api.decode import UnreadableError, decode_json, snippet

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def test_json_is_read():
    """UTF-8 JSON is read, with a byte order mark or without."""
    cases = [
        (b'{"code": 200}', {"code": 200}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b" [1, 2.5, null, true] \n", [1, 2.5, None, True]),
        ('"caf\u00e9 🦊"'.encode(), "café 🦊"),
        (b'{"a": {"b": 1}, "c": {"b": 1}}', {"a": {"b": 1}, "c": {"b": 1}}),
    ]

    def check(body, expected):
        assert expected == decode_json(body)

    check_all(cases, check)


def test_what_is_not_strict_json_is_refused_with_its_reason():
    """Text two parsers could read differently is refused, and the error says why."""
    cases = [
        (b"", "an empty body"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8: "),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8: "),
        (b'{"a": "\xc3"}', "not UTF-8: "),
        (b"<!doctype html>", "not JSON (Expecting value at character 0): <!doctype"),
        (b'{"state": "comp', "not JSON (Unterminated string"),
        (b"{} {}", "not JSON (Extra data at character 3): {} {}"),
        (b'{"a": "\x01"}', "not JSON (Invalid control character"),
        (b'{"a": NaN}', 'not acceptable JSON (ValueError): {"a": NaN}'),
        (b"[Infinity]", "not acceptable JSON (ValueError): [Infinity]"),
        (b"[-Infinity]", "not acceptable JSON (ValueError): [-Infinity]"),
        (
            b'{"state": "failed", "state": "completed"}',
            'not acceptable JSON (ValueError): {"state": "failed"',
        ),
        (b'{"a": {"b": 1, "b": 1}}', "not acceptable JSON (ValueError): "),
        (b"1" * 5000, "not acceptable JSON (ValueError): 1111"),
        (b"[" * 100_000, "not acceptable JSON (RecursionError): [[[["),
        (b'{"a":' * 100_000, "not acceptable JSON (RecursionError): "),
    ]

    def check(body, reason):
        with pytest.raises(UnreadableError) as caught:
            decode_json(body)

        assert reason == str(caught.value)[: len(reason)]
        assert len(str(caught.value)) < 250
        assert caught.value.__context__ is None  # JSONDecodeError keeps the whole body

    check_all(cases, check)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
@example(b'{"a":1e400}')
@example(b"\xef\xbb\xbf")
def test_any_bytes_are_read_or_unreadable(body):
    """Whatever the bytes are, nothing but UnreadableError is raised."""
    try:
        decode_json(body)
    except UnreadableError as error:
        assert str(error).isprintable()


@given(JSON)
def test_json_comes_back_as_it_was_sent(value):
    """What one side writes as JSON, the other reads as the same value."""
    assert value == decode_json(json.dumps(value).encode())


def test_a_hostile_megabyte_is_judged_quickly():
    """The largest answer that is read is no way to keep us busy, whatever it holds."""
    cases = [
        b"[" * (1 << 20),
        b"[" + b"{}," * 300_000 + b"{}]",
        b'"' + b"\\u0000" * 170_000 + b'"',
        b"9" * (1 << 20),
        b"\xff" * (1 << 20),
    ]

    def check(body):
        with contextlib.suppress(UnreadableError):
            decode_json(body)  # a blow-up meets the test's timeout; this takes 20 ms

    check_all(cases, check)


def test_a_snippet_is_short_and_printable():
    """The beginning of a body is shown in 120 characters, controls escaped."""
    assert snippet(b"\x1b[2J<html>\xff") == "\\x1b[2J<html>\ufffd"
    assert len(snippet(b"\x1b<p>" * 1000)) == 120
