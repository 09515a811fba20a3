"""
A card whose order gave several pictures leads to all of them.
"""

from __future__ import annotations

from apimodels_async.cli.gallery.page import Card, write_gallery


def test_every_picture_of_an_order_is_on_the_page(tmp_path):
    """The first is shown, the others are links beside it, quoted like any name."""
    files = [tmp_path / name for name in ("fox.png", 'fox "2".png', "狐-3.png")]
    card = Card(
        number=1, prompt="a fox", model="m", state="completed", file=files[0],
        more=tuple(files[1:]),
    )  # fmt: skip
    write_gallery(tmp_path / "index.html", "Run", [card], {})
    page = (tmp_path / "index.html").read_text("utf-8")

    assert 'src="fox.png"' in page
    assert "3 pictures:" in page
    assert 'href="fox%20%222%22.png">2</a>' in page
    assert 'href="%E7%8B%90-3.png">3</a>' in page
