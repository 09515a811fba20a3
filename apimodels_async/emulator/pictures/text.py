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
    step = int(size * 1.35)
    lines = lines[: max(1, height // step - 1)]
    if lines:
        top = max(0, height - (len(lines) + 1) * step)
        _write(picture, lines, font, (0, top, width, height), 168)


def corner(picture: Image.Image, text: str) -> None:
    """Write *text* small in the upper left corner of *picture*."""
    size = max(8, min(picture.size) // 48)
    font = font_for(text, size)
    at, width = size // 2, int(font.getlength(text)) + size
    _write(picture, [text], font, (at, at, at + width, at + int(size * 1.7)), 120)


def label(picture: Image.Image, text: str) -> None:
    """Write *text* across the middle of *picture*."""
    size = max(_SMALLEST, picture.size[0] // 16)
    font = font_for(text, size)
    lines = wrap(_printable(text), font, picture.size[0] - 2 * size)[:4]
    _write(picture, lines, font, (0, 0, *picture.size), 0)


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


def _write(
    picture: Image.Image,
    lines: list[str],
    font: Font,
    box: tuple[int, int, int, int],
    shade: int,
) -> None:
    """Write *lines* into the middle of *box*, which *shade* darkens: 0 to 255."""
    width, height = box[2] - box[0], box[3] - box[1]
    patch = Image.new("RGBA", (width, height), (8, 10, 18, shade))
    words, middle = "\n".join(lines), (width / 2, height / 2)
    ImageDraw.Draw(patch).multiline_text(
        middle, words, (255, 255, 255, 255), font, "mm", align="center"
    )
    if picture.mode == "RGBA":  # keeps what is transparent
        picture.alpha_composite(patch, box[:2])
    else:
        picture.paste(patch, box[:2], patch)


def _printable(text: str) -> str:
    """Return *text* without what no font can draw."""
    short = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
    sound = short.encode(errors="replace").decode()
    return "".join(letter if letter.isprintable() else " " for letter in sound)
