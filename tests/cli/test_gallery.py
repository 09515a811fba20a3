"""
The gallery: what is written. What Chromium makes of it is in tests/browser.
"""

from __future__ import annotations

import errno
import os
import re
from decimal import Decimal
from pathlib import Path

import pytest

from apimodels_async import ConfigurationError
from apimodels_async.cli.gallery import Card, write_gallery

MANY = 2000

HOSTILE = (
    """'"><script>window.pwned = 1</script><img src=x onerror="window.pwned = 1">"""
)
FACTS = {"wall time": "6.1 s", "spent": "$0.76"}
NARROW = {"width": 390, "height": 844}


def card(number, **more):
    """Return a card with everything a completed picture has, but for the picture."""
    known = {
        "prompt": f"a red fox, take {number}",
        "model": "gpt-image-2",
        "state": "completed",
        "seed": 1000 + number,
        "time_s": 4.25,
        "cost": Decimal("0.030"),
        "task_id": f"clx{number:04d}",
    }
    return Card(number=number, **{**known, **more})


@pytest.fixture
def index(tmp_path):
    """Return where the page goes: a folder of its own, not made yet."""
    return tmp_path / "run" / "index.html"


# --- what is written -------------------------------------------------------------


def test_a_page_is_sorted_by_number(index):
    """Cards come in any order and are shown by their number."""
    write_gallery(index, "Run", [card(3), card(1), card(2)], {})

    numbers = re.findall(r'data-number="(\d+)"', index.read_text())
    assert numbers == ["1", "2", "3"]


def test_a_page_without_cards_says_so(index):
    """Nothing made yet is a page as well."""
    write_gallery(index, "Run", [], {})

    assert "Nothing here yet." in index.read_text()


def test_everything_foreign_is_text(index):
    """Prompts, models, ids, errors, facts and the title are never markup."""
    hostile = card(
        1,
        **dict.fromkeys(("prompt", "model", "task_id", "error"), HOSTILE),
        file=index.parent / HOSTILE.replace("/", ""),
    )

    write_gallery(
        index,
        HOSTILE,
        [hostile, card(2, state="failed", error=HOSTILE)],
        {HOSTILE: "&"},
    )

    text = index.read_text()
    assert text.count("<script>") == 1
    assert "<img src=x" not in text
    assert "&#39;&#34;&gt;&lt;script&gt;" in text


@pytest.mark.parametrize(
    ("file", "link"),
    [
        ("run/a fox.png", "a%20fox.png"),
        ("run/a:b?c#d%.png", "a%3Ab%3Fc%23d%25.png"),
        ('run/"><b>.png', "%22%3E%3Cb%3E.png"),
        ("elsewhere/füchse.png", "../elsewhere/f%C3%BCchse.png"),
        (os.fsdecode(b"run/\xff.png"), "%FF.png"),
    ],
)
def test_a_picture_is_named_relative_to_the_page(index, tmp_path, file, link):
    """Names are quoted, also those that would be markup, a scheme or no text at all."""
    write_gallery(index, "Run", [card(1, file=tmp_path / file)], {})

    assert f'<img src="{link}"' in index.read_text()


def test_index_and_pictures_may_be_relative_to_the_working_directory(folder):
    """Paths as a user types them work too."""
    write_gallery(Path("out/index.html"), "Run", [card(1, file=Path("out/a.png"))], {})

    assert '<img src="a.png"' in (folder / "out" / "index.html").read_text()


@pytest.mark.parametrize(
    ("more", "shown"),
    [
        ({"time_s": 0.04}, "0.04 s"),
        ({"time_s": 0.996}, "1.0 s"),
        ({"time_s": 59.94}, "59.9 s"),
        ({"time_s": 59.97}, "1 min 0 s"),
        ({"time_s": 119.6}, "2 min 0 s"),
        ({"cost": Decimal("0.03")}, "$0.030"),
        ({"cost": Decimal("0.00450")}, "$0.0045"),
        ({"cost": Decimal(0)}, "$0.000"),
        ({"cost": Decimal(12)}, "$12.000"),
        ({"seed": 0}, "seed 0"),
    ],
)
def test_figures_are_written_for_people(index, more, shown):
    """Figures carry their units; small prices are not rounded away."""
    write_gallery(index, "Run", [card(1, **more)], {})

    assert f">{shown}</span>" in index.read_text()


def test_what_is_not_known_is_left_out(index):
    """No time, no cost, no seed and no id: no empty place for them."""
    nothing = dict.fromkeys(("seed", "time_s", "cost", "task_id"))

    write_gallery(index, "Run", [card(1, **nothing)], {})

    text = index.read_text()
    assert '<p class="figures"></p>' in text
    assert 'class="id"' not in text
    assert "None" not in text


def test_half_a_surrogate_pair_is_no_obstacle(index):
    """A prompt that is no valid text is shown as far as it goes."""
    write_gallery(index, "Run", [card(1, prompt="fox \ud83e end")], {})

    assert "fox ? end" in index.read_text(encoding="utf-8")


def test_a_state_nobody_knows_is_refused():
    """A card has one of the page's states."""
    with pytest.raises(ValueError, match="state"):
        card(1, state="accepted")


def test_a_page_is_replaced_whole(index):
    """The new page takes the place of the old one, and nothing else is left."""
    write_gallery(index, "Old", [card(1)], {})
    old = index.open()
    write_gallery(index, "New", [card(1)], {})

    with old:  # who was reading it has all of it
        assert "<h1>Old</h1>" in (text := old.read())
    assert text.endswith("</html>\n")
    assert "<h1>New</h1>" in index.read_text()
    assert list(index.parent.iterdir()) == [index]


def test_a_page_is_readable_for_others_as_any_file(index):
    """The page has the mode that the umask asks for."""
    before = os.umask(0o022)
    try:
        write_gallery(index, "Run", [], {})
    finally:
        os.umask(before)

    assert index.stat().st_mode & 0o777 == 0o644


def test_a_page_that_cannot_be_written_is_a_set_up_error(index):
    """The message names the file, the reason and what to do; nothing is left behind."""
    index.mkdir(parents=True)

    with pytest.raises(ConfigurationError, match="choose another folder") as caught:
        write_gallery(index, "Run", [card(1)], {})

    assert str(index) in str(caught.value)
    assert os.strerror(errno.EISDIR) in str(caught.value)
    assert list(index.parent.iterdir()) == [index]


def test_a_folder_that_cannot_be_made_is_a_set_up_error():
    """A folder where none can be is told before anything is rendered."""
    with pytest.raises(ConfigurationError, match="/proc/none"):
        write_gallery(Path("/proc/none/index.html"), "Run", [], {})


def test_two_thousand_cards_stay_light(index):
    """A page of 2,000 pictures with prompts of 200 characters is below 2 MB."""
    cards = [
        card(
            number,
            prompt=f"{number} " + "x" * 195,
            task_id=f"clx{number:022d}",
            file=index.parent
            / f"{number:05d}-a-red-fox-in-fresh-snow-at-first-light.jpg",
        )
        for number in range(1, MANY + 1)
    ]

    write_gallery(index, "Run", cards, FACTS)

    assert index.stat().st_size < 2_000_000
