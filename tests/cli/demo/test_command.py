"""
``apimodels demo``.
"""

from __future__ import annotations

import re
import time

import pytest

from apimodels_async import (
    BadRequestError,
    GenerationFailedError,
    InvalidRequestError,
    OutcomeUnknownError,
)
from apimodels_async.cli.demo.board import REFUSED, Board, DemoOrder, demo_orders
from apimodels_async.cli.demo.command import run_orders
from apimodels_async.cli.demo.display import write_final_page, write_pending_page

FAST = ("--speed", 500)


async def test_the_demo_saves_its_pictures_and_explains_its_failures(run, folder):
    """All pictures and the page are saved; the refused ones are told with reasons."""
    done = await run("demo", "--count", 14, *FAST)

    pictures = list((folder / "demo").glob("*.jpg"))
    text = (folder / "demo" / "index.html").read_text()
    assert done.code == 0
    assert len(pictures) == 14
    assert {path.name for path in pictures} == set(re.findall(r'src="([^"]+)"', text))
    assert text.count('<li class="card completed"') == 14
    assert done.out.count("failed as asked") == 2
    assert text.count("Content policy violation") == 2
    assert "14 saved, 2 failed" in done.out


async def test_the_demo_for_programs(run):
    """With --json each picture and the sums are objects; both books agree."""
    done = await run("demo", "--count", 4, *FAST, "--json")

    *pictures, totals = done.records
    assert len(pictures) == 6
    assert (totals["saved"], totals["failed"]) == (4, 2)
    assert sum(picture["error"] is not None for picture in pictures) == 2


async def test_the_demo_on_a_terminal(run_on_terminal):
    """Before a terminal a live board shows states and models."""
    done = await run_on_terminal("demo", "--count", 30, *FAST, columns=120)

    assert "32 of 32 pictures" in done.out
    assert "gemini-2.5-flash-image" in done.out


async def test_the_demo_on_a_narrow_terminal(run_on_terminal):
    """A narrow terminal gets the board without the table of models."""
    done = await run_on_terminal("demo", "--count", 6, *FAST, columns=80)

    assert "8 of 8 pictures" in done.out
    assert "sparkpix-image-edit" not in done.out


async def test_the_demo_refuses_a_port_that_is_taken(run, emulator):
    """A port in use is a set-up error."""
    done = await run("demo", "--port", emulator.origin.rpartition(":")[2])

    assert done.code == 2
    assert "cannot listen" in done.err


async def test_the_demo_refuses_a_folder_it_cannot_write(run):
    """The folder is tried before anything is made."""
    done = await run("demo", "--out", "/proc/none")

    assert done.code == 2
    assert "cannot be written" in done.err


async def test_the_demo_fails_if_pictures_are_missing(run, folder):
    """Pictures that cannot be saved are failures nobody asked for: code 1."""
    (folder / "demo" / "02-a-red-fox-in-fresh-snow.jpg").mkdir(parents=True)

    done = await run("demo", "--count", 2, *FAST)

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


def test_the_page_is_there_before_the_pictures(folder):
    """Before anything is made the page shows every picture as pending."""
    board = Board.of(demo_orders(2), 0.0)

    write_pending_page(folder / "index.html", board)

    text = (folder / "index.html").read_text()
    assert "4 pictures on their way" in text
    assert text.count('<li class="card pending"') == 4


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (GenerationFailedError("<b>no</b>"), "failed"),
        (BadRequestError("<b>no</b>"), "refused"),
        (InvalidRequestError("<b>no</b>"), "refused"),
        (OutcomeUnknownError("<b>no</b>"), "unknown"),
    ],
)
def test_the_page_says_how_a_picture_was_lost(folder, error, state):
    """Failed, refused and unknown are told apart; messages are text, never markup."""
    board = Board.of([DemoOrder("sparkpix-image", "<script>alert(1)</script>")], 0.0)
    board.items[0].error = error

    write_final_page(folder / "index.html", board, 1.0)

    text = (folder / "index.html").read_text()
    assert f'<li class="card {state}"' in text
    assert "<script>alert" not in text
    assert "&lt;b&gt;no&lt;/b&gt;" in text


@pytest.mark.parametrize("count", [1, 2, 3, 13, 48, 500])
def test_the_orders_are_as_many_as_asked_and_two_more(count):
    """Two orders are refused, and edits follow the picture they edit."""
    orders = demo_orders(count)

    assert count + 2 == len(orders)
    assert sum(order.prompt == REFUSED for order in orders) == 2
    for at, order in enumerate(orders):
        if order.source is not None:
            assert order.source < at
            assert orders[order.source].model == "sparkpix-image"
            assert orders[order.source].prompt != REFUSED
