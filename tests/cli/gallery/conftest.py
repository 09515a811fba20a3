"""Cards of a gallery, and where the page goes."""

from __future__ import annotations

from decimal import Decimal
from importlib.util import find_spec

import pytest

from apimodels_async.cli.gallery.card import Card

# Only the session "browser" installs playwright.
collect_ignore = [] if find_spec("playwright") else ["test_page_in_browser.py"]


@pytest.fixture
def index(tmp_path):
    """Return where the page goes: a folder of its own, not made yet."""
    return tmp_path / "run" / "index.html"


@pytest.fixture
def card():
    """Make a card with all that a completed picture has, and these files."""

    def card(number, *files, **more):
        known = {
            "prompt": f"a red fox, take {number}",
            "model": "gpt-image-2",
            "state": "completed",
            "seed": 1000 + number,
            "time_s": 4.25,
            "cost": Decimal("0.030"),
            "task_id": f"clx{number:04d}",
        }
        return Card(number=number, files=files, **{**known, **more})

    return card
