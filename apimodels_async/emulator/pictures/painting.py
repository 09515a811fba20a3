"""
Draws one sketch and encodes its file.

Runs in a worker thread.
"""

import io
import random

from PIL import Image

from apimodels_async.emulator.pictures import art, inputs, text
from apimodels_async.emulator.service.values import Sketch

# Art is drawn no larger than this and then enlarged: a 4K picture costs its
# resampling, not four times the brush strokes.
_CANVAS_SIDE = 1280
_RADIUS = 120  # of a cut-out, on the 0-255 scale of a radial gradient
_BACKGROUND, _SUBJECT = 0, 1  # layers by number; any further one has the text


def paint(sketch: Sketch) -> bytes:
    """Return the file of *sketch*; equal sketches give equal bytes."""
    picture = _picture(sketch)
    if sketch.layer is None and sketch.mask is None:
        text.corner(picture, f"{sketch.model} / seed {sketch.seed}"[:80])
    file = io.BytesIO()
    if sketch.format == "jpeg":
        picture.convert("RGB").save(file, "JPEG", quality=88)
    elif sketch.format == "webp":
        picture.save(file, "WEBP", quality=85, method=2)
    else:
        picture.save(file, "PNG", compress_level=3)
    return file.getvalue()


def _picture(sketch: Sketch) -> Image.Image:
    purpose = f"{sketch.model}\n{sketch.prompt}\n{sketch.seed}"
    rng = random.Random(purpose.encode(errors="replace"))  # noqa: S311 - reproducible
    sides = (sketch.width, sketch.height)
    if sketch.layer is not None:
        return _layer(rng, sketch, sides)
    if sketch.inputs:
        return _edited(rng, sketch, sides)
    picture = _scene(rng, sides)
    if sketch.transparent:
        picture = _cut_out(picture)
    text.caption(picture, sketch.prompt)
    return picture


def _scene(rng: random.Random, sides: tuple[int, int]) -> Image.Image:
    colours = art.palette(rng)
    canvas = _canvas(sides)
    picture = art.background(rng, colours, canvas)
    shapes = art.shapes(rng, colours, canvas)
    picture.paste(shapes, (0, 0), shapes)
    return _enlarged(picture, sides)


def _edited(rng: random.Random, sketch: Sketch, sides: tuple[int, int]) -> Image.Image:
    """Return the inputs with the edit on them; with a mask, only inside it."""
    colours = art.palette(rng)
    if sketch.mask is None:
        before = inputs.side_by_side(sketch.inputs, sides)
    else:
        before = inputs.panel(sketch.inputs[0], sides)
    after = inputs.tinted(before, colours[2]) if sketch.prompt else before.copy()
    if sketch.mask is None:
        text.caption(after, sketch.prompt)
        return after
    region = inputs.changed_region(sketch.mask, sides)
    box = region.getbbox()
    if box is None:
        return before
    shapes = _enlarged(art.shapes(rng, colours, _canvas(sides)), sides)
    after.paste(shapes, (0, 0), shapes)
    patch = after.crop(box)
    text.caption(patch, sketch.prompt)
    after.paste(patch, box)
    return Image.composite(after, before, region)


def _layer(rng: random.Random, sketch: Sketch, sides: tuple[int, int]) -> Image.Image:
    """Return one transparent layer of the picture that ``_scene`` makes."""
    colours = art.palette(rng)
    canvas = _canvas(sides)
    background = art.background(rng, colours, canvas)
    if sketch.layer == _BACKGROUND:
        return _enlarged(background.convert("RGBA"), sides)
    if sketch.layer == _SUBJECT:
        return _enlarged(art.shapes(rng, colours, canvas), sides)
    words = Image.new("RGBA", sides)
    text.caption(words, sketch.prompt)
    return words


def _cut_out(picture: Image.Image) -> Image.Image:
    """Return *picture* with a transparent surround."""
    fade = Image.radial_gradient("L").resize(picture.size)
    picture.putalpha(fade.point([255 if at < _RADIUS else 0 for at in range(256)]))
    return picture


def _canvas(sides: tuple[int, int]) -> tuple[int, int]:
    shrink = min(1.0, _CANVAS_SIDE / max(sides))
    return max(1, int(sides[0] * shrink)), max(1, int(sides[1] * shrink))


def _enlarged(picture: Image.Image, sides: tuple[int, int]) -> Image.Image:
    if picture.size == sides:
        return picture
    return picture.resize(sides, Image.Resampling.BICUBIC)
