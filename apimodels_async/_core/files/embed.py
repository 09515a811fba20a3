"""
Where metadata goes in a picture, without touching its pixels.

Source: PNG specification (third edition), section 5.3; JPEG (ITU-T T.81), annex B;
Exif 2.32, section 4.5.4.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

from attrs import frozen

from apimodels_async._core.files.media import suffix_of

HEAD_BYTES_MAX: Final = 1 << 20
"""How far into a file a place is looked for; colour profiles have some 500 kB."""
EXIF_BYTES_MAX: Final = 0xFFFF - 2
"""A JPEG segment counts its length, itself included, in 16 bits."""
_EXIF: Final = b"Exif\0\0"
_PNG_START: Final = 8 + 4 + 4 + 13 + 4  # signature; IHDR with length, type, CRC
_APP0, _APP1, _APP15, _COMMENT = 0xE0, 0xE1, 0xEF, 0xFE


@frozen
class Place:
    """Where metadata goes: bytes *start* to *stop* of the file give way to it."""

    suffix: str
    start: int
    stop: int
    exif: bytes = b""
    """What is there now (JPEG)."""


@frozen
class Splice:
    """A change to a file: *data* takes the place of its bytes *start* to *stop*."""

    start: int
    stop: int
    data: bytes


def find_place(head: bytes) -> Place | None:
    """
    Return where metadata goes in a picture that begins with *head*.

    None: no PNG or JPEG, or not one that can be read.
    """
    suffix = suffix_of(head)
    if suffix == ".png" and head[8:16] == b"\0\0\0\x0dIHDR" and len(head) > _PNG_START:
        return Place(suffix, _PNG_START, _PNG_START)
    return _jpeg_place(head) if suffix == ".jpg" else None


def _jpeg_place(head: bytes) -> Place | None:
    # Behind the JFIF segment, which must be the first; in place of EXIF that is there.
    place, at = 2, 2
    while at + 4 <= len(head) and head[at] == 0xFF:  # noqa: PLR2004  a marker
        marker, length = struct.unpack_from(">BH", head, at + 1)
        if not (_APP0 <= marker <= _APP15 or marker == _COMMENT):
            return Place(".jpg", place, place)
        end = at + 2 + length
        if marker == _APP1 and head.startswith(_EXIF, at + 4) and end <= len(head):
            return Place(".jpg", at, end, head[at + 4 : end])
        if marker == _APP0 and at == place:
            place = end
        at = end
    return None


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """Return a PNG chunk."""
    crc = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def exif_segment(exif: bytes) -> bytes:
    """
    Return the JPEG segment for an EXIF block (``Exif``, two zeros, a TIFF header, ...).

    Empty: it is too large for one.
    """
    if len(exif) > EXIF_BYTES_MAX:
        return b""
    return struct.pack(">BBH", 0xFF, _APP1, len(exif) + 2) + exif
