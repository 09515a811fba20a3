"""Picture sizes: width and height in pixels from the parameters of a request."""

import math
import re
from collections.abc import Mapping
from typing import Any

# Pixels a resolution word stands for. 4K is the 8.29 MP that gpt-image-2-all
# allows at most; the larger words of the upscaler are drawn no larger.
AREAS: Mapping[str, int] = {
    "512": 512 * 512,
    "1K": 1024 * 1024,
    "2K": 2048 * 2048,
    "4K": 3840 * 2160,
    "8K": 3840 * 2160,
    "10K": 3840 * 2160,
}
_GRID = 16  # pixels; sides the API accepts are multiples of it
_LONGEST = 4096  # pixels; bounds what one request makes us draw
_SMALLEST = 64
_LONGEST_1K, _LONGEST_2K = 1536, 2048  # gpt-image-2-all page
_TOO_FAR = 0.25  # off the wanted side: then the ratio is rounded instead

_SIZE = re.compile(r"(\d{2,5})[xX*](\d{2,5})")
_RATIO = re.compile(r"(\d{1,3}):(\d{1,3})")


def parse_size(text: object) -> tuple[int, int] | None:
    """Return the two sides of ``1024x768``, or None when it is not of that form."""
    found = _SIZE.fullmatch(text) if isinstance(text, str) else None
    return (int(found[1]), int(found[2])) if found else None


def parse_ratio(text: object) -> tuple[int, int] | None:
    """Return the two terms of ``16:9``, or None when it is not of that form."""
    found = _RATIO.fullmatch(text) if isinstance(text, str) else None
    if not found or not int(found[1]) or not int(found[2]):
        return None
    return int(found[1]), int(found[2])


def tier(params: Mapping[str, Any]) -> str:
    """
    Return the resolution word that sets the price.

    Source:
        gpt-image-2-all page: 1K up to 1536 on the long edge, 2K up to 2048.
    """
    for name in ("resolution", "size"):
        word = str(params.get(name, "")).upper()
        if word in AREAS:
            return word
    size = parse_size(params.get("size"))
    if size is None or max(size) <= _LONGEST_1K:
        return "1K"
    return "2K" if max(size) <= _LONGEST_2K else "4K"


def frame_of_ratio(wide: int, high: int, area: int) -> tuple[int, int]:
    """
    Return sides of that ratio, near *area* pixels, both multiples of 16.

    The ratio is exact where whole multiples of its terms come near the area
    (16:9 gives 1280 x 720), and rounded to the grid otherwise.
    """
    shared = math.gcd(wide, high)
    wide, high = wide // shared, high // shared
    unit = math.sqrt(area / (wide * high))
    exact = round(unit / _GRID) * _GRID
    if exact and abs(exact / unit - 1) < _TOO_FAR:
        return _clamped(wide * exact, high * exact)
    return _clamped(_on_grid(wide * unit), _on_grid(high * unit))


def frame(
    params: Mapping[str, Any], first_input: tuple[int, int] | None = None
) -> tuple[int, int]:
    """
    Return width and height of the picture a checked request asks for.

    *first_input* gives the sides of the primary input image; its ratio is kept
    when the request names none, and upscalers multiply it by ``scale``.
    """
    # An edit's are no parameters of its own, so nobody has checked them.
    width, height = _side(params.get("width")), _side(params.get("height"))
    if width or height:
        return _clamped(width or height, height or width)
    if size := parse_size(params.get("size")):
        return _clamped(*size)
    if first_input and isinstance(scale := params.get("scale"), (int, float)):
        return _clamped(first_input[0] * scale, first_input[1] * scale)
    ratio = parse_ratio(params.get("aspect_ratio")) or first_input or (1, 1)
    return frame_of_ratio(*ratio, AREAS[tier(params)])


def _side(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _on_grid(side: float) -> int:
    return max(1, round(side / _GRID)) * _GRID


def _clamped(width: float, height: float) -> tuple[int, int]:
    shrink = min(1.0, _LONGEST / max(width, height, 1))
    return (
        max(_SMALLEST, round(width * shrink)),
        max(_SMALLEST, round(height * shrink)),
    )
