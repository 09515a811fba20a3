"""
One SQLite connection on one thread, for all stores of a process on one file.

Rules of this file:
1. A process opens a file once, whatever names and sessions it has for it, and nothing
   else in the process opens or closes that file meanwhile: closing any descriptor of a
   file drops all of the process's POSIX locks on it (measured 2026-11-27).
2. A fork inherits no connection. SQLite keeps in memory which locks the process has,
   and a child would take its parent's for its own: they are closed before a fork, and
   the parent opens its own again.
3. A write is durable when its future is done: synchronous=FULL. What waits in the queue
   is committed together, so 50 writers cost about one fsync, not 50.
4. The thread outlives whatever a job raises. Then all that was to be committed with
   it is undone, and done again one by one. Whoever comes after the thread's end is
   told, and waits for nothing.
5. SQLite gives the next turn to whoever tries next. So a process that had to wait for
   its turn gives way after it, and the longer one waits the more often it tries.
"""

from __future__ import annotations

import os
import queue
import sqlite3
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

from attrs import define, field

from apimodels_async.errors import JournalError
from apimodels_async.stores.sqlite.connection import (
    PAUSE_S,
    connect,
    file_at,
    in_turn,
    journal_error,
    wait_for_turn,
)
from apimodels_async.stores.sqlite.jobs import Job, do_all, fail, tell

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from pathlib import Path

    from apimodels_async.stores.sqlite.connection import Connection

T = TypeVar("T")

GROUP_MAX: Final = 500
"""Jobs committed together at most; one commit takes a few milliseconds."""
CROWD: Final = 4
GATHER_S: Final = 0.003
"""
How long a group waits for more where the last one was a crowd. Each statement of a
commit waits for the GIL and interrupts the loop: 50 orders at once are a tenth to a
fifth faster for it (measured 2026-11-28). One that no crowd came before never waits.
"""
OPENING_S: Final = 60.0
"""Seconds to wait for a file to open at most."""


