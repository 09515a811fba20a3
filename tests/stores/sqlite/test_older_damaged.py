"""Journals of earlier releases that cannot be brought over stay as they are."""

from __future__ import annotations

import fcntl
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from support.batches import drain, orders, rewrite, tasks
from support.older import completed, names, version_of, write_journal

from apimodels_async import JournalError


@pytest.fixture
def path(tmp_path):
    """Return where the journal is."""
    return tmp_path / "j.sqlite"


async def run(session, path, *prompts):
    """Run a batch; return its outcomes, and what was raised."""
    batch = session.images.batch(prompts, journal=path)
    try:
        return await drain(batch)
    except JournalError as error:  # when it was entered
        return {}, error


DAMAGED = [
    "request = 'a moose'",
    "request = ''",
    "request = '{'",
    "request = '[]'",
    "request = x'7b7d'",
    "request = CAST(x'7bff7d' AS TEXT)",
    f"request = '{'[' * 50_000}'",
    "request = replace(request, 'hare', 'bear')",
    "key = 'moose'",
    "key = x'00'",
    "key = NULL",
]


async def test_an_item_that_is_damaged_keeps_the_journal_as_it_is(
    emulator, session, path
):
    """Nothing is brought over, changed or ordered, and once mended it goes on."""
    items = [
        ("moose", completed("moose")),
        ("hare", completed("hare")),
        ("owl", {"state": "refused"}),
    ]
    write_journal(path, items)
    whole = path.read_bytes()
    for damage in DAMAGED:
        path.write_bytes(whole)
        rewrite(path, f"UPDATE items SET {damage} WHERE number = 1")  # noqa: S608
        before = path.read_bytes()
        outcomes, raised = await run(session, path, "new", "moose")
        assert (outcomes, type(raised)) == ({}, JournalError), damage
        assert f"{path} is damaged: item 1 is damaged" in str(raised)
        assert path.read_bytes() == before, damage
    assert orders(emulator) == []

    path.write_bytes(whole)
    outcomes, _ = await run(session, path, "moose", "hare")
    assert names(outcomes) == ["moose", "hare"]


async def test_a_value_that_is_damaged_stops_the_batch_at_its_item(
    emulator, session, path
):
    """The item is known, and what became of it is not: it is not ordered."""
    for version, damage in enumerate(
        (
            "state = 'dreaming'",
            "result = '{'",
            "result = NULL",
            "state = 'accepted', task_id = NULL",
            "task_id = '../balance'",
            "error = x'00'",
            "file = x'00'",
        )
    ):
        path.unlink(missing_ok=True)
        write_journal(path, [("moose", completed("moose"))], 1 + version % 2)
        rewrite(path, f"UPDATE items SET {damage}")  # noqa: S608
        for _ in range(2):
            outcomes, raised = await run(session, path, "moose")
            assert (outcomes, type(raised)) == ({}, JournalError), damage

    assert orders(emulator) == []


async def test_a_journal_that_is_in_use_is_left_alone(session, path):
    """An earlier release has the same lock."""
    write_journal(path, [("moose", completed("moose"))])
    before = path.read_bytes()
    with path.with_name("j.sqlite.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(JournalError, match="is working with it"):
            await session.images.batch(["moose"], journal=path).__aenter__()

    assert path.read_bytes() == before


OPEN = """
import asyncio, resource, sys
from pathlib import Path
from apimodels_async.stores.sqlite.journal import Journal
most = int(sys.argv[2])
sys.dont_write_bytecode = True  # it would be cut off as well
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
asyncio.run(Journal(Path(sys.argv[1])).open())
"""


async def test_a_full_disk_leaves_it_as_it_was(emulator, session, path):
    """What does not fit is undone; with room it is brought over."""
    items = [(each, completed(each.prompt.replace(" ", ""))) for each in tasks(300)]
    write_journal(path, items)
    size = path.stat().st_size
    for most in (size // 2, size):
        done = subprocess.run(  # noqa: ASYNC221  limits are of a process
            [sys.executable, "-c", OPEN, str(path), str(most)],
            check=False,
            capture_output=True,
            text=True,
        )
        assert "JournalError: the store" in done.stderr
        assert version_of(path) == 2
        with closing(sqlite3.connect(path)) as connection:
            found = connection.execute("SELECT count(*) FROM items").fetchall()
        assert found == [(300,)]
    outcomes, _ = await drain(session.images.batch(tasks(300), journal=path))

    assert names(outcomes) == [f"moose{n}" for n in range(300)]
    assert orders(emulator) == []
