"""Text on pictures, on a band across them."""

from collections.abc import Sequence
from contextlib import suppress

from PIL import Image, ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_SHOWN = 400  # characters that are drawn
_MOST_LINES = 8
_SMALLEST = 9  # pixels; smaller letters are not legible
_SPACING = 1.35  # from line to line, of the letters' size
# Pillow's own font has ASCII only. These are looked for where the system keeps
# fonts; without any, other letters become boxes.
WIDE_FONTS = ("NotoSansCJK-Regular.ttc", "DejaVuSans.ttf", "Arial Unicode.ttf")


def caption(picture: Image.Image, text: str, place: float = 1.0) -> None:
    """
    Write *text* on a translucent band, a long one smaller, in half of the picture.

    Args:
        place: Where the band lies, from 0 at the top to 1 at the foot.
    """
    width, height = picture.size
    size = max(_SMALLEST, min(width, height) // 18)
    words = _printable(text)
    while True:
        font = font_for(words, size)
        lines = wrap(words, font, width - 2 * size)
        fits = len(lines) <= min(_MOST_LINES, height * 0.5 / size / _SPACING)
        if fits or size <= _SMALLEST:
            break
        size = int(size * 0.85)
    step = int(size * _SPACING)
    lines = lines[: max(1, height // step - 1)]
    if not lines:
        return
    tall = min(height, (len(lines) + 1) * step)
    top = int((height - tall) * place)
    band = Image.new("RGBA", (width, tall), (8, 10, 18, 168))
    middle = (width / 2, tall / 2)
    ImageDraw.Draw(band).multiline_text(
        middle, "\n".join(lines), "white", font, "mm", align="center"
    )
    if picture.mode == "RGBA":  # keeps what is transparent
        picture.alpha_composite(band, (0, top))
    else:
        picture.paste(band, (0, top), band)


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
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
            continue
        lines.append("")
        for letter in word:
            if lines[-1] and font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines


def _printable(text: str) -> str:
    """Return *text* without what no font can draw."""
    short = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
    sound = short.encode(errors="replace").decode()
    return "".join(letter if letter.isprintable() else " " for letter in sound)
