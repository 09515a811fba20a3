"""
A file that is cut is known by its own format; what cannot be followed is not judged.
"""

from __future__ import annotations

import struct
from io import BytesIO

import pytest
from PIL import Image

from apimodels_async._core.files import ends
from apimodels_async._core.files.ends import is_cut
from apimodels_async._core.files.inline import unpack


def judge(content):
    """Return the verdict on these bytes."""
    return is_cut(lambda at, most: content[at : at + most], len(content))


def picture(kind, size=(40, 30), **options):
    """Return a small picture in some format."""
    out = BytesIO()
    Image.effect_noise(size, 80).convert("RGB").save(out, kind, **options)
    return out.getvalue()


def frames(kind):
    """Return a picture that moves."""
    out = BytesIO()
    first, *rest = [Image.effect_noise((20, 20), n).convert("RGB") for n in (9, 50, 90)]
    first.save(out, kind, save_all=True, append_images=rest)
    return out.getvalue()


def box(kind, content):
    """Return an ISO box."""
    return struct.pack(">I", 8 + len(content)) + kind + content


PNG = b"\x89PNG\r\n\x1a\n"
FTYP = box(b"ftyp", b"avif\0\0\0\0avifmif1")
WHOLE = {
    "png": picture("PNG"),
    "jpeg": picture("JPEG"),
    "progressive jpeg": picture("JPEG", progressive=True),
    "jpeg with restarts": picture("JPEG", restart_marker_blocks=1),
    "webp": picture("WEBP"),
    "moving webp": frames("WEBP"),
    "gif": picture("GIF"),
    "moving gif": frames("GIF"),
    "avif": FTYP + box(b"meta", b"x" * 40) + box(b"mdat", b"y" * 99),
    "avif, large box": FTYP
    + box(b"meta", b"x" * 40)
    + struct.pack(">I4sQ", 1, b"mdat", 16 + 99)
    + b"y" * 99,
    "avif in its description": FTYP + box(b"meta", b"x" + box(b"idat", b"y" * 50)),
    "avif, description last": FTYP + box(b"mdat", b"y" * 99) + box(b"meta", b"x" * 40),
    "avif, empty box": FTYP
    + box(b"free", b"")
    + box(b"meta", b"x" * 40)
    + box(b"mdat", b"y" * 99),
    "avif in a large description": FTYP
    + struct.pack(">I4sQ", 1, b"meta", 16 + 58)
    + box(b"idat", b"y" * 50),
    "moving avif": FTYP + box(b"moov", b"x" * 40) + box(b"mdat", b"y" * 99),
}


@pytest.mark.parametrize("content", WHOLE.values(), ids=WHOLE)
def test_a_cut_is_seen_wherever_it_is(content):
    """Whole it is whole, with something behind it too; cut anywhere it is cut."""
    assert not judge(content)
    if content[4:8] != b"ftyp":
        assert not judge(content + b"\0" * 9)
    seen = [at for at in range(len(content)) if at > 60 and not judge(content[:at])]
    assert seen in ([], [len(content) - 1])  # WebP: its last byte may be padding


def test_windows_do_not_matter(monkeypatch):
    """A marker that lies across two reads is found."""
    for size in (64, 65, 67, 101):
        monkeypatch.setattr(ends, "WINDOW_BYTES", size)
        for name in ("png", "jpeg", "progressive jpeg", "moving gif"):
            assert not judge(WHOLE[name])
            assert judge(WHOLE[name][:-3])


def test_a_marker_across_two_windows_is_found(monkeypatch):
    """Wherever the scan of a JPEG ends, its end is seen."""
    monkeypatch.setattr(ends, "WINDOW_BYTES", 64)
    head = b"\xff\xd8\xff\xda\0\4xx"
    for length in range(200):
        assert not judge(head + b"x" * length + b"\xff\xd9")
        assert judge(head + b"x" * length + b"\xff")


def test_fill_bytes_before_a_marker_are_stepped_over():
    """A JPEG may have any number of them; what is cut behind them is cut."""
    for fill in range(4):
        head = b"\xff\xd8" + b"\xff" * fill
        assert judge(head + b"\xff\xfe\0\x09cut")
        assert not judge(head + b"\xff\xfe\0\5abc\xff\xd9")