@define(eq=False)
class Writer:
    """The connection of one file, and its thread."""

    path: Path
    prepare: Callable[[sqlite3.Connection], None]
    lock: int | None = None
    """A descriptor to close with the file, which has one user then."""
    _users: int = field(init=False, default=1)
    _jobs: queue.SimpleQueue[Job | None] = field(init=False, factory=queue.SimpleQueue)
    _opened: threading.Event = field(init=False, factory=threading.Event)
    _problem: Exception | None = field(init=False, default=None)
    _thread: threading.Thread = field(init=False)
    _connection: Connection | None = field(init=False, default=None)
    """None: not opened yet, or closed for a fork."""
    _file: os.stat_result | None = field(init=False, default=None)
    """Which file it is, by whatever name."""
    _turn: threading.Lock = field(init=False, factory=threading.Lock)
    """Held while the connection is in use."""
    _gate: threading.Lock = field(init=False, factory=threading.Lock)
    _ended: bool = field(init=False, default=False)
    """No more jobs are taken. Written with the gate held."""
    _crowded: bool = field(init=False, default=False)
    """Whether many jobs were committed together the last time."""

    open_ones: ClassVar[dict[str, Writer]] = {}
    """Real path -> writer."""
    _guard: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def acquire(
        cls,
        path: Path,
        prepare: Callable[[sqlite3.Connection], None],
        lock: int | None = None,
        *,
        opening_s: float = OPENING_S,
    ) -> Writer:
        """
        Return the writer of *path*, opened if it is not. Blocking.

        Args:
            lock: What keeps the others away; the writer is nobody else's, and closes it
                in the end.

        Raises:
            JournalError: It cannot be used; *lock* stays open.
        """
        # The whole time: a file is not opened while it is being closed.
        with cls._guard:
            real = os.path.realpath(path)
            writer = cls._find(real)
            if writer is not None:
                if lock is not None or writer.lock is not None:
                    msg = f"the store {path} cannot be used: it is open in this process"
                    raise JournalError(msg)
                writer._users += 1  # noqa: SLF001
                return writer
            writer = cls(path, prepare, lock)
            writer._start(opening_s)
            cls.open_ones[real] = writer
            return writer

    @classmethod
    def is_open(cls, path: Path) -> bool:
        """Return whether this process has *path* open. Blocks while one is opened."""
        with cls._guard:
            return cls._find(os.path.realpath(path)) is not None

    @classmethod
    def _find(cls, real: str) -> Writer | None:
        found = cls.open_ones.get(real)
        if found is None:  # a mount can give it a second path
            file = file_at(real)
            if file is not None and file.st_nlink == 1:
                ones = cls.open_ones.values()
                found = next((each for each in ones if each.is_of(file)), None)
        return None if found is None or found._ended else found  # noqa: SLF001

    def is_of(self, file: os.stat_result | None) -> bool:
        """Return whether *file* is the one that was opened."""
        opened = self._file
        return bool(opened and file and os.path.samestat(opened, file))

    def release(self) -> None:
        """Let one user go; with the last one, finish what is queued. Blocking."""
        with self._guard:
            if self not in self.open_ones.values():  # its parent's, or replaced
                return
            self._users -= 1
            if self._users:
                return
            self._end(None)
            self._thread.join()
            if self.lock is not None:
                os.close(self.lock)
            for real, writer in list(self.open_ones.items()):
                if writer is self:
                    del self.open_ones[real]

    def put(self, work: Callable[[Connection], T], done: asyncio.Future[T]) -> None:
        """
        Let the thread do *work*, and tell *done*.

        Raises:
            JournalError: It is closed.
        """
        with self._gate:
            if not self._ended:
                self._jobs.put(Job(work, done))
                return
        msg = f"the store {self.path} is closed"
        raise JournalError(msg)

    def _end(self, *last: None) -> None:
        with self._gate:
            self._ended = True
            for each in last:
                self._jobs.put(each)

    def _start(self, opening_s: float) -> None:
        self._thread = threading.Thread(
            target=self._run, name="apimodels-store", daemon=True
        )
        self._thread.start()
        if not self._opened.wait(opening_s):
            self._end(None)
            msg = f"the store {self.path} cannot be used: it does not open"
            raise JournalError(msg)
        if self._problem is not None:
            self._thread.join()
            raise self._problem

    def _run(self) -> None:
        try:
            with self._turn:
                self._open()
                self._file = file_at(self.path)
        except BaseException as error:  # noqa: BLE001  who waits for it is told
            self._problem = journal_error(self.path, error)
            return
        finally:
            self._opened.set()
        try:
            while jobs := self._next_jobs():
                with self._turn:
                    waited = self._commit(jobs)
                if waited:
                    time.sleep(PAUSE_S)
        finally:
            self._end()
            with self._turn:
                self._shut()
            self._refuse_the_rest()

    def _open(self) -> Connection:
        self._connection = connection = connect(self.path)
        try:
            self.prepare(connection)
        except BaseException:
            self._shut()
            raise
        return connection

    def _shut(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _refuse_the_rest(self) -> None:
        closed = JournalError(f"the store {self.path} is closed")
        while not self._jobs.empty() and (job := self._jobs.get()):  # None is the last
            fail([job], self.path, closed)

    def _next_jobs(self) -> list[Job]:
        """Return everything that waits, at least one job; nothing at the end."""
        jobs: list[Job] = []
        while len(jobs) < GROUP_MAX and (not jobs or not self._jobs.empty()):
            job = self._jobs.get()
            if job is None:
                if jobs:
                    self._jobs.put(None)  # the next round ends with it
                break
            jobs.append(job)
            if self._crowded:
                time.sleep(GATHER_S)
                self._crowded = False
        self._crowded = len(jobs) >= CROWD
        return jobs

    def _commit(self, jobs: list[Job]) -> bool:
        """
        Do *jobs* in one transaction, and tell each how it went.

        Returns:
            Whether other processes had to be waited for: they may be waiting now.
        """
        waited = working = False
        try:
            connection = self._usable()
            connection.renewed.clear()
            _, waited = wait_for_turn(connection, "BEGIN IMMEDIATE")
            working = True
            do_all(connection, jobs)
            working = False
            in_turn(connection, "COMMIT")
        except BaseException as error:  # noqa: BLE001  whatever it is, all are told
            if self._connection is not None:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
            # One job's trouble is no other's: a damaged row, a picture that cannot be
            # kept, a number SQLite cannot hold, an argument of another type.
            if working and len(jobs) > 1 and isinstance(error, Exception):
                return max([self._commit([job]) for job in jobs])
            fail(jobs, self.path, error)
            return waited
        tell(jobs)
        return waited

    def _usable(self) -> Connection:
        # SQLite goes on writing to a file that has no name any more, and others would
        # make a new one: nobody would find there what is written here.
        if not self.is_of(file_at(self.path)):
            msg = f"the store {self.path} was deleted or replaced while it was open"
            raise JournalError(msg)
        return self._connection or self._open()

    # --- forks ------------------------------------------------------------------------

    @classmethod
    def before_fork(cls) -> None:
        """Close every connection, between two transactions."""
        cls._guard.acquire()
        for writer in cls.open_ones.values():
            writer._turn.acquire()  # noqa: SLF001
            writer._shut()  # noqa: SLF001

    @classmethod
    def after_in_parent(cls) -> None:
        """Go on."""
        for writer in cls.open_ones.values():
            writer._turn.release()  # noqa: SLF001
        cls._guard.release()

    @classmethod
    def after_in_child(cls) -> None:  # pragma: no cover  a child ends without counting
        """Know none of the parent's: their threads are not here."""
        for writer in cls.open_ones.values():
            writer._gate = threading.Lock()  # noqa: SLF001
            writer._ended = True  # noqa: SLF001
            if writer.lock is not None:  # it is the parent's, and would outlive it
                os.close(writer.lock)
        cls.open_ones = {}
        cls._guard = threading.Lock()


if hasattr(os, "register_at_fork"):  # pragma: no branch  Windows has no forks
    os.register_at_fork(
        before=Writer.before_fork,
        after_in_parent=Writer.after_in_parent,
        after_in_child=Writer.after_in_child,
    )
