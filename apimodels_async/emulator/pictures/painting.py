"""
Draws one sketch and encodes its file: a scene, or the inputs with an edit on them.

Runs in a worker thread.
"""

import io
import math
import random

from PIL import Image, ImageColor, ImageDraw, ImageFilter, ImageOps

from apimodels_async.emulator.pictures import inputs
from apimodels_async.emulator.pictures.text import caption
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
_CUT_OUT = [255] * 120 + [0] * 136  # distance from the middle to opacity

Colour = tuple[int, int, int] | tuple[int, int, int, int]


def paint(sketch: Sketch) -> bytes:
    """Return the file of *sketch*; equal sketches give equal bytes."""
    purpose = f"{sketch.model}\n{sketch.prompt}\n{sketch.seed}"
    rng = random.Random(purpose.encode(errors="replace"))  # noqa: S311 - reproducible
    hue, step = rng.random(), rng.choice((0.06, 0.1, 0.16, 0.42))
    colours = [
        ImageColor.getrgb(f"hsv({360 * (hue + at * step):.0f},{saturation}%,{value}%)")
        for at, (saturation, value) in enumerate(_SHADES)
    ]
    sky, hills = _scene(rng, colours, (sketch.width, sketch.height))
    if sketch.layer is not None:
        picture = _layer(sketch, sky, hills)
    elif sketch.inputs:
        picture = _edit(sketch, hills, colours[2])
    else:
        sky.paste(hills, (0, 0), hills)
        if sketch.transparent:
            surround = Image.radial_gradient("L").resize(sky.size)
            sky.putalpha(surround.point(_CUT_OUT))
        caption(sky, _words(sketch))
        picture = sky
    file = io.BytesIO()
    word = sketch.format if sketch.format in _SAVED else "png"
    picture.save(file, word.upper(), **_SAVED[word])
    return file.getvalue()


def _words(sketch: Sketch) -> str:
    return f"{sketch.prompt} ({sketch.model}, seed {sketch.seed})"


def _layer(sketch: Sketch, sky: Image.Image, hills: Image.Image) -> Image.Image:
    if sketch.layer == _BACKGROUND:
        return sky.convert("RGBA")
    if sketch.layer == _SUBJECT:
        return hills
    picture = Image.new("RGBA", sky.size)
    caption(picture, sketch.prompt)
    return picture


def _edit(sketch: Sketch, hills: Image.Image, tint: Colour) -> Image.Image:
    """Return the inputs with the edit on them; with a mask, only inside it."""
    shown = sketch.inputs[:1] if sketch.mask else sketch.inputs
    before = inputs.side_by_side(shown, hills.size)
    after = before.copy()
    if sketch.prompt:
        after = Image.blend(before, Image.new("RGB", hills.size, tint), _TINT)
    if sketch.mask is None:
        caption(after, _words(sketch))
        return after
    region = inputs.changed_region(sketch.mask, hills.size)
    box = region.getbbox()
    if box is None:
        return before
    after.paste(hills, (0, 0), hills)
    patch = after.crop(box)
    caption(patch, sketch.prompt)
    after.paste(patch, box)
    return Image.composite(after, before, region)


def _scene(
    rng: random.Random, colours: list[Colour], sides: tuple[int, int]
) -> tuple[Image.Image, Image.Image]:
    """Return the sky, and a sun and hills on a transparent image."""
    shrink = min(1.0, _CANVAS_SIDE / max(sides))
    width, height = (max(1, int(side * shrink)) for side in sides)
    gradient = Image.linear_gradient("L").rotate(rng.choice((0, 180))).resize(sides)
    sky = ImageOps.colorize(gradient, colours[0], colours[2])
    layer = Image.new("RGBA", (width, height))
    draw = ImageDraw.Draw(layer)
    sun = int(width * rng.uniform(0.2, 0.8)), int(height * rng.uniform(0.12, 0.4))
    radius = int(min(width, height) * rng.uniform(0.08, 0.16))
    draw.circle(sun, radius, (*colours[3], 235))
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
    hills = layer.filter(ImageFilter.SMOOTH)
    return sky, hills.resize(sides, Image.Resampling.BICUBIC)
