"""Drawing in threads: the cache, shared drawings, and life without Pillow."""

import asyncio
import base64
import sys

from attrs import evolve

from apimodels_async.emulator.pictures.studio import Studio
from apimodels_async.emulator.service.values import Sketch

FOX = Sketch("gpt-image-2", "a red fox in snow", 7, 64, 64)
MOOSE = evolve(FOX, prompt="a moose")


async def test_a_drawing_is_cached_by_name():
    """A file that was drawn is not drawn again."""
    studio = Studio()
    first = await studio.draw("a", FOX)

    assert await studio.draw("a", MOOSE) == first
    studio.close()


async def test_the_cache_is_bounded():
    """Drawings beyond the limit are dropped, and drawn again."""
    studio = Studio(cache_bytes=1)
    first = await studio.draw("a", FOX)

    assert await studio.draw("a", FOX) == first
    assert await studio.draw("a", MOOSE) != first
    studio.close()


async def test_drawing_once_for_many():
    """Many who ask for one file at once share one drawing."""
    calls = []
    studio = Studio(paint=lambda sketch: calls.append(sketch) or b"x")
    found = await asyncio.gather(*(studio.draw("a", FOX) for _ in range(5)))
    studio.close()

    assert (found, len(calls)) == ([b"x"] * 5, 1)


async def test_without_pillow_the_emulator_says_so(api, monkeypatch, png):
    """Without Pillow a picture answers 501 with what to install."""
    url = await api.result()
    name = "apimodels_async.emulator.pictures."
    monkeypatch.setitem(sys.modules, name + "painting", None)
    monkeypatch.setitem(sys.modules, name + "inputs", None)
    status, body = await api.ask("GET", url)
    image = base64.b64encode(png()).decode()
    created, _ = await api.create(image=image)

    assert (status, created) == (501, 501)
    assert "pip install 'apimodels-async[emulator]'" in body["msg"]
