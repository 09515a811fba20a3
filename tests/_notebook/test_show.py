"""Pictures in a notebook that a saved notebook keeps."""

from __future__ import annotations

import asyncio
import base64
import io
import subprocess
import sys

import pytest
from PIL import Image
from support.pages import Page
from support.waiting import until

from apimodels_async import (
    ImageResult,
    InvalidRequestError,
    SessionClosedError,
)
from apimodels_async._notebook.show import PICTURES_MAX

TASK = "gpt-image-2"
HOSTILE = "<script>alert(1)</script>\" onerror='x"

# What runs the tests is no notebook; examples/notebook has one.
pytestmark = pytest.mark.filterwarnings("ignore:this is no notebook")


def fetched(emulator):
    """Return how many files were fetched."""
    return sum(one.endpoint == "file" for one in emulator.requests)


def pictures_of(shown):
    """Return the alt text and the decoded picture of each."""
    found = []
    for tag, attrs in Page(shown._repr_html_()).elements:
        if tag == "img":
            kind, _, text = attrs["src"].partition(",")
            assert kind == "data:image/webp;base64"
            picture = Image.open(io.BytesIO(base64.b64decode(text)))
            picture.load()
            assert picture.size == (int(attrs["width"]), int(attrs["height"]))
            found.append((attrs["alt"], picture))
    return found


async def test_pictures_become_part_of_the_page(session, emulator):
    """One result, or a list: small, with alt texts, without any address."""
    fox = await session.images.generate("a fox", aspect_ratio="16:9")
    many = await session.images.generate("two moose", model=TASK, n=2)

    one, grid = await session.show(fox), await session.show([fox, many])

    ((alt, picture),) = pictures_of(one)
    assert alt == "picture by sparkpix-image"
    assert max(picture.size) == 512
    assert [alt for alt, _ in pictures_of(grid)] == [
        "picture by sparkpix-image",
        "picture by gpt-image-2, 1 of 2",
        "picture by gpt-image-2, 2 of 2",
    ]
    assert {max(each.size) for _, each in pictures_of(grid)} == {256}
    assert emulator.origin not in one.html + grid.html
    assert len(grid.html) < 3 * 30_000
    assert (await session.show(fox, side=64)).html.count('width="64"') == 1
    assert "1 picture:" in repr(one)
    assert "session.download(" in repr(grid)


async def test_outcomes_are_shown_with_what_was_asked_for(session, emulator, tmp_path):
    """From where they were saved; a failure is told, with whether it was charged."""
    source = [HOSTILE, "a crowd [refused]"]
    async with session.images.batch(
        source, model=TASK, download_to=tmp_path
    ) as outcomes:
        found = sorted([each async for each in outcomes], key=lambda each: each.index)
    before = fetched(emulator)

    shown = await session.show(found)

    assert fetched(emulator) == before
    page, ((alt, _),) = Page(shown.html), pictures_of(shown)
    assert alt == HOSTILE
    assert f"0: {HOSTILE}" in page.text
    assert "(not charged)" in page.text
    assert {tag for tag, _ in page.elements} == {"div", "figure", "img", "figcaption"}
    # A file that is gone is fetched again.
    found[0].path.unlink()
    assert len(pictures_of(await session.show(found[0]))) == 1
    assert fetched(emulator) == before + 1


async def test_a_picture_that_cannot_be_had_stops_no_other(session, emulator):
    """Its place says why; what is broken on the way is taken up again."""
    results = [await session.images.generate(f"fox {n}") for n in range(2)]
    name = results[0].url.rpartition("/")[2]
    emulator.fault("file", "forbidden", times=None, match=name)
    emulator.fault("file", "truncated", at=1000, match=results[1].url[-12:])

    shown = await session.show(results)

    assert len(pictures_of(shown)) == 1
    assert "DownloadError: " in Page(shown.html).text


async def test_a_notebook_stays_small(session):
    """Of very many pictures the first hundred are shown, the rest is counted."""
    packed = io.BytesIO()
    Image.new("RGB", (4, 4)).save(packed, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(packed.getvalue()).decode()}"

    shown = await session.show([ImageResult(urls=(url,))] * (PICTURES_MAX + 7))

    assert len(pictures_of(shown)) == PICTURES_MAX
    assert "and 7 more" in Page(shown.html).text


async def test_what_is_no_picture_is_refused_in_words(session):
    """A handle, a batch, an address: each is told what to give instead."""
    batch = session.images.batch(["a fox"])
    result = ImageResult(urls=("https://a/1.png",))
    early = session.images.generate("a fox")
    cases = [
        (early, None, "await the call first"),
        ([early], None, "await the call first"),
        ("https://a/1.png", None, r"outcome async for outcome in outcomes"),
        (batch, None, r"outcome async for outcome in outcomes"),
        (session.images.attach("clx1"), None, "await the handle first"),
        ([session.images.attach("clx1")], None, "await the handle first"),
        ([5], None, "an ImageResult"),
        (result, 15, "16 to 2048"),
        (result, "9", "whole number"),
    ]

    for given, side, words in cases:
        with pytest.raises(InvalidRequestError, match=words):
            await session.show(given, side=side)
    early.close()


async def test_outside_a_notebook_it_is_said_what_to_do(session):
    """A script is warned where it calls; the text of the value says it, too."""
    fox = await session.images.generate("a fox")

    with pytest.warns(UserWarning, match="session.download") as told:
        shown = await session.show(fox)

    assert told[0].filename == __file__
    assert ".html into a file" in repr(shown)
    assert len(pictures_of(shown)) == 1


def test_without_pillow_it_is_said_what_to_install():
    """Before anything is fetched; a prompt, which shows the text, is not warned."""
    code = (
        "import asyncio, sys\nsys.modules['PIL'], sys.ps1 = None, '>'\n"
        "from apimodels_async import ConfigurationError, Session\n"
        "async def main():\n"
        "    async with Session('k') as session:\n"
        "        try: await session.show([])\n"
        "        except ConfigurationError as error: print(error)\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-P", "-W", "error", "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True)

    assert "pip install 'apimodels-async[notebook]'" in done.stdout
    assert done.stderr == ""


async def test_a_closed_session_fetches_nothing(session):
    """It says so at once."""
    fox = await session.images.generate("a fox")
    await session.aclose()

    with pytest.raises(SessionClosedError):
        await session.show(fox)


async def test_a_cancelled_show_ends(session, emulator):
    """Files under way are left; nothing of it goes on."""
    fox = await session.images.generate("a fox")
    emulator.fault("file", "hang", times=None)
    showing = asyncio.create_task(session.show([fox, fox]))
    await until(lambda: fetched(emulator))

    showing.cancel()

    with pytest.raises(asyncio.CancelledError):
        await showing
