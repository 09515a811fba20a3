"""``apimodels demo``."""

from __future__ import annotations

import os
import re
import time

from apimodels_async.cli.demo.board import REFUSED, Board, DemoOrder
from apimodels_async.cli.demo.command import run_orders

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
    """Before a terminal a live board shows states and models."""
    done = await run_on_terminal("demo", "--count", 6, *FAST, columns=120)

    assert "8 of 8 pictures" in done.out
    assert "gemini-2.5-flash-image" in done.out


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


async def test_an_edit_of_a_failed_picture_fails_by_name(session, folder):
    """An edit whose source could not be made says which picture that was."""
    orders = [
        DemoOrder("sparkpix-image", REFUSED),
        DemoOrder("sparkpix-image-edit", "at sunset", source=0),
    ]
    board = Board.of(orders, time.monotonic())
    ended = []

    await run_orders(session, board, folder, ended.append)

    assert board.items == ended
    assert "picture 1" in str(board.items[1].error)


async def test_ctrl_c_in_the_demo(interrupted, folder):
    """The demo ends without a list of tasks that die with its emulator."""
    done = await interrupted(
        lambda: list(folder.glob("demo/*.jpg")), "demo", "--speed", 10, "--count", 12
    )

    assert done.code == 130
    assert "Find it again" not in done.err
