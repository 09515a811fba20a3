"""Input images in a picture: shrunk to be kept, laid out, masked."""

import io
import warnings
from collections.abc import Sequence

from PIL import Image, ImageOps

from apimodels_async.emulator.pictures.text import caption
from apimodels_async.emulator.service.values import Input

_KEPT_SIDE = 1024  # pixels; an input is kept no larger
_MOST_PIXELS = 64_000_000  # what a hostile file may make us decode
_ON = [0] * 128 + [255] * 128  # black or white, nothing between


def shrink(data: bytes) -> tuple[bytes, tuple[int, int]] | None:
    """
    Return *data* as a PNG small enough to keep, and its own sides.

    None when it is no picture Pillow can read, or too large to decode safely.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            picture = Image.open(io.BytesIO(data))
            if picture.width * picture.height > _MOST_PIXELS:
                return None
            upright = ImageOps.exif_transpose(picture)
            sides = upright.size
            upright.thumbnail((_KEPT_SIDE, _KEPT_SIDE))
            kept = io.BytesIO()
            upright.convert("RGBA").save(kept, "PNG", compress_level=1)
            return kept.getvalue(), sides
    # Pillow's parsers answer bad bytes with any of these.
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        return None


def side_by_side(inputs: Sequence[Input], sides: tuple[int, int]) -> Image.Image:
    """Return one picture of *sides* with all inputs in it, left to right."""
    whole = Image.new("RGB", sides, (20, 20, 26))
    gap = max(2, sides[0] // 200) if len(inputs) > 1 else 0
    for at, each in enumerate(inputs):
        left, right = (sides[0] * edge // len(inputs) for edge in (at, at + 1))
        whole.paste(_panel(each, (max(1, right - left - gap), sides[1])), (left, 0))
    return whole


def changed_region(mask: Input, sides: tuple[int, int]) -> Image.Image:
    """
    Return where a mask allows change, white on black.

    A mask with transparent parts is read as OpenAI's (change what is
    transparent), any other as painted (change what is white). One that could
    not be loaded allows change everywhere.
    """
    if mask.data is None:
        return Image.new("L", sides, 255)
    picture = Image.open(io.BytesIO(mask.data)).convert("RGBA")
    alpha = picture.getchannel("A")
    opaque = alpha.getextrema() == (255, 255)
    region = picture.convert("L") if opaque else ImageOps.invert(alpha)
    return region.resize(sides, Image.Resampling.NEAREST).point(_ON)


def _panel(each: Input, sides: tuple[int, int]) -> Image.Image:
    """Return one input, cut to *sides*; a placeholder with its name when missing."""
    if each.data is not None:
        picture = Image.open(io.BytesIO(each.data)).convert("RGB")
        return ImageOps.fit(picture, sides, Image.Resampling.BICUBIC)
    empty = Image.new("RGB", sides, (76, 78, 92))
    caption(empty, f"{each.label} (not available)", 0.5)
    return empty
