"""
Puts what is known of a picture into it: Pillow builds the metadata, nothing more.

The pixels are not decoded or encoded again: a JPEG would lose by it.
"""

from __future__ import annotations

import importlib.util
import struct
from typing import TYPE_CHECKING, Any

from apimodels_async._core.files.embed import (
    Splice,
    exif_segment,
    find_place,
    png_chunk,
)
from apimodels_async._core.files.provenance import SOFTWARE, brief, compact
from apimodels_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

DESCRIPTION, MAKER, EXIF_BLOCK, COMMENT = 0x010E, 0x0131, 0x8769, 0x9286
"""EXIF tags: ImageDescription, Software, the Exif block, UserComment in it."""
_UNREADABLE = (SyntaxError, ValueError, TypeError, KeyError, OSError, struct.error)


def check_pillow() -> None:
    """Raise ``ConfigurationError`` where Pillow is not installed. Does not load it."""
    if importlib.util.find_spec("PIL") is None:
        msg = (
            "embed=True needs Pillow: pip install 'apimodels-async[metadata]', or use "
            "sidecar=True"
        )
        raise ConfigurationError(msg)


def imprint(facts: Mapping[str, Any], head: bytes) -> Splice | None:
    """
    Return how to write *facts* into the picture that begins with *head*.

    For a thread: the first call loads Pillow. None: this picture takes none.
    """
    place = find_place(head)
    if place is None:
        return None
    shown = brief(facts)
    if place.suffix == ".png":
        return Splice(place.start, place.stop, _chunks(shown))
    segment = exif_segment(_exif(shown, place.exif)) or exif_segment(_exif(shown, b""))
    return Splice(place.start, place.stop, segment) if segment else None


def _chunks(facts: Mapping[str, Any]) -> bytes:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    if facts["prompt"]:
        info.add_itxt("Description", _shown(facts["prompt"]))
    info.add_text("Software", SOFTWARE)
    info.add_text("Comment", compact(facts))
    return b"".join(png_chunk(kind, data) for kind, data, _ in info.chunks)


def _exif(facts: Mapping[str, Any], old: bytes) -> bytes:
    from PIL.Image import Exif

    # Bytes, as Pillow would write "?" for what is not ASCII; readers take UTF-8.
    description = _shown(facts["prompt"] or "").encode()
    try:
        exif = Exif()
        exif.load(old)
        return _filled(exif, description, facts)
    except _UNREADABLE:  # what was there cannot be read by others either
        return _filled(Exif(), description, facts)


def _filled(exif: Any, description: bytes, facts: Mapping[str, Any]) -> bytes:
    if description:
        exif[DESCRIPTION] = description
    exif[MAKER] = SOFTWARE
    exif.get_ifd(EXIF_BLOCK)[COMMENT] = b"ASCII\0\0\0" + compact(facts).encode()
    filled: bytes = exif.tobytes()
    return filled


def _shown(text: str) -> str:
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")  # NUL ends a field
