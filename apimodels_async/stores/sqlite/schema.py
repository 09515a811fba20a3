"""
The tables of a SQLite store, and whether a file has them.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from apimodels_async.errors import JournalError
from apimodels_async.stores.records import read_text
from apimodels_async.stores.sqlite.connection import in_turn, set_mode
from apimodels_async.stores.sqlite.older import bring_over
from apimodels_async.stores.sqlite.statements import NOW
from apimodels_async.stores.store import StoreSetupError

if TYPE_CHECKING:
    from pathlib import Path

VERSION: Final = 3
OLDER_VERSIONS: Final = (1, 2)
"""Journals of batches."""
SCHEMA: Final = (
    """
CREATE TABLE orders (
    attempt INTEGER PRIMARY KEY AUTOINCREMENT,
    scope TEXT NOT NULL,            -- address of the API, name of the account
    idempotency_key TEXT NOT NULL,
    current INTEGER NOT NULL,       -- 1: the one that the key names
    digest TEXT NOT NULL,           -- of what was ordered
    model TEXT NOT NULL,
    prompt TEXT,
    request TEXT NOT NULL,          -- JSON, as sent
    price TEXT,                     -- US dollars, by the published hint
    state TEXT NOT NULL,            -- intended accepted completed failed refused
                                    -- unknown
    task_id TEXT,
    cost TEXT,                      -- US dollars, as the API stated it
    result TEXT,                    -- JSON
    error TEXT,
    files TEXT,                     -- JSON
    number INTEGER,                 -- position in its batch
    replaces INTEGER,               -- an attempt of unknown fate before it
    owner TEXT NOT NULL,            -- the session that answers for it
    nonce TEXT,                     -- of its callback address
    handed_over INTEGER NOT NULL,   -- 1: its end reached a caller
    intended_at REAL NOT NULL,      -- seconds since 1970, UTC
    ended_at REAL
)""",
    """
CREATE UNIQUE INDEX current_orders ON orders (scope, idempotency_key) WHERE current""",
    """
CREATE INDEX tasks ON orders (task_id) WHERE task_id IS NOT NULL""",
    """
CREATE INDEX open_orders ON orders (scope, attempt)
    WHERE NOT handed_over AND state NOT IN ('failed', 'refused')""",
    """
CREATE TABLE uploads (
    scope TEXT NOT NULL,
    address TEXT NOT NULL,
    digest TEXT NOT NULL,           -- of what the file holds
    uploaded_at REAL NOT NULL,
    PRIMARY KEY (scope, address)
)""",
    """
CREATE TABLE owners (owner TEXT PRIMARY KEY, alive_until REAL NOT NULL)""",
)


def prepare(
    connection: sqlite3.Connection, path: Path, *, wal: bool | None = None
) -> None:
    """
    Make a connection to the file at *path* ready, its tables made if it is new.

    A journal of an earlier release is brought over.

    Args:
        wal: Keep a write-ahead log; None: where several connections may.

    Raises:
        StoreSetupError: It is another program's, or of another version.
        JournalError: It is damaged.
    """
    connection.text_factory = read_text
    # While another process commits, and after a kill, even reading waits for a turn.
    # The tables first: one that makes the file now makes both together.
    sql = "SELECT count(*) FROM sqlite_master"
    ((tables,),) = in_turn(connection, sql)
    ((version,),) = in_turn(connection, "PRAGMA user_version")
    if version not in {0, *OLDER_VERSIONS, VERSION} or (tables and not version):
        what = "the database of another program"
        if version:
            what = f"of version {version}, and this release writes {VERSION}"
        msg = f"{path} is {what}; nothing was written"
        raise StoreSetupError(msg)
    set_mode(connection, wal=wal)
    ((found,),) = in_turn(connection, "PRAGMA quick_check(1)")
    if found != "ok":
        msg = f"the store {path} is damaged ({found}); nothing was sent"
        raise JournalError(msg)
    in_turn(connection, "BEGIN IMMEDIATE")
    try:
        # Another process may have been here since.
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != VERSION:
            for statement in SCHEMA:
                connection.execute(statement)
            if version:
                _bring_over(connection, version, path)
            connection.execute(f"PRAGMA user_version = {VERSION}")
        # Also one that seems to live on for days: the clock was set back since.
        connection.execute(f"DELETE FROM owners WHERE abs(alive_until - {NOW}) > 86400")
    except BaseException:
        # SQLite itself takes it back on a full disk: its error is the one to tell.
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    in_turn(connection, "COMMIT")


def _bring_over(connection: sqlite3.Connection, version: int, path: Path) -> None:
    try:
        bring_over(connection, version)
    except ValueError as error:
        msg = f"the journal {path} is damaged: {error}; nothing was sent"
        raise JournalError(msg) from None
