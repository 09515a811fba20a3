"""Saved pictures shown: small on the terminal, or in the system's own viewer."""

from __future__ import annotations

import asyncio
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PIL import Image
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apimodels_async import ImageResult
    from apimodels_async.cli.output import Output
    from apimodels_async.models import SavedAt

COLUMNS_MAX, ROWS_MAX = 48, 18
UPPER_HALF: Final = "\u2580"
COLOURS: Final = {"256", "truecolor"}
BAD_PICTURE: Final = (
    *(OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError),
)
"""What Pillow's parsers answer bad bytes with."""


def can_preview(output: Output) -> bool:
    """Return whether the terminal has the colours and characters of a picture."""
    console = output.stdout
    return (
        output.interactive
        and not console.no_color
        and console.color_system in COLOURS
        and console.encoding.startswith("utf")
    )


def half_blocks(picture: Image.Image, columns: int, rows: int) -> Text:
    """
    Return *picture* in at most so many columns and rows: two pixels a character.
    """
    small = picture.convert("RGB")
    small.thumbnail((columns, 2 * rows))
    width, height = small.size
    shown = Text()
    for top in range(0, height - height % 2 or 1, 2):
        for left in range(width):
            upper = _colour(small, left, top)
            lower = _colour(small, left, min(top + 1, height - 1))
            shown.append(UPPER_HALF, f"{upper} on {lower}")
        shown.append("\n")
    return shown


def _colour(picture: Image.Image, left: int, top: int) -> str:
    red, green, blue = picture.getpixel((left, top))  # type: ignore[misc]
    return f"#{red:02x}{green:02x}{blue:02x}"


async def preview(output: Output, path: SavedAt) -> None:
    """Draw the picture at *path* on the terminal; one that cannot be read is not."""
    if not isinstance(path, Path):
        return  # in object storage
    columns = min(COLUMNS_MAX, output.stdout.width)
    text = await asyncio.to_thread(_read, path, columns)
    if text is not None:
        output.show(text)


def _read(path: Path, columns: int) -> Text | None:
    try:
        with Image.open(path) as picture:
            picture.draft("RGB", (4 * columns, 8 * ROWS_MAX))
            return half_blocks(picture, columns, ROWS_MAX)
    except BAD_PICTURE:
        return None


async def open_viewer(
    output: Output, result: ImageResult, paths: Sequence[SavedAt]
) -> None:
    """Open what was saved, else where the API keeps it, in the system's viewer."""
    files = [each.absolute().as_uri() for each in paths if isinstance(each, Path)]
    links = [url for url in result.urls if url.startswith("http")]
    for address in files or links:
        if not await asyncio.to_thread(webbrowser.open, address):
            output.note(f"Nothing on this system opens {address}", "yellow")
            return
