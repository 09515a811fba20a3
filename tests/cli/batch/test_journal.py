"""What is read from a batch's journal."""

from __future__ import annotations

import asyncio
import sqlite3
from decimal import Decimal
from pathlib import Path

import pytest
from support.batches import rewrite
from support.cases import check_all

from apimodels_async import JournalError
from apimodels_async.cli.batch.journal import (
    read_entries,
    read_states,
    read_totals,
    running_pid,
)

JOURNAL = Path("D/journal.sqlite")
PICTURES = Path("D/pictures")


async def test_an_order_without_an_answer_is_pending_while_a_batch_runs(run, prompts):
    """What was written down just before it was sent is unknown once nobody runs."""
    await run("batch", prompts("a fox"), "--out", "D")
    with sqlite3.connect(JOURNAL) as journal:
        journal.execute("UPDATE items SET state = 'intended', cost = NULL")
    journal.close()

    states = [
        read_entries(JOURNAL, PICTURES, running=now)[0].state for now in (True, False)
    ]
    totals = read_totals(JOURNAL)

    assert states == ["pending", "unknown"]
    assert read_states(JOURNAL) == {1: "intended"}
    assert (totals.spent, totals.reserved) == (Decimal(0), Decimal("0.01"))


async def test_a_damaged_row_is_a_journal_error(run, prompts):
    """Whatever is in a column, ls and the page get entries that can be shown, or it."""
    await run("batch", prompts("a fox"), "--out", "D")
    kept = JOURNAL.read_bytes()  # noqa: ASYNC240  nothing else runs
    bad = {
        "state": ["'dreaming'", "''"],
        "price": ["'-5'", "'NaN'", "'x'", "'1e99999'"],
        "cost": ["'-5'", "'sNaN'", "''"],
        "request": ["'no json'"],
        "result": ["'no json'"],
    }

    def check(column, value):
        JOURNAL.write_bytes(kept)
        rewrite(JOURNAL, f"UPDATE items SET {column} = {value}")  # noqa: S608  ours
        with pytest.raises(JournalError, match="cannot be read"):
            read_entries(JOURNAL, PICTURES, running=False)
        if column == "cost":
            with pytest.raises(JournalError, match="an amount"):
                read_totals(JOURNAL)

    check_all([(name, each) for name, values in bad.items() for each in values], check)


async def test_a_damaged_row_is_one_message(run, prompts, program):
    """Nothing of SQLite's own is printed around the message about a damaged row."""
    await run("batch", prompts("a fox", "a hen"), "--out", "D")
    rewrite(JOURNAL, "UPDATE items SET state = 'dreaming'")
    for command in ("ls", "resume"):
        _, said = await asyncio.to_thread(program(command, "D").communicate)
        assert "JournalError" in said.splitlines()[-1]
        assert "Exception ignored" not in said
        assert "Traceback" not in said


async def test_a_table_of_somebody_elses_is_a_journal_error(run, prompts):
    """One that does not keep SQLite's types is read with the same care."""
    await run("batch", prompts("a fox"), "--out", "D")
    rewrite(JOURNAL, "ALTER TABLE items RENAME TO ours")
    rewrite(JOURNAL, "CREATE TABLE items AS SELECT * FROM ours")
    read_entries(JOURNAL, PICTURES, running=False)
    kept = JOURNAL.read_bytes()  # noqa: ASYNC240  nothing else runs
    columns = ("number", "model", "price", "cost", "task_id", "file", "error")

    def check(column):
        JOURNAL.write_bytes(kept)
        rewrite(JOURNAL, f"UPDATE items SET {column} = x'00ff'")  # noqa: S608  ours
        with pytest.raises(JournalError, match="cannot be read"):
            read_entries(JOURNAL, PICTURES, running=False)

    check_all([(each,) for each in columns], check)


async def test_odd_words_in_a_journal_are_shown_or_left_out(run, prompts):
    """A prompt, a seed and a time of other kinds are no reason to show nothing."""
    await run("batch", prompts("a fox"), "--out", "D")
    request = '{"prompt": {"a": 1}, "seed": "x"}'
    rewrite(JOURNAL, "UPDATE items SET request = ?, file = '/etc/passwd'", request)
    rewrite(JOURNAL, "UPDATE items SET result = ?", '{"duration_s": 1e999}')
    [entry] = read_entries(JOURNAL, PICTURES, running=False)

    assert (entry.seed, entry.time_s) == (None, None)
    assert entry.files == (PICTURES / "passwd",)


def test_a_lock_names_no_process_by_junk(folder):
    """What is no number of a process is nobody's."""
    for text in ("", "x", "9" * 30, "9" * 5000):
        Path("journal.sqlite.lock").write_text(text)
        assert running_pid(Path("journal.sqlite")) is None


def test_without_a_journal_nothing_was_ordered():
    """A folder whose batch has not begun has no entries."""
    assert read_entries(JOURNAL, PICTURES, running=False) == []
