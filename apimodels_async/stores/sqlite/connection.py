"""
Opening a SQLite file, and waiting for other processes that have it open.
"""

from __future__ import annotations

import os
import random
import sqlite3
import stat
import time
from pathlib import Path
from typing import Any, Final

from apimodels_async.errors import JournalError
from apimodels_async.stores.store import StoreSetupError

WAL_SINCE: Final = (3, 51, 3)
"""Before, its WAL-reset bug can corrupt a file that has several connections."""
TURN_S: Final = 30.0
"""Seconds to wait for other processes at most."""
PAUSE_S: Final = 0.004
PAUSE_MIN_S: Final = 0.0005
"""Seconds between two tries for a turn, on average: at first, and for the oldest."""
CHECKPOINT_PAGES: Final = 4_000
"""Of a write-ahead log: 16 MB. Each time, the disk is flushed twice."""
AGE_S: Final = 0.01
"""Seconds of waiting that halve the pause between tries; twice as many third it."""
FOLDER: Final = "it is a folder; name a file in it, such as"


class Connection(sqlite3.Connection):
    """One that knows what its transaction has done already."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.renewed: set[str] = set()
        """Owners whose lease it renewed."""


def file_at(path: str | Path) -> os.stat_result | None:
    """Return what has the name *path*; None: nothing that can be looked at."""
    try:
        return os.stat(path)  # noqa: PTH116  for each commit: a Path costs 20 us
    except OSError:
        return None


def check_there(path: Path) -> None:
    """
    Refuse a file that opening would make, or make a store.

    Raises:
        StoreSetupError: It is missing, or empty.
    """
    found = file_at(path)
    if found is None:
        msg = f"there is no store at {path}"
        raise StoreSetupError(msg)
    if stat.S_ISREG(found.st_mode) and not found.st_size:
        msg = f"{path} is no store: it is empty"
        raise StoreSetupError(msg)


def in_turn(connection: sqlite3.Connection, statement: str) -> list[Any]:
    """
    Execute *statement* and return its rows, waiting for other processes.

    SQLite's own waiting starves some of eight processes for seconds (measured
    2026-11-27): its pauses grow, and the newest comer has the shortest.
    """
    rows, _ = wait_for_turn(connection, statement)
    return rows


def wait_for_turn(
    connection: sqlite3.Connection, statement: str
) -> tuple[list[Any], bool]:
    """Return what *statement* gives, and whether others had to be waited for."""
    began, busy = time.monotonic(), False
    while True:
        try:
            return connection.execute(statement).fetchall(), busy
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            waited = time.monotonic() - began
            if not busy or waited > TURN_S:
                raise
        pause = max(PAUSE_S / (1 + waited / AGE_S), PAUSE_MIN_S)
        time.sleep(pause * 2 * random.random())  # noqa: S311  jitter


def connect(path: Path) -> Connection:
    """
    Open the file at *path*, made with mode 600 if it is new.

    Raises:
        StoreSetupError: It is no file, or has several names, each of which would have
            locks of its own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    real = os.path.realpath(path)
    if file_at(real) is None:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        os.close(os.open(real, flags, 0o600))
    # By its name, not opened: closing it would drop the locks of a store that is open
    # under another one.
    found = Path(real).stat()
    if stat.S_ISDIR(found.st_mode):
        msg = f"the store {path} cannot be used: {FOLDER} {path / 'orders.sqlite'}"
        raise StoreSetupError(msg)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        what = "a name of another file" if stat.S_ISREG(found.st_mode) else "no file"
        msg = f"the store {path} cannot be used: it is {what}"
        raise StoreSetupError(msg)
    # Its thread's alone but for the moment before a fork.
    return sqlite3.connect(
        real,
        isolation_level=None,
        timeout=0,
        check_same_thread=False,
        factory=Connection,
    )


def set_mode(connection: sqlite3.Connection, *, wal: bool | None = None) -> None:
    """Make transactions durable: by a write-ahead log where that is safe."""
    if wal is None:
        wal = sqlite3.sqlite_version_info >= WAL_SINCE
    in_turn(connection, f"PRAGMA journal_mode = {'WAL' if wal else 'PERSIST'}")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")


def journal_error(path: Path, error: BaseException) -> JournalError:
    """Return *error* in words."""
    if isinstance(error, JournalError):
        return error.fresh()
    reason = str(error) or type(error).__name__
    if isinstance(error, OSError):
        reason = error.strerror or reason
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
        return StoreSetupError(f"the store {path} cannot be used: {reason}")
    return JournalError(f"the store {path} cannot be used: {reason}")
