"""The file of a SQLite store: what it can be, and what becomes of a damaged one."""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import sqlite3
import stat
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from support.cases import check_all, check_all_at_once
from support.orders import PICTURE, SCOPE, an_order, begin, begun, execute

import apimodels_async.stores
from apimodels_async import JournalError
from apimodels_async.stores import HistoryQuery, OrderState, SqliteStore

ALL = HistoryQuery()


async def refusal(store):
    """Return the words with which a store does not open; nothing is behind them."""
    with pytest.raises(JournalError) as caught:
        await store.open()
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return str(caught.value)


async def list_all(store):
    """Return all that the history has."""
    return await store.history(SCOPE, ALL, before=None, limit=1000)


# --- what can be a store -------------------------------------------------------------


async def test_it_is_private_and_its_folder_is_made(tmp_path):
    """A new file is its owner's alone; nothing is made before it is opened."""
    store = SqliteStore(tmp_path / "a" / "b" / "orders.sqlite")
    assert not (tmp_path / "a").exists()
    await store.open()
    await store.aclose()

    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert repr(store) == f"<SqliteStore {store.path}>"


async def test_orders_outlive_the_store_object(tmp_path, monkeypatch):
    """What was written is there for the next one, also by a relative path."""
    store = SqliteStore(tmp_path / "orders.sqlite")
    for _ in range(2):
        await store.open()
        await begin(store)
        await store.aclose()
    monkeypatch.chdir(tmp_path)
    other = SqliteStore("orders.sqlite")
    await other.open()
    assert len(await list_all(other)) == 1
    await other.aclose()


async def test_a_closed_store_says_so():
    """Nothing waits for a store that is not open, and closing it is no error."""
    store = SqliteStore("nowhere.sqlite")
    await store.aclose()
    with pytest.raises(JournalError, match=r"nowhere\.sqlite is closed"):
        await begin(store)


async def test_other_names_of_a_file_are_the_same_store(tmp_path):
    """A symbolic link, and a folder that is one, lead to one connection."""
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    (tmp_path / "other.sqlite").symlink_to(real / "orders.sqlite")
    paths = (
        real / "orders.sqlite",
        tmp_path / "link" / "orders.sqlite",
        tmp_path / "other.sqlite",
    )
    stores = [SqliteStore(path) for path in paths]
    for store in stores:
        await store.open()
    claims = [await begin(store) for store in stores]
    for store in stores:
        await store.aclose()

    assert [claim.granted for claim in claims] == [True, False, False]


async def test_what_is_no_file_of_ours_is_refused(tmp_path):
    """Folders, pipes, devices, and other programs' files are told apart, in words."""
    (tmp_path / "text").write_text("no database at all, " * 100)
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    with closing(sqlite3.connect(tmp_path / "foreign")) as foreign:
        foreign.execute("CREATE TABLE x (y)")
    for version in (1, 9):
        with closing(sqlite3.connect(tmp_path / f"v{version}")) as journal:
            journal.execute(f"PRAGMA user_version = {version}")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    inside = re.escape(str(tmp_path / "orders.sqlite"))
    cases = [
        (tmp_path, f"it is a folder; name a file in it, such as {inside}$"),
        (tmp_path / "pipe", "it is no file"),
        ("/dev/null", "it is no file"),
        (tmp_path / "text", "not a database"),
        (tmp_path / "file" / "orders", "File exists|Not a directory"),
        (tmp_path / "foreign", "database of another program; nothing was written"),
        (tmp_path / "v1", "no such table: items"),
        (tmp_path / "v9", "of version 9, and this release writes 3"),
        (tmp_path / "loop", "symbolic links"),
        ("x" * 300, "too long"),
    ]
    before = (tmp_path / "foreign").read_bytes()

    async def check(path, words):
        assert re.search(words, await refusal(SqliteStore(path)))

    await check_all_at_once(cases, check)
    assert (tmp_path / "foreign").read_bytes() == before


async def test_a_second_name_of_an_open_store_is_refused(sqlite_store, tmp_path):
    """A hard link has locks of its own; the store that is open goes on."""
    os.link(sqlite_store.path, tmp_path / "hard.sqlite")
    words = await refusal(SqliteStore(tmp_path / "hard.sqlite"))

    assert "a name of another file" in words
    assert (await begin(sqlite_store)).granted


