"""
What a file is by its first bytes, and where a picture may come from.
"""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apimodels_async._core.files.addresses import may_connect
from apimodels_async._core.files.media import HEAD_BYTES, suffix_of
from apimodels_async._core.files.names import file_stem, item_stem


@pytest.mark.parametrize(
    ("head", "expected"),
    [
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
    ],
)
def test_a_picture_is_known_by_its_first_bytes(head, expected):
    """The five formats of pictures have a suffix; what can carry a script has none."""
    assert expected == suffix_of(head)


@given(st.binary(max_size=100))
def test_the_first_bytes_are_enough(data):
    """Any bytes have the suffix of their first 32, or none."""
    assert suffix_of(data[:HEAD_BYTES]) == suffix_of(data)


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "104.16.0.1",
        "8.8.8.8",
        "2606:4700::1111",
        "2a00:1450:4001::1",
        "::ffff:1.1.1.1",
        "2606:4700::1111%eth0",
    ],
)
def test_a_public_address_may_be_connected_to(address):
    """Public unicast addresses are allowed."""
    assert may_connect(address, loopback=False)
    assert may_connect(address, loopback=True)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"]
)
def test_this_machine_may_be_connected_to_if_allowed(address):
    """Loopback addresses are allowed for an emulator alone."""
    assert not may_connect(address, loopback=False)
    assert may_connect(address, loopback=True)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",  # noqa: S104  an address to refuse
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "198.18.0.1",
        "192.0.2.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fd00::1",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2001:0:4136:e378::1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::7f00:1",
        "::7f00:1",
        "::ffff:0:7f00:1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
    ],
)
def test_no_inner_address_is_ever_connected_to(address):
    """Private, link-local, multicast, reserved and tunnelled addresses are refused."""
    assert not may_connect(address, loopback=False)
    assert not may_connect(address, loopback=True)


@pytest.mark.parametrize(
    ("task_id", "url", "expected"),
    [
        ("clx1", "https://a/evil.sh", "clx1"),
        ("a-B_9", "", "a-B_9"),
        ("../../etc/passwd", "", "etc-passwd"),
        ("x" * 300, "", "x" * 100),
        (None, "https://r2.apimodels.app/images/xxx.jpeg", "xxx"),
        (None, "https://a/b/fox.tar.gz?name=evil.png", "fox"),
        (None, "https://a/..%2f..%2fetc", "image"),
        (None, "https://a/b%20c.png", "b-c"),
        (None, "https://a/.bashrc", "image"),
        (None, "https://a/", "image"),
        (None, "https://a/" + "y" * 300, "y" * 60),
        ("", "https://a/ü.png", "ü"),
    ],
)
def test_a_file_name_is_ours(task_id, url, expected):
    """A file is named by its task, else by a harmless part of its URL."""
    assert expected == file_stem(task_id, url)


def is_mark(char):
    """Return whether a character belongs to the letter before it."""
    return unicodedata.category(char)[0] in "MN"


@given(st.none() | st.text(), st.text())
def test_a_file_name_is_always_one_plain_word(task_id, url):
    """Whatever the server says, the name has no path, no dot and a sane length."""
    stem = file_stem(task_id, url)

    assert 0 < len(stem) <= 100
    assert all(char.isalnum() or char in "-_" or is_mark(char) for char in stem)


@pytest.mark.parametrize(
    ("index", "task_id", "prompt", "expected"),
    [
        (41, "clx1", "A red fox, in snow!", "00041-a-red-fox-in-snow"),
        (0, "clx1", None, "00000-clx1"),
        (0, "clx1", "猫", "00000-猫"),
        (0, None, "../../", "00000-image"),
        (123456, None, "x", "123456-x"),
    ],
)
def test_an_item_is_named_by_its_place_and_prompt(index, task_id, prompt, expected):
    """A file of a batch is named by its number and words of its prompt."""
    assert expected == item_stem(index, task_id, prompt)
