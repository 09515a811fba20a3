"""``apimodels demo``."""

from __future__ import annotations

import os
import re

from cli.conftest import plain

from apimodels_async import InvalidRequestError
from apimodels_async.cli.demo.command import run_orders
from apimodels_async.cli.demo.orders import REFUSED, DemoOrder
from apimodels_async.cli.output import Output

FAST = ("--speed", 500)


async def test_the_demo_saves_its_pictures_and_explains_its_failures(run, folder):
    """All pictures and the page are saved; the refused ones are told with reasons."""
    done = await run("demo", "--count", 5, *FAST)

    pictures = list((folder / "demo").glob("*.jpg"))
    text = (folder / "demo" / "index.html").read_text("utf-8")
    assert done.code == 0
    assert len(pictures) == 5
    assert {path.name for path in pictures} == set(re.findall(r'src="([^"]+)"', text))
    assert text.count('<li class="card completed"') == 5
    assert done.out.count("failed as asked") == 2
    assert text.count("Content policy violation") == 2
    assert "5 saved, 2 failed" in done.out
    assert text.count('data-call="apimodels generate"') == 6
    assert text.count('data-call="apimodels edit"') == 1
    assert re.search(r'data-options="--model \S+ --image demo/\S+jpg --seed 4"', text)


async def test_the_demo_for_programs(run):
    """With --json each picture and the sums are objects; both books agree."""
    done = await run("demo", "--count", 2, *FAST, "--json")

    *pictures, totals = done.records
    assert len(pictures) == 4
    assert (totals["saved"], totals["failed"]) == (2, 2)
    assert sum(picture["error"] is not None for picture in pictures) == 2


async def test_the_demo_on_a_terminal(run_on_terminal):
    """Before a terminal a bar shows how far it is, as that of a batch."""
    done = await run_on_terminal("demo", "--count", 6, *FAST)

    assert "8/8" in plain(done.err)
    assert "6 saved, 2 failed" in plain(done.out)


async def test_the_demo_refuses_a_port_that_is_taken(run, emulator):
    """A port in use is a set-up error."""
    done = await run("demo", "--port", emulator.origin.rpartition(":")[2])

    assert done.code == 2
    assert "cannot listen" in done.err


async def test_the_demo_refuses_a_folder_it_cannot_write(run, folder):
    """The folder is tried before anything is made."""
    (folder / "file").write_text("")
    done = await run("demo", "--out", "file/demo")

    assert done.code == 2
    assert "cannot be written" in done.err


async def test_the_demo_replaces_no_page_but_its_own(run, folder):
    """It may be the page of a web site."""
    (folder / "index.html").write_text("my site", encoding="utf-8")

    done = await run("demo", "--count", 2, *FAST, "--out", ".")

    assert done.code == 2
    assert "no page of ours" in done.err
    assert (folder / "index.html").read_text("utf-8") == "my site"


async def test_the_demo_makes_no_folder_of_an_address(run, folder):
    """An address of object storage is refused, and nothing is called so."""
    done = await run("demo", "--out", "s3://bucket/demo")
    kept = await run("resume", "s3://bucket/deck")

    assert (done.code, kept.code) == (2, 2)
    assert "give a path" in done.err
    assert "--folder or FILE.batch" in kept.err
    assert list(folder.iterdir()) == []


async def test_the_demo_fails_if_pictures_are_missing(run, folder):
    """Pictures that cannot be saved are failures nobody asked for: code 1."""
    # So deep that the page has a path the system takes, and no picture has.
    room = os.pathconf(folder, "PC_PATH_MAX") - 42 - len(str(folder))
    deep = folder.joinpath(*["d" * 99] * (room // 100), "e" * max(1, room % 100 - 1))

    done = await run("demo", "--count", 2, "--out", deep, *FAST)

    assert done.code == 1
    assert "\nfailed: sparkpix-image" in done.out


async def test_an_edit_without_its_source_is_refused(session, folder):
    """An edit whose source could not be made ends by itself, and is not sent."""
    orders = {
        1: DemoOrder("sparkpix-image", REFUSED),
        2: DemoOrder("sparkpix-image-edit", "at sunset", source=1),
    }

    ended = await run_orders(session, orders, folder, Output())

    assert isinstance(ended[2].error, InvalidRequestError)
    assert session.stats().submitted == 0


async def test_ctrl_c_in_the_demo(interrupted, folder):
    """The demo ends without a list of tasks that die with its emulator."""
    done = await interrupted(
        lambda: list(folder.glob("demo/*.jpg")), "demo", "--speed", 10, "--count", 12
    )

    assert done.code == 130
    assert "Find it again" not in done.err
