"""Text from outside, made fit for a terminal, a log and an error; hosts by name."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from support.cases import check_all

from apimodels_async import ImageRequest, ImageResult
from apimodels_async._text import MESSAGE_CHARS_MAX, describe, is_loopback, printable


def test_what_could_move_a_cursor_is_escaped():
    """Control, direction and surrogate characters show as Python's escapes."""
    cases = [
        ("", ""),
        ("a red fox", "a red fox"),
        ("un café, 猫, 🦊", "un café, 猫, 🦊"),
        ("back\\slash 'and' \"quotes\"", "back\\slash 'and' \"quotes\""),
        ("\x1b[2J", "\\x1b[2J"),
        ("two\nlines\r\t", "two\\nlines\\r\\t"),
        ("nul\0", "nul\\x00"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2066x\u2069\u2028\u2029", "\\u2066x\\u2069\\u2028\\u2029"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("\x9b31m", "\\x9b31m"),
    ]

    def check(text, expected):
        assert expected == printable(text)

    check_all(cases, check)


class MuteError(Exception):
    """An exception that cannot be shown."""

    def __str__(self):
        raise KeyError


def test_any_exception_can_be_described():
    """By class and words on one line, also where its own code fails."""
    assert describe(KeyError("a\x1b")) == "KeyError: 'a\\x1b'"
    assert describe(ValueError("two\nlines")) == "ValueError: two\\nlines"
    assert describe(MuteError()).endswith("MuteError: <exception str() failed>")


def test_a_long_text_is_cut_after_it_is_escaped():
    """The limit counts what is shown; an ellipsis takes the last place."""
    cases = [
        ("abcde", 5, "abcde"),
        ("abcdef", 5, "abcd…"),
        ("\x1bcdef", 5, "\\x1b…"),
        ("\x1bcde", 7, "\\x1bcde"),
        ("\0" * 9, 9, "\\x00\\x00…"),
    ]

    def check(text, limit, expected):
        assert expected == printable(text, limit)

    check_all(cases, check)


@given(st.text(st.characters()), st.integers(1, 300))
@example("\x1b" * 300, 20)
def test_what_is_shown_is_printable_and_short(text, limit):
    """No text whatever yields an unprintable character or exceeds the limit."""
    shown = printable(text, limit)

    assert shown.isprintable()
    assert len(shown) <= limit


@given(st.text(st.characters(categories=("L", "N", "P", "S"))))
def test_what_is_printable_stays_as_it_is(text):
    """A short text of visible characters comes back unchanged."""
    assert text == printable(text)


def test_a_page_is_cut_to_the_size_of_a_message():
    """Without a limit of its own, a text of a megabyte becomes 2,000 characters."""
    assert MESSAGE_CHARS_MAX == len(printable("\x1bx" * 500_000)) == 2000


HOSTS = [
    ("localhost", True),
    ("127.0.0.1", True),
    ("127.255.255.254", True),
    ("::1", True),
    ("128.0.0.1", False),
    ("::2", False),
    ("0.0.0.0", False),  # noqa: S104  an address to refuse
    ("localhost.localdomain", False),
    ("LOCALHOST", False),
    ("", False),
    ("10.0.0.1", False),
]


def test_loopback_is_told_without_a_resolver():
    """Only localhost and loopback addresses are this machine."""

    def check(host, expected):
        assert expected is is_loopback(host)

    check_all(HOSTS, check)


def test_an_inline_picture_is_cut_short_in_a_repr():
    """Logs and tracebacks show its beginning and its size, and the rest in full."""
    inline = "data:image/png;base64," + "iVBORw0K" * 10_000
    result = ImageResult(urls=(inline, "https://files.example/2.png"), model="m")
    edit = ImageRequest("m", "moose", {"image": [inline], "n": 1})

    assert "iVBORw0K...(80022 characters)', 'https://files.example/2.png'" in repr(
        result
    )
    assert len(repr(edit)) < 200
    assert result.urls[0] == inline
