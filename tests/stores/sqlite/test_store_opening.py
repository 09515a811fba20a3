"""Opening a store, and leaving before it is open."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import pytest
from support.orders import SCOPE, begun
from support.waiting import until

from apimodels_async import JournalError
from apimodels_async.stores import SqliteStore
from apimodels_async.stores.sqlite.connection import connect, set_mode
from apimodels_async.stores.sqlite.schema import prepare
from apimodels_async.stores.sqlite.writer import Writer


@pytest.fixture
async def busy():
    """Let the loop's only thread be busy until this is set."""
    done = threading.Event()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    loop.run_in_executor(None, done.wait)
    yield done
    done.set()
    await loop.shutdown_default_executor()


def has_thread():
    """Return whether a file is open, or being opened."""
    return any(each.name == "apimodels-store" for each in threading.enumerate())


async def leave(store, begun=lambda: True):
    """Begin to open a store, and be cancelled."""
    opener = asyncio.create_task(store.open())
    await asyncio.sleep(0)
    await until(begun)
    opener.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opener


async def test_what_nobody_waits_for_is_not_opened(busy, tmp_path):
    """Callers who gave up in the queue hold up none who waits, and make no file."""
    stores = [SqliteStore(tmp_path / f"{number}.sqlite") for number in range(50)]
    for store in stores:
        await leave(store)
    last = SqliteStore(tmp_path / "last.sqlite")
    opening = asyncio.create_task(last.open())
    await asyncio.sleep(0)
    busy.set()
    await opening
    await last.aclose()

    assert all(path.name.startswith("last") for path in tmp_path.iterdir())


async def test_what_was_opened_for_nobody_is_closed(tmp_path):
    """Cancelled while it opens a file, it closes it."""
    store = SqliteStore(tmp_path / "orders.sqlite")
    await leave(store)
    await until(lambda: store.path.exists() and store.path.stat().st_size)
    await until(lambda: Writer.open_ones == {})


async def test_what_could_not_be_opened_for_nobody_is_not_told(tmp_path, caplog):
    """Whoever left hears of no trouble, and nobody else does."""
    await leave(SqliteStore(tmp_path))
    await asyncio.to_thread(lambda: None)
    await asyncio.sleep(0)

    assert caplog.text == ""


def test_what_opens_as_its_loop_ends_is_closed(tmp_path):
    """The threads of a loop take nothing more then: its last one closes the file."""
    store = SqliteStore(tmp_path / "orders.sqlite")
    loop = asyncio.new_event_loop()
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        loop.run_until_complete(leave(store, has_thread))
        ending = loop.create_task(loop.shutdown_default_executor())
        loop.run_until_complete(asyncio.sleep(0))
        other.execute("COMMIT")
        loop.run_until_complete(ending)
    loop.close()

    assert Writer.open_ones == {}


async def test_a_file_that_does_not_open_is_refused_in_the_end(tmp_path):
    """Whoever waited is told; it is closed once it opens, and can be opened anew."""
    store = SqliteStore(tmp_path / "orders.sqlite")
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        ready = partial(prepare, path=store.path)
        with pytest.raises(JournalError, match="it does not open"):
            await asyncio.to_thread(Writer.acquire, store.path, ready, opening_s=0.05)
        assert Writer.open_ones == {}
        other.execute("COMMIT")
    await until(lambda: not has_thread())
    await store.open()
    await begun(store)
    await store.aclose()


@pytest.mark.parametrize("wal", [True, False, None])
def test_every_commit_is_flushed_whatever_the_log(tmp_path, wal):
    """Without a word about it, the log is the one that is safe with this SQLite."""
    with closing(connect(tmp_path / "orders.sqlite")) as connection:
        set_mode(connection, wal=wal)
        pragmas = ("journal_mode", "synchronous", "wal_autocheckpoint")
        asked = [connection.execute(f"PRAGMA {each}").fetchone()[0] for each in pragmas]
    if wal is None:
        wal = sqlite3.sqlite_version_info >= (3, 51, 3)

    assert asked == ["wal" if wal else "persist", 2, 4_000]


async def test_a_lease_can_be_short(tmp_path):
    """For tests: an owner who was silent for that long counts as gone."""
    store = SqliteStore.unchecked(tmp_path / "orders.sqlite", lease_s=0.3)
    await store.open()
    await begun(store)
    while (left := await store.recover(SCOPE, "heir")) is None:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    await store.aclose()

    assert left.idempotency_key == "k"
