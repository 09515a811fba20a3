"""
One SQLite connection on one thread, for all stores of a process on one file.

Rules of this file:
1. A process opens a file once, whatever names and sessions it has for it, and nothing
   else in the process opens or closes that file meanwhile: closing any descriptor of a
   file drops all of the process's POSIX locks on it (measured 2026-11-27).
2. A forked child never uses or closes what its parent opened.
3. A write is durable when its future is done: synchronous=FULL. What waits in the queue
   is committed together, so 50 writers cost about one fsync, not 50.
4. The thread outlives whatever a job raises. Then all that was to be committed with
   it is undone, and done again one by one.
5. SQLite gives the next turn to whoever tries next. So a process that had to wait for
   its turn gives way after it, and the longer one waits the more often it tries.
"""

from __future__ import annotations

import os
import queue
import random
import sqlite3
import stat
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from attrs import define, field

from apimodels_async.errors import JournalError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

GROUP_MAX: Final = 500
"""Jobs committed together at most; one commit takes a few milliseconds."""
WAL_SINCE: Final = (3, 51, 3)
"""Before, its WAL-reset bug can corrupt a file that has several connections."""
TURN_S: Final = 30.0
"""Seconds to wait for other processes at most."""
PAUSE_S: Final = 0.004
PAUSE_MIN_S: Final = 0.0005
"""Seconds between two tries for a turn, on average: at first, and for the oldest."""
AGE_S: Final = 0.01
"""Seconds of waiting that halve the pause between tries; twice as many third it."""
OPENING_S: Final = 60.0
UNDOABLE: Final = (
    *(sqlite3.Error, OSError, JournalError),
    *(ValueError, ArithmeticError, TypeError),
)
"""What one job may raise, with the others none the worse: a damaged row, a picture that
cannot be kept, a lone surrogate in a message, a number SQLite cannot hold."""


