"""Names of files: ours, whatever the API or a prompt says."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from support.cases import check_all

from apimodels_async._core.files.names import (
    file_stem,
    is_address,
    item_stem,
    name_in,
)

STEMS = [
    ("clx1", "https://a/evil.sh", "clx1"),
    ("a-B_9", "", "a-B_9"),
    ("../../etc/passwd", "", "etc-passwd"),
    ("x" * 300, "", "x" * 100),
    (None, "https://r2.apimodels.app/images/xxx.jpeg", "xxx"),
    (None, "https://a/b/fox.tar.gz?name=evil.png", "fox"),
    (None, "https://a/..%2f..%2fetc", "image"),
    (None, "https://a/b%20c.png", "b-c"),
    (None, "https://a/.bashrc", "image"),
    (None, "https://a/%ff.png", "image"),
    (None, "https://a/fox#b/c.png", "fox"),
    (None, "https://a/", "image"),
    (None, "https://a/" + "y" * 300, "y" * 60),
    ("", "https://a/ü.png", "ü"),
    ("XfoxX", "", "XfoxX"),
    (None, "https://a/fox.png?u=https://b/evil.png", "fox"),
]


def test_a_file_name_is_ours():
    """A file is named by its task, else by a harmless part of its URL."""

    def check(task_id, url, expected):
        assert expected == file_stem(task_id, url)

    check_all(STEMS, check)


def is_mark(char):
    """Return whether a character belongs to the letter before it."""
    return unicodedata.category(char)[0] in "MN"


@given(st.none() | st.text(), st.text())
def test_a_file_name_is_always_one_plain_word(task_id, url):
    """Whatever the server says, the name has no path, no dot and a sane length."""
    stem = file_stem(task_id, url)

    assert 0 < len(stem) <= 100
    assert all(char.isalnum() or char in "-_" or is_mark(char) for char in stem)


ITEMS = [
    (41, "cl1", "A red fox, in snow!", "00041-a-red-fox-in-snow"),
    (0, "cl1", "../../etc/passwd", "00000-etc-passwd"),
    (0, None, "../../", "00000-image"),
    (7, "cl1", "狐", "00007-狐"),
    (7, None, None, "00007-image"),
    (7, "cl1", None, "00007-cl1"),
    (7, "cl1", "", "00007-cl1"),
    (123456, None, "x" * 90, "123456-" + "x" * 48),
    (1, None, "x" * 47 + " y", "00001-" + "x" * 47),
]


def test_an_item_is_named_by_its_place_and_prompt():
    """A file of a batch has its number and words of its prompt, never a path."""

    def check(index, task_id, prompt, expected):
        assert expected == item_stem(index, task_id, prompt)

    check_all(ITEMS, check)


def test_a_picture_is_called_by_its_last_part():
    """Of a path as of an address, whose escapes are undone where there are any."""
    cases = [
        ("out/fox.png", False, "fox.png"),
        ("s3://b/p/fo x%20.png", True, "fo x%20.png"),
        ("file:///my%20out/fo%20x.png", True, "fo x.png"),
        ("memory:///fox.png", True, "fox.png"),
        ("s3:/b/fox.png", False, "fox.png"),
    ]

    def check(file, address, name):
        assert (is_address(file), name_in(file)) == (address, name)

    check_all(cases, check)
