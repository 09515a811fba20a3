"""The gallery's page as it is written."""

from __future__ import annotations

import errno
import os
import re
from decimal import Decimal
from pathlib import Path

import pytest

from apimodels_async import ConfigurationError
from apimodels_async.cli.gallery.page import models_of, write_gallery

HOSTILE = (
    """'"><script>window.pwned = 1</script><img src=x onerror="window.pwned = 1">"""
)
MANY = 2000
FACTS = {"wall time": "6.1 s", "spent": "$0.76"}


def page(index):
    """Return the page as it was written."""
    return index.read_text(encoding="utf-8")


def test_a_page_is_sorted_by_number(index, card):
    """Cards come in any order and are shown by their number."""
    write_gallery(index, "Run", [card(3), card(1), card(2)], {})

    numbers = re.findall(r'data-number="(\d+)"', page(index))
    assert numbers == ["1", "2", "3"]


def test_a_page_without_cards_says_so(index):
    """Nothing made yet is a page as well."""
    write_gallery(index, "Run", [], {})

    assert "Nothing here yet." in page(index)


def test_everything_foreign_is_text(index, card):
    """Prompts, models, ids, errors, facts and the title are never markup."""
    hostile = card(
        1,
        index.parent / HOSTILE.replace("/", ""),
        **dict.fromkeys(("prompt", "model", "task_id", "error"), HOSTILE),
        params={HOSTILE: HOSTILE, "seed": HOSTILE},
    )

    write_gallery(
        index,
        HOSTILE,
        [hostile, card(2, state="failed", error=HOSTILE)],
        {HOSTILE: "&"},
    )

    text = page(index)
    assert text.count("<script>") == 1
    assert "<img src=x" not in text
    assert "&#39;&#34;&gt;&lt;script&gt;" in text


def test_a_picture_is_named_relative_to_the_page(index, tmp_path, card):
    """Names are quoted, also those that would be markup, a scheme or no text at all."""
    links = {
        "run/a fox.png": "a%20fox.png",
        "run/a:b?c#d%.png": "a%3Ab%3Fc%23d%25.png",
        'run/"><b>.png': "%22%3E%3Cb%3E.png",
        "elsewhere/füchse.png": "../elsewhere/f%C3%BCchse.png",
        os.fsdecode(b"run/\xff.png"): "%FF.png",
    }
    cards = [card(n, tmp_path / file) for n, file in enumerate(links)]
    write_gallery(index, "Run", cards, {})

    assert re.findall('<img src="(.*?)"', page(index)) == list(links.values())


def test_every_picture_of_an_order_is_on_the_page(index, card):
    """The first is shown, the others are links beside it, quoted like any name."""
    files = [index.parent / name for name in ("fox.png", 'fox "2".png', "狐-3.png")]
    write_gallery(index, "Run", [card(1, *files)], {})

    text = page(index)
    assert 'src="fox.png"' in text
    assert "3 pictures:" in text
    assert 'href="fox%20%222%22.png">2</a>' in text
    assert 'href="%E7%8B%90-3.png">3</a>' in text


def test_index_and_pictures_may_be_relative_to_the_working_directory(folder, card):
    """Paths as a user types them work too."""
    write_gallery(Path("out/index.html"), "Run", [card(1, Path("out/a.png"))], {})

    assert '<img src="a.png"' in page(folder / "out" / "index.html")


def test_figures_are_written_for_people(index, card):
    """Figures carry their units; small prices are not rounded away."""
    figures = [
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
    ]
    nothing = dict.fromkeys(("seed", "time_s", "cost"))
    cards = [card(n, **{**nothing, **more}) for n, (more, _) in enumerate(figures)]
    write_gallery(index, "Run", cards, {})

    found = re.findall('<p class="figures"><span class="[a-z]+">(.*?)<', page(index))
    assert found == [shown for _, shown in figures]


