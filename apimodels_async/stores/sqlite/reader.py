"""
Reads a SQLite store without writing to it: a file or folder may be write-protected.

Rules of this file:
1. Each answer has a connection of its own, read-only, closed with it. While it is open
   the process neither forks nor opens or closes a store: SQLite keeps in memory which
   locks the process has, and a child would take its parent's for its own.
2. A file in WAL mode without a log is read as one that does not change: SQLite would
   leave files of its own beside it, or fail where it cannot. Others begin with a log,
   and the next answer sees it.
3. What has to be mended first, after a kill, is opened as for writing.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from attrs import define

from apimodels_async.stores.records import read_text
from apimodels_async.stores.sqlite.connection import TURN_S, Connection, file_at
from apimodels_async.stores.sqlite.jobs import Job, fail, tell
from apimodels_async.stores.sqlite.schema import OLDER_VERSIONS, VERSION, prepare
from apimodels_async.stores.sqlite.writer import Writer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

T = TypeVar("T")

WAL_MARK: Final = slice(18, 20)
"""Bytes of a file's head that are 2 in WAL mode; SQLite's file format, 1.3."""


@define(eq=False)
class Reader:
    """What reads one file; to its users as a ``Writer``."""

    path: Path

    @classmethod
    def acquire(
        cls, path: Path, prepare: Callable[[sqlite3.Connection], None]
    ) -> Reader | Writer:
        """
        Return what reads *path*: a writer where it must be mended. Blocking.

        Raises:
            JournalError: It cannot be used.
        """
        reader = cls(path)
        try:
            if reader.read(_is_whole):
                return reader
        except (sqlite3.Error, OSError):
            pass  # who opens it for writing mends it, or says what is wrong
        return Writer.acquire(path, prepare)

    def release(self) -> None:
        """Do nothing: nothing is open."""

    def put(self, work: Callable[[Connection], T], done: asyncio.Future[T]) -> None:
        """Let a thread do *work*, and tell *done*."""
        done.get_loop().run_in_executor(None, self._answer, Job(work, done))

    def _answer(self, job: Job) -> None:
        try:
            job.answer = self.read(job.work)
        except BaseException as error:  # noqa: BLE001  who waits for it is told
            fail([job], self.path, error)
        else:
            tell([job])

    def read(self, work: Callable[[Connection], T]) -> T:
        """Return what *work* reads. Blocking."""
        with Writer._guard, closing(self._connect()) as connection:  # noqa: SLF001
            connection.text_factory = read_text
            return work(connection)

    def _connect(self) -> Connection:
        real = os.path.realpath(self.path)
        found = file_at(real)
        if found is not None and found.st_nlink > 1:
            # Under another name it may have another journal.
            msg = "it is a name of another file"
            raise sqlite3.OperationalError(msg)
        still = "&immutable=1" if self._is_still(real) else ""
        with ExitStack() as unfinished:
            there = _open(f"{Path(real).as_uri()}?mode=ro{still}")
            unfinished.callback(there.close)
            (version,) = there.execute("PRAGMA user_version").fetchone()
            if version not in OLDER_VERSIONS:
                unfinished.pop_all()
                return there
            copy = _open(":memory:")  # of a journal that an older release may be at
            unfinished.callback(copy.close)
            there.backup(copy)
            prepare(copy, self.path)
            copy.execute("PRAGMA query_only = ON")  # a claim in it would be nobody's
            there.close()
            unfinished.pop_all()
            return copy

    def _is_still(self, real: str) -> bool:
        # Closing the file drops the locks of whoever has it open in this process: then
        # it is not looked at, and there is a log.
        if Writer._find(real) is not None:  # noqa: SLF001
            return False
        with Path(real).open("rb") as file:
            mark = file.read(WAL_MARK.stop)[WAL_MARK]
        return mark == b"\2\2" and file_at(f"{real}-wal") is None


def _open(uri: str) -> Connection:
    return sqlite3.connect(
        uri, uri=True, isolation_level=None, timeout=TURN_S, factory=Connection
    )


def _is_whole(connection: Connection) -> bool:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    return bool(version == VERSION and found == "ok")
