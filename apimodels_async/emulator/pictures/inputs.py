"""Input images in a picture: shrunk to be kept, laid out, tinted, masked."""

import io
import warnings
from collections.abc import Sequence

from PIL import Image, ImageOps

from apimodels_async.emulator.pictures.art import Colour
from apimodels_async.emulator.pictures.text import label
from apimodels_async.emulator.service.values import Input

_KEPT_SIDE = 1024  # pixels; an input is kept no larger
_MOST_PIXELS = 64_000_000  # what a hostile file may make us decode
_TINT = 0.28
_WHITE = 255
_ON = [
    _WHITE if at > _WHITE // 2 else 0 for at in range(256)
]  # black or white, nothing between


def shrink(data: bytes) -> tuple[bytes, tuple[int, int]] | None:
    """
    Return *data* as a PNG small enough to keep, and its own sides.

    None when it is no picture Pillow can read, or too large to decode safely.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            picture = Image.open(io.BytesIO(data))
            sides = picture.size
            if sides[0] * sides[1] > _MOST_PIXELS:
                return None
            upright = ImageOps.exif_transpose(picture)
            sides = upright.size
            upright.thumbnail((_KEPT_SIDE, _KEPT_SIDE))
            return _png(upright), sides
    # Pillow's parsers answer bad bytes with any of these.
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        return None


def side_by_side(inputs: Sequence[Input], sides: tuple[int, int]) -> Image.Image:
    """Return one picture of *sides* with all inputs in it, left to right."""
    whole = Image.new("RGB", sides, (20, 20, 26))
    step = sides[0] / len(inputs)
    gap = max(2, sides[0] // 200) if len(inputs) > 1 else 0
    for at, each in enumerate(inputs):
        left = int(at * step) + (gap if at else 0)
        right = int((at + 1) * step)
        whole.paste(panel(each, (max(1, right - left), sides[1])), (left, 0))
    return whole


def panel(each: Input, sides: tuple[int, int]) -> Image.Image:
    """Return one input, cut to *sides*; a labelled placeholder when it is missing."""
    if each.data is not None:
        picture = Image.open(io.BytesIO(each.data)).convert("RGB")
        return ImageOps.fit(picture, sides, Image.Resampling.BICUBIC)
    empty = Image.linear_gradient("L").resize(sides)
    placeholder = ImageOps.colorize(empty, (58, 60, 72), (96, 98, 112))
    label(placeholder, f"{each.label} (not available)")
    return placeholder


def tinted(picture: Image.Image, colour: Colour) -> Image.Image:
    """Return *picture* blended a little with *colour*."""
    return Image.blend(picture, Image.new("RGB", picture.size, colour), _TINT)


def changed_region(mask: Input, sides: tuple[int, int]) -> Image.Image:
    """
    Return where a mask allows change, white on black.

    A mask with transparent parts is read as OpenAI's (change what is
    transparent), any other as painted (change what is white). One that could
    not be loaded allows change everywhere.
    """
    if mask.data is None:
        return Image.new("L", sides, _WHITE)
    picture = Image.open(io.BytesIO(mask.data)).convert("RGBA")
    alpha = picture.getchannel("A")
    low, _high = alpha.getextrema()
    opaque = low == _WHITE
    region = picture.convert("L") if opaque else ImageOps.invert(alpha)
    return region.resize(sides, Image.Resampling.NEAREST).point(_ON)


def _png(picture: Image.Image) -> bytes:
    kept = io.BytesIO()
    picture.convert("RGBA").save(kept, "PNG", compress_level=1)
    return kept.getvalue()
