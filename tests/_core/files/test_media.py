"""What a file is by its first bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.cases import check_all

from apimodels_async._core.files.media import HEAD_BYTES, suffix_of

HEADS = [
    (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", ".png"),
    (b"\xff\xd8\xff\xe0\0\x10JFIF", ".jpg"),
    (b"\xff\xd8\xff\xe1", ".jpg"),
    (b"RIFF\x24\0\0\0WEBPVP8 ", ".webp"),
    (b"GIF87a", ".gif"),
    (b"GIF89a", ".gif"),
    (b"\0\0\0\x20ftypavif\0\0\0\0", ".avif"),
    (b"\0\0\0\x20ftypavis\0\0\0\0", ".avif"),
    (b"", None),
    (b"\x89PNG", None),
    (b"\x89PNG\n\x1a\n\0\0", None),
    (b"RIFF\x24\0\0\0WAVEfmt ", None),
    (b"GIF90a", None),
    (b"\0\0\0\x20ftypisom", None),
    (b"\0\0\0\x20ftypheic", None),
    (b"<!doctype html><html>", None),
    (b"<svg xmlns=", None),
    (b"<?xml version='1.0'?><svg", None),
    (b"%PDF-1.7", None),
    (b"PK\x03\x04", None),
    (b'{"error": 1}', None),
    (b" \x89PNG\r\n\x1a\n", None),
]


def test_a_picture_is_known_by_its_first_bytes():
    """The five formats of pictures have a suffix; what can carry a script has none."""

    def check(head, expected):
        assert expected == suffix_of(head)

    check_all(HEADS, check)


@given(st.binary(max_size=100))
def test_the_first_bytes_are_enough(data):
    """Any bytes have the suffix of their first 32, or none."""
    assert suffix_of(data[:HEAD_BYTES]) == suffix_of(data)