class Connection(sqlite3.Connection):
    """One that knows what its transaction has done already."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.renewed: set[str] = set()
        """Owners whose lease it renewed."""


@define(eq=False)
class Job:
    """What the thread is to do, and who waits for it."""

    work: Callable[[Connection], object]
    """May be called again, after what it did was undone."""
    done: asyncio.Future[Any]
    answer: object = None
    """What *work* returned, or a ``JournalError``."""

    def resolve(self) -> None:
        """Wake up whoever waits."""
        if self.done.done():
            return
        if isinstance(self.answer, JournalError):
            self.done.set_exception(self.answer)
            self.done.exception()  # retrieved: its waiter may be cancelled
        else:
            self.done.set_result(self.answer)


@define(eq=False)
class Writer:
    """The connection of one file, and its thread."""

    path: Path
    prepare: Callable[[sqlite3.Connection], None]
    _users: int = field(init=False, default=1)
    _jobs: queue.SimpleQueue[Job | None] = field(init=False, factory=queue.SimpleQueue)
    _opened: threading.Event = field(init=False, factory=threading.Event)
    _problem: Exception | None = field(init=False, default=None)
    _thread: threading.Thread = field(init=False)

    open_ones: ClassVar[dict[str, Writer]] = {}
    """Real path -> writer."""
    _guard: ClassVar[threading.Lock] = threading.Lock()
    _inherited: ClassVar[list[Writer]] = []
    """Of our parent, before a fork; kept, as collecting one would close its file."""

    @classmethod
    def acquire(
        cls, path: Path, prepare: Callable[[sqlite3.Connection], None]
    ) -> Writer:
        """
        Return the writer of *path*, opened if it is not. Blocking.

        Raises:
            JournalError: It cannot be used.
        """
        # The whole time: a file is not opened while it is being closed.
        with cls._guard:
            real = os.path.realpath(path)
            writer = cls.open_ones.get(real)
            if writer is not None:
                writer._users += 1  # noqa: SLF001
                return writer
            writer = cls(path, prepare)
            writer._start()
            cls.open_ones[real] = writer
            return writer

    def release(self) -> None:
        """Let one user go; with the last one, finish what is queued. Blocking."""
        with self._guard:
            if self in self._inherited:
                return
            self._users -= 1
            if self._users:
                return
            self._jobs.put(None)
            self._thread.join()
            for real, writer in list(self.open_ones.items()):
                if writer is self:
                    del self.open_ones[real]

    @classmethod
    def after_fork(cls) -> None:
        """Leave alone what the parent has open."""
        cls._inherited.extend(cls.open_ones.values())
        cls.open_ones = {}
        cls._guard = threading.Lock()

    def put(self, work: Callable[[Connection], T], done: asyncio.Future[T]) -> None:
        """Let the thread do *work*, and tell *done*."""
        self._jobs.put(Job(work, done))

    def _start(self) -> None:
        self._thread = threading.Thread(
            target=self._run, name="apimodels-store", daemon=True
        )
        self._thread.start()
        self._opened.wait(OPENING_S)
        if self._problem is not None:
            self._thread.join()
            raise self._problem

    def _run(self) -> None:
        connection: Connection | None = None
        try:
            connection = connect(self.path)
            self.prepare(connection)
        except BaseException as error:  # noqa: BLE001  who waits for it is told
            self._problem = journal_error(self.path, error)
            if connection is not None:
                connection.close()
            return
        finally:
            self._opened.set()
        while jobs := self._next_jobs():
            if commit(connection, jobs, self.path):
                time.sleep(PAUSE_S)
        connection.close()

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
        return jobs


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=Writer.after_fork)


def commit(connection: Connection, jobs: list[Job], path: Path) -> bool:
    """
    Do *jobs* in one transaction, and tell each how it went.

    Returns:
        Whether other processes had to be waited for: they may be waiting now.
    """
    waited = working = False
    connection.renewed.clear()
    try:
        _, waited = _wait(connection, "BEGIN IMMEDIATE")
        working = True
        answers = [job.work(connection) for job in jobs]
        working = False
        in_turn(connection, "COMMIT")
    except BaseException as error:  # noqa: BLE001  whatever it is, all are told
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        if working and len(jobs) > 1 and isinstance(error, UNDOABLE):
            return max([commit(connection, [job], path) for job in jobs])
        for job in jobs:  # one each: a traceback grows where it is raised
            job.answer = journal_error(path, error)
    else:
        for job, answer in zip(jobs, answers, strict=True):
            job.answer = answer
    tell(jobs)
    return waited


def tell(jobs: list[Job]) -> None:
    """Wake up whoever waits for *jobs*, where the loop still turns."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Job]] = {}
    for job in jobs:
        by_loop.setdefault(job.done.get_loop(), []).append(job)

    def resolve(some: list[Job]) -> None:
        for job in some:
            job.resolve()

    for loop, some in by_loop.items():
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(resolve, some)


def in_turn(connection: sqlite3.Connection, statement: str) -> sqlite3.Cursor:
    """
    Execute *statement*, waiting for other processes.

    SQLite's own waiting starves some of eight processes for seconds (measured
    2026-11-27): its pauses grow, and the newest comer has the shortest.
    """
    cursor, _ = _wait(connection, statement)
    return cursor


def _wait(
    connection: sqlite3.Connection, statement: str
) -> tuple[sqlite3.Cursor, bool]:
    """Return what *statement* gives, and whether others had to be waited for."""
    began, busy = time.monotonic(), False
    while True:
        try:
            return connection.execute(statement), busy
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
        JournalError: It has several names, each of which would have locks of its own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
    descriptor = os.open(path, flags, 0o600)
    found = os.fstat(descriptor)
    os.close(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        msg = f"the store {path} cannot be used: it is a name of another file"
        raise JournalError(msg)
    return sqlite3.connect(
        os.path.realpath(path), isolation_level=None, timeout=0, factory=Connection
    )


def set_mode(connection: sqlite3.Connection, *, wal: bool | None = None) -> None:
    """Make transactions durable: by a write-ahead log where that is safe."""
    if wal is None:
        wal = sqlite3.sqlite_version_info >= WAL_SINCE
    in_turn(connection, f"PRAGMA journal_mode = {'WAL' if wal else 'PERSIST'}")
    connection.execute("PRAGMA synchronous = FULL")


def journal_error(path: Path, error: BaseException) -> JournalError:
    """Return *error* in words."""
    if isinstance(error, JournalError):
        return error.fresh()
    reason = str(error) or type(error).__name__
    if isinstance(error, OSError):
        reason = error.strerror or reason
    return JournalError(f"the store {path} cannot be used: {reason}")
