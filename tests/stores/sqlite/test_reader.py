"""Reading a store without writing to it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from support.older import write_journal
from support.orders import SCOPE, an_order, begun, execute, make_store

from apimodels_async import ConfigurationError, JournalError
from apimodels_async.stores import (
    MemoryStore,
    OrderState,
    SqliteStore,
    find_order,
    forget_order,
    read_history,
)

KILLED = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = PERSIST")
connection.execute("PRAGMA cache_size = 1")
connection.execute("PRAGMA cache_spill = 1")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE orders SET prompt = 'half written', model = 'x'")
for number in range(2000):
    connection.execute("INSERT INTO owners VALUES (?, 0)", (f"{number:0500}",))
os._exit(0)
"""


@pytest.fixture
async def path(tmp_path):
    """Return the file of a store with an order that nobody has open."""
    store = make_store("sqlite", tmp_path)
    await store.open()
    await store.ended(await begun(store), OrderState.COMPLETED, error=None)
    execute(store, "UPDATE orders SET state = 'unknown'")
    await store.aclose()
    return store.path


def state_of(folder):
    """Return what is in a folder: names, times and contents."""
    return {
        each.name: (each.stat().st_mtime_ns, hashlib.sha256(each.read_bytes()).digest())
        for each in folder.iterdir()
    }


async def keys(path):
    """Return the idempotency keys of the history, and of an order that is found."""
    store = SqliteStore(path)
    found = [each async for each in read_history(store, base_url=SCOPE)]
    one = await find_order(store, "k", base_url=SCOPE)
    return [each.idempotency_key for each in found], one and one.idempotency_key


@pytest.mark.parametrize("mode", ["PERSIST", "WAL", "DELETE"])
async def test_nothing_in_the_folder_changes(path, mode):
    """Neither the file nor anything beside it, whichever SQLite wrote it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
    before = state_of(path.parent)

    assert await keys(path) == (["k"], "k")
    assert state_of(path.parent) == before


async def test_a_log_that_another_program_writes_is_read(path):
    """What was committed into a write-ahead log is there."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("UPDATE orders SET idempotency_key = 'new'")

        assert await keys(path) == (["new"], None)


async def test_it_reads_beside_a_session_of_its_own_process(path):
    """An open store is read like any other, and goes on writing."""
    store = SqliteStore(path)
    await store.open()
    await begun(store, "second")
    reading = read_history(store, base_url=SCOPE)
    first = await anext(reading)
    await begun(store, "third")
    rest = [each.idempotency_key async for each in reading]
    claims = [store.begin(an_order(f"k{number}"), ()) for number in range(20)]
    found, *_ = await asyncio.gather(keys(path), *claims)
    await store.aclose()

    assert [first.idempotency_key, *rest] == ["second", "k"]
    assert found[1] == "k"
    assert len((await keys(path))[0]) == 23


async def test_what_a_kill_left_half_written_is_mended(path):
    """A change that was never committed is undone, as by any session."""
    code = [sys.executable, "-c", KILLED, str(path)]
    subprocess.run(code, check=True)  # noqa: ASYNC221  nothing else is to go on
    files = path.parent.glob(f"{path.name}*")  # one of them its write-ahead log
    assert any(b"half written" in each.read_bytes() for each in files)
    (found,) = [each async for each in read_history(SqliteStore(path), base_url=SCOPE)]

    assert found.prompt == "a moose"


@pytest.mark.parametrize("kind", ["PERSIST", "WAL", "older"])
async def test_a_reader_takes_no_orders(path, kind):
    """What would write is refused, and nothing has changed."""
    if kind == "older":
        path = path.with_name("older.sqlite")
        write_journal(path, [])
    else:
        execute(SqliteStore(path), f"PRAGMA journal_mode = {kind}")
    before = state_of(path.parent)
    store = SqliteStore(path).reader()
    await store.open()
    for refused in (begun(store, "new"), store.renew("us"), store.forget(SCOPE, "k")):
        with pytest.raises(JournalError, match="readonly"):
            await refused
    await store.aclose()
    with pytest.raises(JournalError, match="closed"):
        await store.find(SCOPE, "k")

    assert state_of(path.parent) == before


async def test_what_is_no_store_is_refused_as_by_a_writer(path):
    """Another name of the file, a stranger's, a damaged one: each with its reason."""
    other = path.with_name("other.sqlite")
    os.link(path, other)
    with pytest.raises(JournalError, match="a name of another file"):
        await keys(other)
    other.unlink()
    execute(SqliteStore(path), "PRAGMA user_version = 7")
    with pytest.raises(JournalError, match="of version 7"):
        await keys(path)
    path.write_bytes(b"no database at all" * 99)
    with pytest.raises(JournalError, match="not a database"):
        await keys(path)


@pytest.mark.parametrize("empty", [False, True])
async def test_what_is_not_there_is_refused_and_not_made(tmp_path, empty):
    """A mistyped path does not read as a store without orders, nor becomes one."""
    path = tmp_path / "orders.sqlite"
    if empty:
        path.touch()
    before = state_of(tmp_path)
    for ask in (
        anext(read_history(path, base_url=SCOPE)),
        find_order(SqliteStore(path), "k", base_url=SCOPE),
        forget_order(path, "k", base_url=SCOPE),
    ):
        with pytest.raises(JournalError, match=f"no store.*{path}|{path} is no store"):
            await ask

    assert state_of(tmp_path) == before


async def test_a_store_is_named_as_for_a_session(path):
    """By its path, as text or ``Path``; or it is one; anything else is told."""
    for each in (path, str(path), SqliteStore(path)):
        found = await find_order(each, "k", base_url=SCOPE)
        assert found.idempotency_key == "k"
    (found,) = [each async for each in read_history(str(path), base_url=SCOPE)]
    assert await forget_order(str(path), "k", base_url=SCOPE)
    assert [each async for each in read_history(MemoryStore(), base_url=SCOPE)] == []
    for wrong in (5, None, "mysql://host"):
        with pytest.raises(ConfigurationError, match=r"store|redis://"):
            await find_order(wrong, "k", base_url=SCOPE)