@pytest.mark.skipif(not hasattr(os, "geteuid") or not os.geteuid(), reason="as root")
async def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    """Neither a new file nor an old one can be used there."""
    old = SqliteStore(tmp_path / "orders.sqlite")
    await old.open()
    await old.aclose()
    tmp_path.chmod(0o500)
    try:
        assert "cannot be used" in await refusal(SqliteStore(tmp_path / "new.sqlite"))
        await old.open()
        with pytest.raises(JournalError, match="cannot be used"):
            await begin(old)
        await old.aclose()
    finally:
        tmp_path.chmod(0o700)


async def test_a_file_that_lost_its_name_takes_nothing_more(sqlite_store):
    """Deleted or replaced it would be another one to everybody else."""
    attempt = await begun(sqlite_store)
    kept = sqlite_store.path.with_name("kept")
    sqlite_store.path.rename(kept)
    for replacement in (None, kept):
        if replacement:
            shutil.copy(replacement, sqlite_store.path)
        other = SqliteStore(sqlite_store.path)
        await other.open()  # the same connection: a file is open once
        for store in (other, sqlite_store):
            with pytest.raises(JournalError, match="deleted or replaced"):
                await begin(store, "other")
        await other.aclose()
        with pytest.raises(JournalError, match="deleted or replaced"):
            await sqlite_store.accepted(attempt, "t1")
    kept.replace(sqlite_store.path)

    assert await begun(sqlite_store, "other")


# --- SQL ------------------------------------------------------------------------------


def test_it_needs_no_newer_sqlite():
    """No statement has what came after SQLite 3.34."""
    folder = Path(apimodels_async.stores.__file__).parent / "sqlite"
    code = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    code = re.sub(r"#.*", "", code)
    newer = r"RETURNING|STRICT|unixepoch|sqlite_schema|MATERIALIZED|DROP COLUMN|->>"

    assert re.findall(rf"\b(?:{newer})\b", code) == []


async def test_the_file_can_be_read_with_plain_sql(sqlite_store):
    """Its columns say what they hold, in words and dates of SQL."""
    attempt = await begun(sqlite_store)
    await sqlite_store.ended(attempt, OrderState.COMPLETED, result=PICTURE)
    sql = (
        "SELECT idempotency_key, state, price, cost, prompt, "
        "abs(intended_at - strftime('%s', 'now')) < 60 FROM orders"
    )

    assert execute(sqlite_store, sql) == [
        ("k", "completed", "0.02", "0.0250", "a moose", 1)
    ]


# --- damage ---------------------------------------------------------------------------

BROKEN = [
    ("state", "dreaming"),
    ("state", b"\xff"),
    ("task_id", b"7"),
    ("task_id", None),
    ("task_id", "t1&model=x"),
    ("result", "{"),
    ("result", b"\xff\xfe"),
    ("price", "-1"),
    ("price", "cheap"),
    ("files", "{}"),
    ("files", "[1]"),
    ("files", "[" * 100_000),
    ("prompt", b"a moose"),
    ("digest", b"1"),
    ("intended_at", "yesterday"),
    ("intended_at", 1e300),
    ("ended_at", float("inf")),
]


