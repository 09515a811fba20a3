"""
Small copies of pictures, for a page that holds them itself.
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Final

from attrs import frozen

from apimodels_async._text import describe, printable
from apimodels_async.errors import DownloadError

if TYPE_CHECKING:
    from pathlib import Path

FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "AVIF")
QUALITY: Final = 80
REASON_CHARS: Final = 200


@frozen
class Thumbnail:
    """A small copy of a picture."""

    url: str
    """``data:`` and all of it."""
    width: int
    """Pixels."""
    height: int


def make_thumbnail(source: bytes | bytearray | Path, side: int) -> Thumbnail:
    """
    Return a copy of a picture with no side longer than *side* pixels, as WebP.

    For a thread: the first call loads Pillow. Of a moving picture the first frame.

    Raises:
        DownloadError: It cannot be read or decoded.
    """
    from PIL import Image, ImageOps

    file = io.BytesIO(source) if isinstance(source, (bytes, bytearray)) else source
    try:
        with Image.open(file, formats=FORMATS) as image:
            small: Image.Image = image
            if small.mode not in {"RGB", "RGBA"}:  # palettes cannot be scaled
                clear = small.has_transparency_data
                small = small.convert("RGBA" if clear else "RGB")
            small.thumbnail((side, side))  # a JPEG is decoded at a fraction of its size
            small = ImageOps.exif_transpose(small)
            packed = io.BytesIO()
            small.save(packed, "WEBP", quality=QUALITY)
    except Exception as error:  # whatever a broken file makes Pillow raise
        reason = printable(describe(error), REASON_CHARS)
        msg = f"the picture cannot be shown: {reason}"
        raise DownloadError(msg) from error
    text = base64.b64encode(packed.getvalue()).decode()
    return Thumbnail(f"data:image/webp;base64,{text}", *small.size)
