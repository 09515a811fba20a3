"""Pictures: the right size and format, drawn from the prompt, the same each time."""

from io import BytesIO

import pytest
from attrs import evolve
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from apimodels_async.emulator.pictures import painting
from apimodels_async.emulator.pictures.inputs import shrink
from apimodels_async.emulator.service.values import Input, Sketch

FOX = Sketch("gpt-image-2", "a red fox in snow", 7, 320, 200)


def drawn(sketch):
    """Return the picture of *sketch*."""
    return Image.open(BytesIO(painting.paint(sketch)))


def test_formats():
    """A picture has the format and the sides asked for."""
    for word in ("jpeg", "png", "webp"):
        picture = drawn(evolve(FOX, format=word))

        assert (picture.format, picture.mode) == (word.upper(), "RGB")
        assert picture.size == (320, 200)


def test_equal_sketches_give_equal_bytes():
    """Model, prompt and seed decide the picture, each of them."""
    same = painting.paint(FOX)

    assert painting.paint(FOX) == same
    for change in ({"model": "kling-v3"}, {"prompt": "a moose"}, {"seed": 8}):
        assert painting.paint(evolve(FOX, **change)) != same


def test_a_picture_is_not_flat():
    """A picture has many colours, and its caption's letters are among them."""
    picture = drawn(evolve(FOX, format="png"))

    assert len(picture.getcolors(1 << 20)) > 500
    foot = picture.crop((0, 150, 320, 200)).convert("L")
    assert foot.getextrema()[1] > 240


def test_a_transparent_picture_has_clear_corners():
    """A transparent background leaves corners clear and the middle opaque."""
    alpha = drawn(evolve(FOX, format="png", transparent=True)).getchannel("A")

    assert (alpha.getpixel((319, 0)), alpha.getpixel((160, 80))) == (0, 255)


def test_large_pictures_are_enlarged():
    """A 4K picture is drawn in full size."""
    assert drawn(evolve(FOX, width=3840, height=2160)).size == (3840, 2160)


@settings(max_examples=30)
@given(st.text(max_size=60))
@example("long " * 500)
@example("\ud800 狐 \x00")
def test_any_prompt_can_be_drawn(prompt):
    """Whatever the prompt, a picture is drawn."""
    painting.paint(evolve(FOX, prompt=prompt, width=64, height=64))


def panel(colour, sides=(100, 80)):
    """Return an input of one colour."""
    file = BytesIO()
    Image.new("RGB", sides, colour).save(file, "PNG")
    return Input(colour, *shrink(file.getvalue()))


def test_inputs_are_seen_side_by_side():
    """A fusion shows its inputs left to right, in order."""
    inputs = (panel("red"), panel("blue"), Input("lost"))
    picture = drawn(evolve(FOX, prompt="", inputs=inputs, width=600))
    left, middle = picture.getpixel((100, 60)), picture.getpixel((300, 60))

    assert left[0] > 200
    assert left[2] < 120
    assert middle[2] > 200
    assert middle[0] < 120


def mask(colour, box=None, mode="L"):
    """Return a mask with a box of *colour*."""
    picture = Image.new(mode, (100, 80), 0 if mode == "L" else (9, 9, 9, 255))
    if box:
        picture.paste(colour, box)
    file = BytesIO()
    picture.save(file, "PNG")
    return Input("mask", *shrink(file.getvalue()))


@pytest.mark.parametrize(
    ("masked", "changed"),
    [
        (mask(255, (0, 0, 50, 80)), (True, False)),
        (mask((0, 0, 0, 0), (50, 0, 100, 80), "RGBA"), (False, True)),
        (mask(255), (False, False)),
        (Input("lost"), (True, True)),
    ],
)
def test_masks(masked, changed):
    """White, or what is transparent, changes; a lost mask allows all, an empty none."""
    sketch = evolve(FOX, format="png", inputs=(panel("blue"),), mask=masked)
    picture = drawn(evolve(sketch, width=100, height=80))
    halves = picture.crop((0, 0, 50, 80)), picture.crop((50, 0, 100, 80))
    seen = [half.getcolors() != [(4000, (0, 0, 255))] for half in halves]

    assert tuple(seen) == changed