async def test_a_damaged_row_fails_alone(sqlite_store, caplog):
    """It is refused in words, and all others are found, listed and recovered."""
    await begun(sqlite_store, "before")
    for number, (column, value) in enumerate(BROKEN):
        attempt = await begun(sqlite_store, f"k{number}")
        await sqlite_store.accepted(attempt, "t1")
        sql = f"UPDATE orders SET {column} = ? WHERE attempt = ?"  # noqa: S608
        execute(sqlite_store, sql, value, attempt)
    text = await begun(sqlite_store, "bytes")
    sql = "UPDATE orders SET prompt = CAST(x'ff' AS TEXT) WHERE attempt = ?"
    execute(sqlite_store, sql, text)
    state = await begun(sqlite_store, "unfinished")
    sql = "UPDATE orders SET state = 'completed' WHERE attempt = ?"
    execute(sqlite_store, sql, state)
    await begun(sqlite_store, "after")

    async def check(key):
        for call in (begin(sqlite_store, key), sqlite_store.find(SCOPE, key)):
            with pytest.raises(JournalError, match="is damaged"):
                await call

    keys = [f"k{number}" for number in range(len(BROKEN))]
    await check_all_at_once([*keys, "bytes", "unfinished"], check)
    found = [record.idempotency_key for record in await list_all(sqlite_store)]
    assert found == ["after", "before"]
    words = HistoryQuery(text="moose")
    assert len(await sqlite_store.history(SCOPE, words, before=None, limit=9)) == 2
    await sqlite_store.release("us")
    for key in ("before", "after"):
        assert (await sqlite_store.recover(SCOPE, "heir")).idempotency_key == key
    assert await sqlite_store.recover(SCOPE, "heir") is None
    told = [each for each in caplog.records if each.levelname == "ERROR"]
    assert len(told) == len(BROKEN) + 2
    assert await sqlite_store.forget(SCOPE, "k0")
    assert await begun(sqlite_store, "k0")


async def exercise(path):
    """Use a store in every way; return what it refused."""
    store, refused = SqliteStore(path), []
    try:
        await store.open()
    except JournalError as error:
        return [error]
    try:
        for call in (
            list_all(store),
            store.find(SCOPE, "k1"),
            begin(store, "new"),
            begin(store, "k2"),
            store.accepted(3, "t9"),
            store.recover(SCOPE, "heir"),
            store.forget(SCOPE, "k4"),
            store.prune(timedelta(0)),
        ):
            try:
                await call
            except JournalError as error:
                refused.append(error)
    finally:
        await store.aclose()
    return refused


async def test_a_file_damaged_at_any_byte_is_used_or_refused(tmp_path):
    """Never is there another error than ours, or an end that does not come."""
    whole = SqliteStore(tmp_path / "whole.sqlite")
    await whole.open()
    for number in range(12):
        attempt = await begun(whole, f"k{number}")
        await whole.accepted(attempt, f"t{number}")
        if number % 2:
            await whole.ended(attempt, OrderState.COMPLETED, result=PICTURE)
    await whole.release("us")
    await whole.aclose()
    content = whole.path.read_bytes()
    chance = random.Random(7)  # noqa: S311  no secret
    path = tmp_path / "damaged.sqlite"
    places = [*range(0, 100, 3), *(chance.randrange(len(content)) for _ in range(60))]
    refused = 0
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        refused += bool(await exercise(path))
    for length in (0, 1, 99, 100, 512, 4096, 5000, len(content) - 1):
        path.write_bytes(content[:length])
        refused += bool(await exercise(path))

    assert refused > 5


async def test_a_value_that_cannot_be_stored_fails_alone(sqlite_store):
    """Its neighbours in the same commit are stored."""
    orders = [an_order(f"k{number}") for number in range(20)]
    orders[7] = an_order("k7", prompt="\ud800")
    orders[9] = an_order("k9", nonce=2**70)
    ended = await asyncio.gather(
        *(sqlite_store.begin(order, ()) for order in orders), return_exceptions=True
    )

    lost = [n for n, each in enumerate(ended) if isinstance(each, Exception)]
    assert lost == [7, 9]
    assert all(isinstance(ended[n], JournalError) for n in lost)
    stored = await list_all(sqlite_store)
    assert len(stored) == 18
    assert all(record.owned for record in stored)


async def test_nobody_lives_on_for_days_because_the_clock_was_set_back(tmp_path):
    """What a dead session left under a clock far ahead is recovered all the same."""
    path = tmp_path / "orders.sqlite"
    store = SqliteStore(path)
    await store.open()
    await begun(store, "k")
    await store.aclose()
    execute(store, "UPDATE owners SET alive_until = alive_until + 864000")
    await store.open()
    left = await store.recover(SCOPE, "heir")
    await store.aclose()

    assert left.idempotency_key == "k"


def test_a_path_must_be_one():
    """What is no path is refused where it is given."""

    def check(path):
        with pytest.raises(ValueError, match="store"):
            SqliteStore(path)

    check_all([7, b"bytes", "nul\0", "", " "], check)
