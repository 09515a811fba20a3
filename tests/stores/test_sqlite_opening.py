"""Opening a store, and leaving before it is open."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.waiting import until

from apimodels_async.stores import SqliteStore
from apimodels_async.stores._writer import Writer


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


async def leave(store):
    """Begin to open a store, and be cancelled."""
    opener = asyncio.create_task(store.open())
    await asyncio.sleep(0)
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