def test_a_gif_with_colours_of_its_own_frames_is_followed():
    """The table behind a frame's head is as long as the head says, or is none."""
    screen = b"GIF89a" + struct.pack("<HHBBB", 2, 2, 0, 0, 0)
    frame = struct.pack("<BHHHHB", 0x2C, 0, 0, 2, 2, 0x81) + bytes(12)
    plain = struct.pack("<BHHHHB", 0x2C, 0, 0, 2, 2, 0x01)
    data = b"\2\2xx\0"

    for whole in (frame + data + plain + data, plain + data + frame + data):
        assert not judge(screen + whole + b";")
        assert judge(screen + whole)
        assert judge(screen + whole[:-2])


UNKNOWN = {
    "png of nothing": PNG + bytes(500),
    "png, another first": PNG + struct.pack(">I", 9) + b"CgBI",
    "png, odd header": PNG + struct.pack(">I", 12) + b"IHDR",
    "png, no chunk": WHOLE["png"][:33] + bytes(64),
    "jpeg of nothing": b"\xff\xd8\xff\xe0" + b"x" * 64,
    "jpeg, no marker": b"\xff\xd8\xff\xfe\0\3xno",
    "jpeg, reserved": b"\xff\xd8\xff\x02\0\3xno",
    "jpeg, length 0": b"\xff\xd8\xff\xfe\0\0xno",
    "gif of nothing": b"GIF89a" + b"x" * 64,
    "avif of nothing": b"\0\0\0\x1cftypavif" + b"x" * 64,
    "avif, length 3": FTYP + b"\0\0\0\3meta",
    "html": b"<!doctype html>",
    "nothing": b"",
}


@pytest.mark.parametrize("content", UNKNOWN.values(), ids=UNKNOWN)
def test_what_cannot_be_followed_is_not_called_cut(content):
    """Without evidence there is no verdict: a strange file may be a new kind."""
    assert not judge(content)


def test_a_last_box_may_end_where_the_file_ends():
    """A box without a length may be the picture or hold it; it may still be amiss."""

    def open_box(kind, content):
        return struct.pack(">I", 0) + kind + content

    meta = box(b"meta", b"x" * 40)
    assert not judge(FTYP + meta + open_box(b"mdat", b"yy"))
    assert not judge(FTYP + open_box(b"meta", box(b"idat", b"yy")))
    assert judge(FTYP + open_box(b"mdat", b"yy"))
    assert judge(FTYP + open_box(b"meta", b"x" * 40))


@pytest.mark.parametrize("behind", [b"\n", b"\0" * 4, b"\r\n\r\n\0\0\0"])
def test_a_few_bytes_behind_a_picture_do_not_cut_it(behind):
    """What is too short for a box is none: behind a whole AVIF it changes nothing."""
    for name in (name for name in WHOLE if "avif" in name):
        assert not judge(WHOLE[name] + behind)
    assert judge(FTYP + box(b"meta", b"x" * 40) + behind)


def test_only_a_description_holds_a_picture():
    """The word in another box is no picture; one too long to look into may hold it."""
    window = ends.WINDOW_BYTES
    assert judge(FTYP + box(b"free", b"idat") + box(b"meta", b"x" * 40))
    assert not judge(FTYP + box(b"meta", b"idat" + bytes(window - 12)))
    assert judge(FTYP + box(b"meta", bytes(window - 8)))
    assert not judge(FTYP + box(b"meta", bytes(window - 7)))


def test_fill_bytes_and_bare_markers_are_followed():
    """JPEG may have 0xFF before a marker, and markers without a length."""
    plain = picture("JPEG")
    for odd in (b"\xff\xfe\0\2", b"\xff\xff\xff\x01", b"\xff\xd0", b"\xff\xff"):
        assert not judge(plain[:2] + odd + plain[2:])
        assert judge(plain[:2] + odd + plain[2:-9])
    assert not judge(plain[:2] + b"\xff\xfe\0\2\xff\xff\xff\x01" + plain[2:])


def test_pictures_inside_an_answer_are_read():
    """Line breaks, no padding, the other alphabet and percent signs are all base64."""
    for packed in ("+/8B", "+/8B\r\n", "-_8B", "%2B%2F8B", "+/\n8B"):
        assert unpack(f"data:image/png;base64,{packed}") == b"\xfb\xff\1"
    for packed in ("+/8", "+/8=", "+/8%3D", "+/8=="):
        assert unpack(f"data:image/png;base64,{packed}") == b"\xfb\xff"
    assert unpack("data:image/png;base64,AAAX") == b"\0\0\x17"
    assert unpack("data:;BASE64,") == b""
    twice = "data:;base64,AAAA;base64,AAAA"
    for other in (
        twice,
        "data:image/png,abcd",
        "data:;base64,A",
        "data:;base64,@@",
        "data:",
    ):
        assert unpack(other) is None
