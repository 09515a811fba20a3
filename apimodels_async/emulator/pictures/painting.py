"""
Draws one sketch and encodes its file: a scene, or the inputs with an edit on them.

Runs in a worker thread.
"""

import io
import math
import random

from PIL import Image, ImageColor, ImageDraw, ImageFilter, ImageOps

from apimodels_async.emulator.pictures import inputs, text
from apimodels_async.emulator.service.values import Sketch

# Scenes are drawn no larger than this and then enlarged: a 4K picture costs its
# resampling, not four times the brush strokes.
_CANVAS_SIDE = 1280
_SHADES = ((75, 28), (70, 50), (60, 78), (35, 97))  # saturation and value, percent
_TINT = 0.28
_BACKGROUND, _SUBJECT = 0, 1  # layers by number; any further one has the text
_SAVED = {
    "jpeg": {"quality": 88},
    "webp": {"quality": 85, "method": 2},
    "png": {"compress_level": 3},
}
# Distance to opacity. 178 is the edge of Pillow's gradient half-way along a side.
_GLOW = [max(0, 178 - at) * 3 // 4 for at in range(256)]
_CUT_OUT = [255] * 120 + [0] * 136

Colour = tuple[int, int, int] | tuple[int, int, int, int]
Sides = tuple[int, int]


def paint(sketch: Sketch) -> bytes:
    """Return the file of *sketch*; equal sketches give equal bytes."""
    purpose = f"{sketch.model}\n{sketch.prompt}\n{sketch.seed}"
    rng = random.Random(purpose.encode(errors="replace"))  # noqa: S311 - reproducible
    hue, step = rng.random(), rng.choice((0.06, 0.1, 0.16, 0.42))
    colours = [
        ImageColor.getrgb(f"hsv({360 * (hue + at * step):.0f},{saturation}%,{value}%)")
        for at, (saturation, value) in enumerate(_SHADES)
    ]
    draw = _edit if sketch.inputs and sketch.layer is None else _scene
    picture = draw(rng, colours, sketch, (sketch.width, sketch.height))
    if sketch.layer is None and sketch.mask is None:
        text.corner(picture, f"{sketch.model} / seed {sketch.seed}"[:80])
    file = io.BytesIO()
    word = sketch.format if sketch.format in _SAVED else "png"
    picture.save(file, word.upper(), **_SAVED[word])
    return file.getvalue()


def _scene(
    rng: random.Random, colours: list[Colour], sketch: Sketch, sides: Sides
) -> Image.Image:
    """Return hills under a sky, with the prompt on them; or one layer of that."""
    picture, hills = _sky(rng, colours, sides), _hills(rng, colours, sides)
    if sketch.layer in {_BACKGROUND, _SUBJECT}:
        layer = hills if sketch.layer else picture.convert("RGBA")
        return layer.resize(sides, Image.Resampling.BICUBIC)
    if sketch.layer is not None:
        picture = Image.new("RGBA", sides)
    else:
        picture.paste(hills, (0, 0), hills)
        picture = picture.resize(sides, Image.Resampling.BICUBIC)
        if sketch.transparent:
            surround = Image.radial_gradient("L").resize(sides)
            picture.putalpha(surround.point(_CUT_OUT))
    text.caption(picture, sketch.prompt)
    return picture


def _edit(
    rng: random.Random, colours: list[Colour], sketch: Sketch, sides: Sides
) -> Image.Image:
    """Return the inputs with the edit on them; with a mask, only inside it."""
    shown = sketch.inputs[:1] if sketch.mask else sketch.inputs
    before = inputs.side_by_side(shown, sides)
    after = before.copy()
    if sketch.prompt:
        after = Image.blend(before, Image.new("RGB", sides, colours[2]), _TINT)
    if sketch.mask is None:
        text.caption(after, sketch.prompt)
        return after
    region = inputs.changed_region(sketch.mask, sides)
    box = region.getbbox()
    if box is None:
        return before
    hills = _hills(rng, colours, sides).resize(sides, Image.Resampling.BICUBIC)
    after.paste(hills, (0, 0), hills)
    patch = after.crop(box)
    text.caption(patch, sketch.prompt)
    after.paste(patch, box)
    return Image.composite(after, before, region)


def _canvas(sides: Sides) -> Sides:
    shrink = min(1.0, _CANVAS_SIDE / max(sides))
    return max(1, int(sides[0] * shrink)), max(1, int(sides[1] * shrink))


def _sky(rng: random.Random, colours: list[Colour], sides: Sides) -> Image.Image:
    """Return a rotated gradient with a few radial glows."""
    width, height = canvas = _canvas(sides)
    turned = Image.linear_gradient("L").rotate(rng.choice((0, 0, 20, -20, 180)))
    turned = turned.crop((48, 48, 208, 208))  # without the corners turning bared
    turned = turned.resize(canvas, Image.Resampling.BICUBIC)
    sky = ImageOps.colorize(turned, colours[0], colours[2])
    for _ in range(3):
        size = max(1, int(max(canvas) * rng.uniform(0.5, 1.1)))
        x, y = int(rng.uniform(-0.3, 0.9) * width), int(rng.uniform(-0.3, 0.7) * height)
        glow = Image.radial_gradient("L").point(_GLOW)
        glow = glow.resize((size, size), Image.Resampling.BICUBIC)
        sky.paste(rng.choice(colours[1:]), (x, y, x + size, y + size), glow)
    return sky


def _hills(rng: random.Random, colours: list[Colour], sides: Sides) -> Image.Image:
    """Return a sun and hills on a transparent image."""
    width, height = canvas = _canvas(sides)
    layer = Image.new("RGBA", canvas)
    draw = ImageDraw.Draw(layer)
    radius = int(min(canvas) * rng.uniform(0.08, 0.16))
    x, y = int(width * rng.uniform(0.2, 0.8)), int(height * rng.uniform(0.12, 0.4))
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), (*colours[3], 235))
    for at in range(5):
        level, swing = height * (0.42 + 0.12 * at), height * rng.uniform(0.04, 0.11)
        waves, phase = rng.uniform(0.6, 2.2), rng.uniform(0, math.tau)
        edge = [
            (x, level + swing * math.sin(waves * math.tau * x / width + phase))
            for x in range(0, width + 8, 8)
        ]
        colour = [
            int(far + (near - far) * at / 4)
            for far, near in zip(colours[2], colours[0], strict=True)
        ]
        draw.polygon([(0, height), *edge, (width + 8, height)], (*colour, 215))
    return layer.filter(ImageFilter.SMOOTH)
