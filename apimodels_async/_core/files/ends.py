"""
Whether a picture file is whole, by what its own format says of its end.

A transfer can look whole and be cut: a length that was taken from a cut file, or none.
Only evidence counts: a file whose inside cannot be followed is not called cut.

Source: PNG specification (third edition), section 5; ITU-T T.81, annex B; WebP
container specification; GIF89a specification; ISO/IEC 14496-12, section 4.2.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias

from attrs import define, field

from apimodels_async._core.files.media import HEAD_BYTES, suffix_of

Read: TypeAlias = Callable[[int, int], bytes]
"""Reads from an offset a number of bytes, fewer at the end."""

WINDOW_BYTES: Final = 1 << 18
_MARKER: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""In the data of a JPEG scan: what is neither a stuffed 0xFF nor a restart."""
_APP0_NAMES: Final = (b"JFIF\0", b"JFXX\0", b"AVI1", b"CIFF")
_BOXES: Final = {
    *(b"ftyp", b"styp", b"meta", b"moov", b"mdat", b"free", b"skip", b"uuid"),
    *(b"moof", b"mfra", b"sidx", b"pdin", b"wide", b"idat", b"emsg", b"jumb"),
}
_BOX_HEAD: Final = 8  # its length and kind
_UNKNOWN: Final = False
"""There is no evidence."""


class _EndError(Exception):
    """The file ends where its format goes on."""


@define(eq=False, repr=False)
class _File:
    """Bytes by their place, read in windows."""

    _read: Read
    size: int
    _start: int = field(init=False, default=0)
    _window: bytes = field(init=False, default=b"")

    def take(self, at: int, count: int) -> bytes:
        """Return *count* bytes (at most a window) at *at*; ``_EndError``: not there."""
        if at + count > self.size:
            raise _EndError
        offset = at - self._start
        if offset < 0 or offset + count > len(self._window):
            self._start, offset = at, 0
            self._window = self._read(at, WINDOW_BYTES)
        return self._window[offset : offset + count]

    def number(self, at: int, count: int) -> int:
        """Return the big-endian number at *at*."""
        return int.from_bytes(self.take(at, count), "big")


def is_cut(read: Read, size: int) -> bool:
    """Return whether the picture of *size* bytes ends before its format says so."""
    follow = {
        ".png": _png,
        ".jpg": _jpeg,
        ".webp": _webp,
        ".gif": _gif,
        ".avif": _avif,
    }.get(suffix_of(read(0, HEAD_BYTES)) or "")
    if follow is None:
        return _UNKNOWN
    try:
        return follow(_File(read, size))
    except _EndError:
        return True


def _png(file: _File) -> bool:
    at, first = 8, True
    while True:
        length, kind = file.number(at, 4), file.take(at + 4, 4)
        if (first and (kind != b"IHDR" or length != 13)) or not kind.isalpha():  # noqa: PLR2004
            return _UNKNOWN
        at, first = at + 12 + length, False
        if at > file.size:
            raise _EndError
        if kind == b"IEND":
            return False


def _jpeg(file: _File) -> bool:
    at = 2
    while True:
        if file.take(at, 1) != b"\xff":
            return _UNKNOWN
        marker = file.number(at + 1, 1)
        if marker == 0xFF:  # noqa: PLR2004  a fill byte
            at += 1
        elif marker == 0xD9:  # noqa: PLR2004  EOI
            return False
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # noqa: PLR2004  no length
            at += 2
        elif marker < 0xC0:  # noqa: PLR2004  reserved
            return _UNKNOWN
        else:
            if marker == 0xE0 and not _is_app0(file, at):  # noqa: PLR2004
                return _UNKNOWN
            length = file.number(at + 2, 2)
            if length < 2:  # noqa: PLR2004  it counts itself
                return _UNKNOWN
            at += 2 + length
            if marker == 0xDA:  # noqa: PLR2004  SOS: the scan follows
                at = _next_marker(file, at)


def _is_app0(file: _File, at: int) -> bool:
    there = file.take(at + 4, min(5, max(0, file.size - at - 4)))
    return any(name.startswith(there[: len(name)]) for name in _APP0_NAMES)


def _next_marker(file: _File, at: int) -> int:
    while at < file.size:
        window = file.take(at, min(WINDOW_BYTES, file.size - at))
        found = _MARKER.search(window)
        if found is not None:
            return at + found.start()
        at += max(1, len(window) - 1)  # its last byte may begin a marker
    raise _EndError


def _webp(file: _File) -> bool:
    return 8 + int.from_bytes(file.take(4, 4), "little") > file.size


def _gif(file: _File) -> bool:
    at = 13 + _colours(file.number(10, 1))
    while True:
        kind = file.take(at, 1)
        if kind == b";":
            return False
        if kind == b"!":
            at = _after_blocks(file, at + 2)
        elif kind == b",":
            at = _after_blocks(file, at + 11 + _colours(file.number(at + 9, 1)))
        else:
            return _UNKNOWN


def _colours(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_blocks(file: _File, at: int) -> int:
    while length := file.number(at, 1):
        at += 1 + length
    return at + 1


def _avif(file: _File) -> bool:
    at, seen = 0, set[bytes]()
    while at + _BOX_HEAD <= file.size:  # less is no box: a line break behind it, say
        length, kind = file.number(at, 4), file.take(at + 4, 4)
        if kind not in _BOXES:
            return _UNKNOWN
        if length == 0:  # to the end of the file
            length = file.size - at
        elif length == 1:
            length = file.number(at + 8, 8)
        if length < _BOX_HEAD:
            return _UNKNOWN
        if kind == b"meta" and _holds_data(file, at, length):
            seen.add(b"mdat")
        seen.add(kind)
        at += length
    return at > file.size or b"mdat" not in seen or not seen & {b"meta", b"moov"}


def _holds_data(file: _File, at: int, length: int) -> bool:
    # A small picture may lie in the description itself, and who knows what in a long
    # one.
    return length > WINDOW_BYTES or b"idat" in file.take(at, length)
