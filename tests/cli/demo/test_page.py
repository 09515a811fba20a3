"""The demo's page."""

from __future__ import annotations

from apimodels_async import (
    BadRequestError,
    DownloadError,
    GenerationFailedError,
    ImageResult,
    InvalidRequestError,
    Outcome,
    OutcomeUnknownError,
)
from apimodels_async.cli.demo.orders import DemoOrder, demo_orders
from apimodels_async.cli.demo.page import write_page


def test_the_page_is_there_before_the_pictures(folder):
    """Before anything is made the page shows every picture as pending."""
    write_page(folder / "index.html", demo_orders(2), {})

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
    orders = dict.fromkeys(range(1, 6), order)
    results = dict.fromkeys(orders) | {5: ImageResult(urls=("https://a.b/c.png",))}
    ended = {
        number: Outcome(number, None, results[number], error)
        for number, (error, _) in enumerate(ends, 1)
    }

    write_page(folder / "index.html", orders, ended, 1.0)

    text = (folder / "index.html").read_text("utf-8")
    shown = [part.partition('"')[0] for part in text.split('<li class="card ')[1:]]
    assert shown == [state for _, state in ends]
    assert "<script>alert" not in text
    assert text.count("&lt;b&gt;no&lt;/b&gt;") == len(ends)
