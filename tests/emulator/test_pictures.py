"""Pictures: the right size and format, drawn from the prompt, the same each time."""

import base64
import sys
from io import BytesIO

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFont

from apimodels_async.emulator.pictures import painting
from apimodels_async.emulator.pictures.studio import Studio
from apimodels_async.emulator.service.values import Input, Sketch

anyio = pytest.mark.anyio
FOX = Sketch("gpt-image-2", "a red fox in snow", 7, 320, 200)


def drawn(sketch):
    """Return the picture of *sketch*."""
    return Image.open(BytesIO(painting.paint(sketch)))


@pytest.mark.parametrize(
    ("word", "name", "mode"),
    [("jpeg", "JPEG", "RGB"), ("png", "PNG", "RGB"), ("webp", "WEBP", "RGB")],
)
def test_formats(word, name, mode):
    """A picture has the format and the sides asked for."""
    picture = drawn(evolve(FOX, format=word))

    assert (picture.format, picture.mode, picture.size) == (name, mode, (320, 200))


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


@given(st.text(max_size=60))
def test_any_prompt_can_be_drawn(prompt):
    """Whatever the prompt, a picture is drawn."""
    painting.paint(evolve(FOX, prompt=prompt, width=64, height=64))


def test_long_words_and_texts_fit():
    """Long prompts are wrapped, broken and cut to fit."""
    font = ImageFont.load_default(12)
    for text in ("a " * 500, "x" * 500, "word " + "y" * 90):
        lines = lettering.wrap(text, font, 100)
        assert all(font.getlength(line) <= 100 for line in lines)
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    drawn(evolve(FOX, prompt="long " * 500))


@pytest.mark.parametrize("known", [True, False])
def test_wide_letters_use_a_system_font(monkeypatch, known):
    """Other letters than ASCII take a system font if there is one."""
    own, real = ImageFont.load_default(12), ImageFont.truetype

    def look(font=None, size=10, **more):
        if not isinstance(font, str):
            return real(font, size, **more)
        if known:
            return own
        raise OSError(font)

    monkeypatch.setattr(lettering.ImageFont, "truetype", look)
    font = lettering.font_for("狐", 12)

    assert (font is own) is known


def panel(colour, sides=(100, 80)):
    """Return an input of one colour."""
    file = BytesIO()
    Image.new("RGB", sides, colour).save(file, "PNG")
    return Input(colour, *collage.shrink(file.getvalue()))


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
    return Input("mask", *collage.shrink(file.getvalue()))


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


def test_hostile_images_are_no_images():
    """Broken, huge and lying files are not decoded."""
    sound = BytesIO()
    Image.new("RGB", (50, 50)).save(sound, "PNG")
    bomb = BytesIO()
    Image.new("1", (12_000, 9_000)).save(bomb, "PNG")

    assert collage.shrink(b"") is None
    assert collage.shrink(b"<svg/>") is None
    assert collage.shrink(sound.getvalue()[:60]) is None
    assert collage.shrink(bomb.getvalue()) is None


def test_large_inputs_are_kept_small():
    """An input is kept at most 1024 pixels long; its own sides are remembered."""
    kept = panel("red", (2000, 1000))

    assert kept.sides == (2000, 1000)
    assert Image.open(BytesIO(kept.data)).size == (1024, 512)


@anyio
async def test_the_cache_is_bounded():
    """Drawings beyond the room push out the oldest; asking at once draws once."""
    studio = Studio(cache_bytes=1)
    first = await studio.draw("a", FOX)
    assert await studio.draw("a", FOX) == first
    assert not studio._drawn
    studio._room_bytes = 1 << 20
    await studio.draw("a", FOX)
    assert await studio.draw("a", evolve(FOX, seed=9)) == first
    studio.close()


@anyio
async def test_drawing_once_for_many(monkeypatch):
    """Many who ask for one file at once share one drawing."""
    import asyncio

    calls = []
    studio = Studio()
    monkeypatch.setattr(painting, "paint", lambda sketch: calls.append(sketch) or b"x")
    found = await asyncio.gather(*(studio.draw("a", FOX) for _ in range(5)))
    studio.close()

    assert (found, len(calls)) == ([b"x"] * 5, 1)


@anyio
async def test_without_pillow_the_emulator_says_so(api, monkeypatch, png):
    """Without Pillow a picture answers 501 with what to install."""
    task = await api.submit()
    url = (await api.ended(task.id))["resultUrls"][0]
    name = "apimodels_async.emulator."
    monkeypatch.setitem(sys.modules, name + "painting", None)
    monkeypatch.setitem(sys.modules, name + "collage", None)
    status, body = await api.ask("GET", url)
    image = base64.b64encode(png()).decode()
    created, _ = await api.create(image=image)

    assert (status, created) == (501, 501)
    assert "pip install 'apimodels-async[emulator]'" in body["msg"]
