"""What is checked, priced and asked before anything is sent."""

from __future__ import annotations

import os
import pty
from decimal import Decimal

import pytest
from cli.conftest import Terminal

from apimodels_async import ConfigurationError, InvalidRequestError
from apimodels_async.cli.batch.preflight import (
    Shard,
    check_rows,
    confirm_reorder,
    print_problems,
)
from apimodels_async.cli.batch.rows import PromptFile
from apimodels_async.cli.output import Output, screen


def rows(text, suffix=".txt", model=None):
    """Return the rows of a file with this text."""
    return list(PromptFile("f", suffix, text.encode()).rows(model))


def test_a_bad_row_has_its_line_and_reason():
    """Every bad row is found, with its line in the file."""
    found = check_rows(rows('"a"\n[1]\n{"seed":1}\n', ".jsonl"), Shard(), limited=False)

    assert [line for line, _ in found.problems] == [2, 3]


def test_a_shard_is_one_of_several():
    """3/16 is the third of sixteen; anything else is refused."""
    assert Shard.read("3/16") == Shard(3, 16)
    for text in ("3", "0/3", "4/3", "1/0", "a/b", "1/3/5"):
        with pytest.raises(InvalidRequestError, match=f"--shard needs.*'{text}'"):
            Shard.read(text)


def test_nothing_to_order_is_an_error():
    """An empty file, an empty shard and bad rows end before anything is sent."""
    for text, suffix, shard, why in (
        ("", ".txt", Shard(), "has no rows; nothing was sent"),
        ("a\n", ".txt", Shard(2, 2), "none of them in this shard"),
        ('{"prompt": 1}\n', ".jsonl", Shard(), "1 of 1 row cannot be ordered"),
    ):
        found = check_rows(rows(text, suffix), shard, limited=False)
        with pytest.raises(InvalidRequestError, match=why):
            print_problems(found, "f", Output())


def test_a_budget_needs_prices():
    """With --max-cost a model without a published price is a bad row."""
    odd, known = rows("a\n", model="brand-new-model"), rows("a\n")

    assert check_rows(odd, Shard(), limited=False).unpriced == 1
    assert "no price is known" in check_rows(odd, Shard(), limited=True).problems[0][1]
    assert check_rows(known, Shard(), limited=True).usd == Decimal("0.01")


# --- the question -----------------------------------------------------------------

BEFORE = {1: "completed", 2: "unknown", 3: "intended"}


async def answered(text):
    """Ask on a terminal where somebody types *text*; return what was shown."""
    ours, theirs = pty.openpty()
    output = Output(stdout=screen(Terminal()), stderr=screen(shown := Terminal()))
    with os.fdopen(theirs, encoding="utf-8") as stdin, os.fdopen(ours, "w") as keys:
        keys.write(text)
        keys.flush()
        await confirm_reorder(BEFORE, output, yes=False, stdin=stdin)
    return shown.getvalue()


async def test_only_a_yes_on_a_terminal_pays_again():
    """On a terminal the question is put; any other answer ends the command."""
    assert "2 orders of unknown outcome" in await answered("y\n")
    for text in ("n\n", "\n"):
        with pytest.raises(ConfigurationError, match="the answer was not yes"):
            await answered(text)


async def test_nobody_is_asked_in_vain(folder):
    """Where there is nothing to ask about, or a yes was given, nothing is asked."""
    await confirm_reorder(BEFORE, Output(), yes=True)
    await confirm_reorder({1: "completed"}, Output(), yes=False)
    with (
        (folder / "stdin").open("w+") as stdin,
        pytest.raises(InvalidRequestError, match="2 orders may be paid for twice"),
    ):
        await confirm_reorder(BEFORE, Output(), yes=False, stdin=stdin)
