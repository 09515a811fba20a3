"""What is read from a batch's journal."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from pathlib import Path

from apimodels_async.cli.batch.journal import read_entries, read_states, read_totals

JOURNAL = Path("D/journal.sqlite")


async def test_an_order_without_an_answer_is_pending_while_a_batch_runs(run, prompts):
    """What was written down just before it was sent is unknown once nobody runs."""
    await run("batch", prompts("a fox"), "--out", "D")
    with sqlite3.connect(JOURNAL) as journal:
        journal.execute("UPDATE items SET state = 'intended', cost = NULL")
    journal.close()

    states = [read_entries(JOURNAL, running=now)[0].state for now in (True, False)]
    totals = read_totals(JOURNAL)

    assert states == ["pending", "unknown"]
    assert read_states(JOURNAL) == {1: "intended"}
    assert (totals.spent, totals.reserved) == (Decimal(0), Decimal("0.01"))


def test_without_a_journal_nothing_was_ordered():
    """A folder whose batch has not begun has no entries."""
    assert read_entries(JOURNAL, running=False) == []
