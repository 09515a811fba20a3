"""What is read from a batch's journal."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path

import pytest
from support.batches import rewrite

from apimodels_async import JournalError
from apimodels_async.cli.batch.journal import read_cards, read_states, read_totals

JOURNAL = Path("D/journal.sqlite")
PICTURES = Path("D/pictures")


async def test_an_order_without_an_answer_is_pending_while_a_batch_runs(run, prompts):
    """What was written down just before it was sent is unknown once nobody runs."""
    await run("batch", prompts("a fox"), "--out", "D")
    rewrite(JOURNAL, "UPDATE orders SET state = 'intended', cost = NULL, result = NULL")

    states = [
        (await read_cards(JOURNAL, PICTURES, running=now))[0].state
        for now in (True, False)
    ]
    totals = await read_totals(JOURNAL)

    assert states == ["pending", "unknown"]
    assert await read_states(JOURNAL) == {1: "intended"}
    assert (totals.spent, totals.reserved) == (Decimal(0), Decimal("0.01"))


async def test_what_was_ordered_anew_is_one_entry_and_all_its_money(run, prompts):
    """A refusal in spite of an unknown order shows that one, and both cost."""
    await run("batch", prompts("a fox"), "--out", "D")
    columns = "scope, idempotency_key, digest, model, prompt, request, price, number"
    new = "owner, handed_over, intended_at"
    rewrite(JOURNAL, "UPDATE orders SET current = 0")
    for state in ("unknown", "refused"):
        rewrite(
            JOURNAL,
            f"INSERT INTO orders ({columns}, {new}, current, state) "  # noqa: S608
            f"SELECT {columns}, {new}, 0, ? FROM orders WHERE attempt = 1",
            state,
        )
    [entry] = await read_cards(JOURNAL, PICTURES, running=False)
    totals = await read_totals(JOURNAL)

    assert entry.state == "unknown"
    assert (totals.spent, totals.reserved) == (Decimal("0.01"), Decimal("0.01"))


async def test_a_damaged_row_is_a_journal_error(run, prompts):
    """Whatever is in a column, ls and the page get entries that can be shown, or it."""
    await run("batch", prompts("a fox", "a hen"), "--out", "D")
    bad = {
        "state": ["dreaming", ""],
        "price": ["-5", "NaN", "x", "1e99999", b"\0\xff"],
        "result": ["no json", b"\0\xff"],
        "model": [b"\0\xff"],
        "number": ["one"],
        "files": ["/etc/passwd", b"\0\xff"],
        "task_id": ["../balance"],
    }
    for column, value in [(name, each) for name, all_ in bad.items() for each in all_]:
        kept = JOURNAL.read_bytes()  # noqa: ASYNC240  nothing else runs
        sql = f"UPDATE orders SET {column} = ? WHERE number = 1"  # noqa: S608  ours
        rewrite(JOURNAL, sql, value)
        with pytest.raises(JournalError, match=r"attempts . cannot be read"):
            await read_cards(JOURNAL, PICTURES, running=False)
        JOURNAL.write_bytes(kept)  # noqa: ASYNC240


async def test_a_damaged_row_is_one_message(run, prompts, program):
    """Nothing of SQLite's own is printed around the message about a damaged row."""
    await run("batch", prompts("a fox", "a hen"), "--out", "D")
    rewrite(JOURNAL, "UPDATE orders SET state = 'dreaming'")
    for command in ("ls", "resume"):
        _, said = await asyncio.to_thread(program(command, "D").communicate)
        assert "is damaged" in said
        assert "Exception ignored" not in said
        assert "Traceback" not in said


async def test_odd_words_in_a_journal_are_shown_or_left_out(run, prompts):
    """A seed of another kind is no reason to show nothing, nor is a file elsewhere."""
    await run("batch", prompts("a fox"), "--out", "D")
    request = '{"prompt": {"a": 1}, "seed": "x"}'
    sql = "UPDATE orders SET request = ?, files = ?"
    rewrite(JOURNAL, sql, request, json.dumps(["/etc/passwd"]))
    [entry] = await read_cards(JOURNAL, PICTURES, running=False)

    assert entry.seed is None
    assert entry.files == (PICTURES / "passwd",)


async def test_what_is_no_store_is_a_journal_error(folder):
    """Text, for example, is named."""
    text = folder / "text"
    text.write_text("no database at all, " * 100)
    with pytest.raises(JournalError, match="not a database"):
        await read_cards(text, PICTURES, running=False)


async def test_without_a_journal_nothing_was_ordered():
    """A folder whose batch has not begun has no entries."""
    assert await read_cards(JOURNAL, PICTURES, running=False) == []


async def test_a_request_that_cannot_be_read_has_no_seed(run, prompts):
    """The entry is shown all the same."""
    await run("batch", prompts("a fox"), "--out", "D")
    rewrite(JOURNAL, "UPDATE orders SET request = 'no json'")
    [entry] = await read_cards(JOURNAL, PICTURES, running=False)

    assert entry.seed is None
    assert entry.state == "completed"


async def test_a_large_journal_is_read_page_by_page(run, prompts):
    """Every row is there, however many there are."""
    await run("batch", prompts("a fox"), "--out", "D")
    rewrite(
        JOURNAL,
        "WITH RECURSIVE n (n) AS (SELECT 2 UNION SELECT n + 1 FROM n WHERE n < 1205) "
        "INSERT INTO orders (scope, idempotency_key, current, digest, model, request, "
        "state, number, owner, handed_over, intended_at) SELECT scope, 'k' || n, 1, "
        "digest, model, request, 'refused', n, owner, 0, 0 FROM orders, n",
    )
    entries = await read_cards(JOURNAL, PICTURES, running=False)

    assert [entry.number for entry in entries] == list(range(1, 1206))


async def test_a_journal_that_is_being_made_has_nothing_yet(tmp_path):
    """It is empty for a moment: no error, and left as it is."""
    journal = tmp_path / "journal.sqlite"
    journal.touch()

    assert await read_cards(journal, None, running=True) == []
    assert journal.stat().st_size == 0
