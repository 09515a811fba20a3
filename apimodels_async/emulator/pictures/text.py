"""Text on pictures: the prompt on a band, model and seed in a corner."""

from collections.abc import Sequence
from contextlib import suppress

from PIL import Image, ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_SHOWN = 400  # characters of a prompt that are drawn
_MOST_LINES = 8
_SMALLEST = 9  # pixels; smaller letters are not legible
# Pillow's own font has ASCII only. These are looked for where the system keeps
# fonts; without any, other letters become boxes.
WIDE_FONTS = ("NotoSansCJK-Regular.ttc", "DejaVuSans.ttf", "Arial Unicode.ttf")


def caption(picture: Image.Image, prompt: str) -> None:
    """Write *prompt* on a translucent band along the foot of *picture*."""
    width, height = picture.size
    size = max(_SMALLEST, min(width, height) // 18)
    words = _printable(prompt)
    while True:
        font = font_for(words, size)
        lines = wrap(words, font, width - 2 * size)
        fits = len(lines) <= _MOST_LINES and len(lines) * size * 1.35 < height * 0.5
        if fits or size <= _SMALLEST:
            break
        size = int(size * 0.85)
    line_height = int(size * 1.35)
    lines = lines[: max(1, height // line_height - 1)]
    _band(picture, lines, font, line_height)


def corner(picture: Image.Image, text: str) -> None:
    """Write *text* small in the upper left corner."""
    size = max(8, min(picture.size) // 48)
    font = font_for(text, size)
    width = int(font.getlength(text)) + size
    shade = Image.new("RGBA", (width, int(size * 1.7)), (0, 0, 0, 120))
    ImageDraw.Draw(shade).text((size // 2, size // 4), text, (255, 255, 255, 235), font)
    _overlay(picture, shade, (size // 2, size // 2))


def label(picture: Image.Image, text: str) -> None:
    """Write *text* across the middle of *picture*."""
    size = max(_SMALLEST, picture.size[0] // 16)
    font = font_for(text, size)
    lines = wrap(_printable(text), font, picture.size[0] - 2 * size)[:4]
    draw = ImageDraw.Draw(picture)
    top = picture.size[1] // 2 - len(lines) * size
    for at, line in enumerate(lines):
        draw.text((size, top + at * size * 1.4), line, (235, 235, 240), font)


def font_for(text: str, size: int, names: Sequence[str] = WIDE_FONTS) -> Font:
    """Return the first font of *names* there is for *text* beyond ASCII."""
    if not text.isascii():
        for name in names:
            with suppress(OSError):
                return ImageFont.truetype(name, size)
    return ImageFont.load_default(size)


def wrap(text: str, font: Font, width: float) -> list[str]:
    """Return *text* in lines no wider than *width* pixels; long words are broken."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if font.getlength(longer) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        *whole, line = _broken(word, font, width)
        lines += whole
    return [*lines, line] if line else lines


def _broken(word: str, font: Font, width: float) -> list[str]:
    pieces = [""]
    for letter in word:
        if pieces[-1] and font.getlength(pieces[-1] + letter) > width:
            pieces.append("")
        pieces[-1] += letter
    return pieces


def _band(picture: Image.Image, lines: list[str], font: Font, line_height: int) -> None:
    if not lines:
        return
    width, height = picture.size
    band_height = len(lines) * line_height + line_height
    band = Image.new("RGBA", (width, band_height), (8, 10, 18, 168))
    draw = ImageDraw.Draw(band)
    for at, line in enumerate(lines):
        left = (width - font.getlength(line)) / 2
        top = line_height // 2 + at * line_height
        draw.text((left, top), line, (255, 255, 255, 255), font)
    _overlay(picture, band, (0, height - band_height))


def _overlay(picture: Image.Image, patch: Image.Image, at: tuple[int, int]) -> None:
    """Lay *patch* over *picture*, keeping transparency when the picture has any."""
    if picture.mode == "RGBA":
        picture.alpha_composite(patch, (max(0, at[0]), max(0, at[1])))
    else:
        picture.paste(patch, at, patch)


def _printable(text: str) -> str:
    """Return *text* without what no font can draw."""
    short = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
    sound = short.encode(errors="replace").decode()
    return "".join(letter if letter.isprintable() else " " for letter in sound)