def test_what_is_not_known_is_left_out(index, card):
    """No time, no cost, no seed and no id: no empty place for them."""
    nothing = dict.fromkeys(("seed", "time_s", "cost", "task_id"))

    write_gallery(index, "Run", [card(1, **nothing)], {})

    text = page(index)
    assert '<p class="figures"></p>' in text
    assert 'class="id"' not in text
    assert "None" not in text


def test_the_head_names_the_models(card):
    """The commonest first, with how often; one alone without a number."""
    cards = [card(n, model=f"m{min(n, 6)}") for n in range(1, 9)]

    assert models_of(cards[:1]) == "m1"
    assert models_of(cards[5:]) == "m6"
    assert models_of([*cards[:2], *cards[5:]]) == "m6 (3), m1 (1), m2 (1)"
    assert models_of(cards) == "m6 (3), m1 (1), m2 (1), m3 (1) and more"
    assert models_of([]) == ""


def test_a_card_without_a_picture_says_whether_it_was_charged(index, card):
    """What failed or was refused was not charged; what is unknown may have been."""
    lost = {"time_s": None, "cost": None}
    states = ("failed", "refused", "unknown", "pending", "completed")
    cards = [card(n, state=state, **lost) for n, state in enumerate(states)]
    cards.append(card(9, state="failed", cost=Decimal("0.03")))
    write_gallery(index, "Run", cards, {})

    found = re.findall('<span class="charged">(.*?)<', page(index))
    assert found == ["Not charged", "Not charged", "May have been charged"]


def test_half_a_surrogate_pair_is_no_obstacle(index, card):
    """A prompt that is no valid text is shown as far as it goes."""
    write_gallery(index, "Run", [card(1, prompt="fox \ud83e end")], {})

    assert "fox ? end" in page(index)


def test_a_state_nobody_knows_is_refused(card):
    """A card has one of the page's states."""
    with pytest.raises(ValueError, match="state"):
        card(1, state="accepted")


def test_a_page_is_replaced_whole(index, card):
    """The new page takes the place of the old one, and nothing else is left."""
    write_gallery(index, "Old", [card(1)], {})
    old = index.open(encoding="utf-8")
    write_gallery(index, "New", [card(1)], {})

    with old:  # who was reading it has all of it
        assert "<h1>Old</h1>" in (text := old.read())
    assert text.endswith("</html>\n")
    assert "<h1>New</h1>" in page(index)
    assert list(index.parent.iterdir()) == [index]


def test_a_page_is_readable_for_others_as_any_file(index):
    """The page has the mode that the umask asks for."""
    before = os.umask(0o022)
    try:
        write_gallery(index, "Run", [], {})
    finally:
        os.umask(before)

    assert index.stat().st_mode & 0o777 == 0o644


def test_a_page_that_cannot_be_written_is_a_set_up_error(index, card):
    """The message names the file, the reason and what to do; nothing is left behind."""
    index.mkdir(parents=True)

    with pytest.raises(ConfigurationError, match="choose another folder") as caught:
        write_gallery(index, "Run", [card(1)], {})

    assert str(index) in str(caught.value)
    assert os.strerror(errno.EISDIR) in str(caught.value)
    assert list(index.parent.iterdir()) == [index]


def test_a_folder_that_cannot_be_made_is_a_set_up_error(folder):
    """A folder where none can be is named."""
    (folder / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"file/run/index\.html"):
        write_gallery(folder / "file" / "run" / "index.html", "Run", [], {})


def test_two_thousand_cards_stay_light(index, card):
    """A page of 2,000 pictures with prompts of 200 characters is below 2 MB."""
    cards = [
        card(
            number,
            index.parent / f"{number:05d}-a-red-fox-in-fresh-snow-at-first-light.jpg",
            prompt=f"{number} " + "x" * 195,
            task_id=f"clx{number:022d}",
        )
        for number in range(1, MANY + 1)
    ]

    write_gallery(index, "Run", cards, FACTS)

    assert index.stat().st_size < 2_000_000
