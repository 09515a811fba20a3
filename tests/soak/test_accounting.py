"""
A short run of the accounting: whatever cuts a call, each paid order can be found.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from soak.accounts import Account
from soak.conftest import LONG
from support.batches import run_campaign

from apimodels_async import ImageResult, OutcomeUnknownError, RateLimitError

SCRIPT = Path(__file__).parent / "accounting.py"
CALLS = ("generate", "generate-task", "edit", "submit", "batch", "batch-journal")
ENDS = ("aclose", "loop-end", "sync")


def work(prompt, **facts):
    """Return an entry of the emulator's books."""
    url = f"https://files.example/{prompt}.png"
    return {"id": prompt, "prompt": prompt, "url": url, "charged": True, **facts}


@pytest.mark.parametrize("surfaces", [CALLS, ENDS])
def test_a_cut_call_leaves_what_was_paid_for_where_it_is_found(surfaces):
    """Nothing that the emulator charged is unaccounted for."""
    chosen = [word for name in surfaces for word in ("--surface", name)]
    orders = "1000" if LONG else "60"
    said = run_campaign(SCRIPT, *chosen, "--orders", orders)

    assert "unaccounted: 0" in said


def test_the_books_tell_what_is_nowhere():
    """A paid order without a place is lost; one that is free is not missed."""
    account = Account("x")
    account.note("returned", ImageResult(urls=("https://files.example/a.png",)))
    account.note("error", OutcomeUnknownError("?"), "b")
    account.note("error", RateLimitError("no", charged=False), "c")
    account.audit([*map(work, "abc"), work("d", charged=False)])

    assert (account.paid, account.lost) == (3, ["c"])
    assert account.found == {"returned": 1, "error": 1}


def test_an_unknown_fate_without_a_name_stands_for_one_order():
    """Of two orders that are nowhere, one line of the log excuses one."""
    account, words = Account("x"), "POST images was cut when the session closed"
    works = [work("one"), work("two")]
    account.note_text("log", words, works)
    account.audit(works)

    assert (account.found, account.lost) == ({"log": 1}, ["two"])
