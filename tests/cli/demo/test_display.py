"""The demo's board, and its page."""

from __future__ import annotations

import io

from rich.console import Console

from apimodels_async import (
    BadRequestError,
    DownloadError,
    GenerationFailedError,
    ImageResult,
    InvalidRequestError,
    OutcomeUnknownError,
    Session,
)
from apimodels_async.cli.demo.board import Board, DemoOrder, demo_orders
from apimodels_async.cli.demo.display import BoardView, write_page


def test_a_narrow_terminal_has_no_table_of_models():
    """The board is drawn for the width there is."""
    view, shown = BoardView(Board.of(demo_orders(20), 0.0), Session("k")), {}
    for width in (80, 120):
        console = Console(file=io.StringIO(), width=width)
        console.print(view)
        shown[width] = console.file.getvalue()

    assert "0 of 22 pictures" in shown[80]
    assert "sparkpix-image-edit" not in shown[80]
    assert "sparkpix-image-edit" in shown[120]


def test_the_page_is_there_before_the_pictures(folder):
    """Before anything is made the page shows every picture as pending."""
    board = Board.of(demo_orders(2), 0.0)

    write_page(folder / "index.html", board)

    text = (folder / "index.html").read_text("utf-8")
    assert "4 pictures on their way" in text
    assert text.count('<li class="card pending"') == 4


def test_the_page_says_how_a_picture_was_lost(folder):
    """Failed, refused and unknown are told apart; messages are text, never markup."""
    ends = [
        (GenerationFailedError("<b>no</b>"), "failed"),
        (BadRequestError("<b>no</b>"), "refused"),
        (InvalidRequestError("<b>no</b>"), "refused"),
        (OutcomeUnknownError("<b>no</b>"), "unknown"),
        (DownloadError("<b>no</b>"), "failed"),
    ]
    order = DemoOrder("sparkpix-image", "<script>alert(1)</script>")
    board = Board.of([order] * len(ends), 0.0)
    for item, (error, _) in zip(board.items, ends, strict=True):
        item.error = error
    board.items[-1].result = ImageResult(urls=("https://a.b/c.png",))

    write_page(folder / "index.html", board, 1.0)

    text = (folder / "index.html").read_text("utf-8")
    shown = [part.partition('"')[0] for part in text.split('<li class="card ')[1:]]
    assert shown == [state for _, state in ends]
    assert "<script>alert" not in text
    assert text.count("&lt;b&gt;no&lt;/b&gt;") == len(ends)
