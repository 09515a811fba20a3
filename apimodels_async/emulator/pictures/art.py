"""Generated art: a background of gradients, and shapes, both from a random seed."""

import colorsys
import math
import random

from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]

# Distance to opacity. 178 is the edge of Pillow's gradient half-way along a side.
_GLOW = [max(0, 178 - at) * 3 // 4 for at in range(256)]


def palette(rng: random.Random) -> list[Colour]:
    """Return four colours that go together, dark to light."""
    hue = rng.random()
    step = rng.choice((0.06, 0.1, 0.16, 0.42))
    shades = ((0.75, 0.28), (0.7, 0.5), (0.6, 0.78), (0.35, 0.97))
    return [
        _colour(hue + at * step, saturation, value)
        for at, (saturation, value) in enumerate(shades)
    ]


def background(
    rng: random.Random, colours: list[Colour], sides: tuple[int, int]
) -> Image.Image:
    """Return a rotated gradient with a few radial glows."""
    turned = Image.linear_gradient("L").rotate(rng.choice((0, 0, 20, -20, 180)))
    turned = turned.crop((48, 48, 208, 208))  # without the corners turning bared
    sky = Image.composite(
        Image.new("RGB", sides, colours[2]),
        Image.new("RGB", sides, colours[0]),
        turned.resize(sides, Image.Resampling.BICUBIC),
    )
    for _ in range(3):
        glow = Image.radial_gradient("L").point(_GLOW)
        size = int(max(sides) * rng.uniform(0.5, 1.1))
        glow = glow.resize((size, size), Image.Resampling.BICUBIC)
        at = (
            int(rng.uniform(-0.3, 0.9) * sides[0]),
            int(rng.uniform(-0.3, 0.7) * sides[1]),
        )
        sky.paste(rng.choice(colours[1:]), (*at, at[0] + size, at[1] + size), glow)
    return sky


def shapes(
    rng: random.Random, colours: list[Colour], sides: tuple[int, int]
) -> Image.Image:
    """Return hills, orbits or petals on a transparent image."""
    layer = Image.new("RGBA", sides)
    draw = ImageDraw.Draw(layer)
    rng.choice((_hills, _orbits, _petals))(rng, draw, colours, sides)
    return layer.filter(ImageFilter.SMOOTH)


def _hills(
    rng: random.Random,
    draw: ImageDraw.ImageDraw,
    colours: list[Colour],
    sides: tuple[int, int],
) -> None:
    width, height = sides
    radius = int(min(sides) * rng.uniform(0.08, 0.16))
    x, y = int(width * rng.uniform(0.2, 0.8)), int(height * rng.uniform(0.12, 0.4))
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), (*colours[3], 235))
    for at in range(5):
        level = height * (0.42 + 0.12 * at)
        swing = height * rng.uniform(0.04, 0.11)
        waves, phase = rng.uniform(0.6, 2.2), rng.uniform(0, math.tau)
        edge = [
            (x, level + swing * math.sin(waves * math.tau * x / width + phase))
            for x in range(0, width + 8, 8)
        ]
        colour = _between(colours[2], colours[0], at / 4)
        draw.polygon([(0, height), *edge, (width + 8, height)], (*colour, 215))


def _orbits(
    rng: random.Random,
    draw: ImageDraw.ImageDraw,
    colours: list[Colour],
    sides: tuple[int, int],
) -> None:
    middle = (sides[0] * rng.uniform(0.35, 0.65), sides[1] * rng.uniform(0.3, 0.55))
    reach = min(sides)
    for at in range(7):
        radius = reach * (0.12 + 0.075 * at)
        box = (
            middle[0] - radius * 1.5,
            middle[1] - radius,
            middle[0] + radius * 1.5,
            middle[1] + radius,
        )
        draw.ellipse(box, outline=(*colours[3], 190 - 18 * at), width=3)
        angle, dot = rng.uniform(0, math.tau), reach * rng.uniform(0.012, 0.04)
        x = middle[0] + 1.5 * radius * math.cos(angle)
        y = middle[1] + radius * math.sin(angle)
        fill = (*rng.choice(colours[1:]), 255)
        draw.ellipse((x - dot, y - dot, x + dot, y + dot), fill)
    core = reach * 0.09
    draw.ellipse(
        (middle[0] - core, middle[1] - core, middle[0] + core, middle[1] + core),
        (*colours[3], 245),
    )


def _petals(
    rng: random.Random,
    draw: ImageDraw.ImageDraw,
    colours: list[Colour],
    sides: tuple[int, int],
) -> None:
    for _ in range(rng.randint(3, 5)):
        x, y = sides[0] * rng.uniform(0.1, 0.9), sides[1] * rng.uniform(0.1, 0.7)
        reach = min(sides) * rng.uniform(0.12, 0.3)
        count = rng.randint(5, 11)
        for at in range(count):
            angle = math.tau * at / count
            tip = (x + reach * math.cos(angle), y + reach * math.sin(angle))
            sideways = (0.28 * (tip[1] - y), -0.28 * (tip[0] - x))
            middle = ((x + tip[0]) / 2, (y + tip[1]) / 2)
            left = (middle[0] + sideways[0], middle[1] + sideways[1])
            right = (middle[0] - sideways[0], middle[1] - sideways[1])
            fill = (*colours[1 + at % 3], 175)
            draw.polygon([(x, y), left, tip, right], fill)
        dot = reach * 0.16
        draw.ellipse((x - dot, y - dot, x + dot, y + dot), (*colours[3], 240))


def _colour(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return int(red * 255), int(green * 255), int(blue * 255)


def _between(first: Colour, last: Colour, share: float) -> Colour:
    mixed = [int(a + (b - a) * share) for a, b in zip(first, last, strict=True)]
    return mixed[0], mixed[1], mixed[2]
