"""
The batch journal: one SQLite file, readable with plain SQL, safe against kill -9.

Rules of this file:
1. One connection on one thread, always (SQLite up to 3.51.2 can corrupt a WAL that
   several connections reset). Everything else talks to it through a queue.
2. A write is durable when its await returns: WAL with synchronous=FULL. What waits in
   the queue is committed together, so 50 writers cost about one fsync, not 50.
3. A batch whose journal fails sends nothing more: no record, no order.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import queue
import sqlite3
import stat
import threading
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Final, TypeVar

from attrs import define, field

from apimodels_async._core.money.records import read_amount, read_record
from apimodels_async._core.money.resume import RecordState
from apimodels_async.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from apimodels_async._core.money.resume import Record

T = TypeVar("T")

SCHEMA_VERSION: Final = 2
OLDER_VERSION: Final = 1
"""Before callbacks; brought up to date when opened."""
GROUP_MAX: Final = 500
"""Writes committed together at most; one commit takes about a millisecond."""
UNWRITABLE: Final = (sqlite3.Error, OSError, ValueError, ArithmeticError)
"""For a full disk, a lone surrogate in a message, a number SQLite cannot hold."""
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS items (
    key TEXT PRIMARY KEY,       -- of the request and its place among equal ones
    number INTEGER NOT NULL,    -- position in the source
    model TEXT NOT NULL,
    request TEXT NOT NULL,      -- JSON, as sent
    price TEXT NOT NULL,        -- US dollars, as reserved before it was sent
    state TEXT NOT NULL,        -- intended accepted completed failed refused unknown
    task_id TEXT,
    cost TEXT,                  -- US dollars, as the API stated it
    result TEXT,                -- JSON
    file TEXT,
    error TEXT,
    intended_at TEXT NOT NULL,  -- UTC
    ended_at TEXT,
    nonce TEXT                  -- of its callback address
)
"""
BEGIN_ITEM: Final = """
INSERT INTO items (key, number, model, request, price, nonce, state, intended_at)
VALUES (?, ?, ?, ?, ?, ?, 'intended', strftime('%Y-%m-%dT%H:%M:%fZ'))
ON CONFLICT (key) DO UPDATE SET
    number = excluded.number, price = excluded.price, state = 'intended',
    nonce = excluded.nonce,
    task_id = NULL, cost = NULL, result = NULL, file = NULL, error = NULL,
    ended_at = NULL, intended_at = excluded.intended_at
"""
END_ITEM: Final = """
UPDATE items SET state = ?, task_id = coalesce(?, task_id), cost = ?, result = ?,
    error = ?, ended_at = strftime('%Y-%m-%dT%H:%M:%fZ') WHERE key = ?
"""


def _real_path(path: Path) -> Path:
    return path.resolve()


@define(eq=False)
class _Job:
    work: Callable[[sqlite3.Connection], object]
    done: asyncio.Future[object]


@define(eq=False)
class Journal:
    """The journal of one batch."""

    _path: Path = field(converter=_real_path)
    """The file itself: under another name it would have another lock."""
    _jobs: queue.SimpleQueue[_Job | None] = field(init=False, factory=queue.SimpleQueue)
    _loop: asyncio.AbstractEventLoop = field(init=False)
    _thread: threading.Thread = field(init=False)
    _lock: int = field(init=False)
    _closed: bool = field(init=False, default=False)

    async def open(self) -> None:
        """
        Lock and open the file, made with mode 600 if it is new.

        Raises:
            JournalError: Another process has it, it is damaged, or of another version.
        """
        self._loop = asyncio.get_running_loop()
        opened: asyncio.Future[object] = self._loop.create_future()
        self._start(opened)
        try:
            await asyncio.shield(opened)
        except JournalError:
            await self._stopped()
            raise
        except BaseException:  # cancelled: the thread ends as soon as it has opened
            self._put(None)
            raise

    # The next three are all that knows of the thread.

    def _start(self, opened: asyncio.Future[object]) -> None:
        self._lock = _take_lock(self._path)
        self._thread = threading.Thread(
            target=self._run, args=(opened,), name="apimodels-journal", daemon=True
        )
        self._thread.start()

    def _put(self, job: _Job | None) -> None:
        self._jobs.put(job)

    async def _stopped(self) -> None:
        await asyncio.to_thread(self._thread.join)

    async def find(self, key: str) -> Record | None:
        """
        Return the record of *key*.

        Raises:
            JournalError: It is damaged.
        """
        columns = "state, task_id, result, file, error, price, nonce"
        # unixepoch() is of SQLite 3.38.
        age = "(julianday('now') - julianday(intended_at)) * 86400.0"
        query = f"SELECT {columns}, {age} FROM items WHERE key = ?"  # noqa: S608  a constant
        row = await self._do(lambda db: db.execute(query, (key,)).fetchone())
        # Read here, not in the thread: what is wrong with one row undoes no write.
        try:
            return None if row is None else read_record(key, row)
        except ValueError as error:
            raise _journal_error(self._path, error) from None

    async def sums(self) -> tuple[Decimal, Decimal]:
        """
        Return what earlier runs spent, and what they reserved for unknown ends.

        Raises:
            JournalError: An amount is damaged.
        """

        def work(connection: sqlite3.Connection) -> tuple[Decimal, Decimal]:
            spent = reserved = Decimal(0)
            for state, price, cost in connection.execute(
                "SELECT state, price, cost FROM items"
            ):
                if state == RecordState.COMPLETED:
                    spent += read_amount(price if cost is None else cost)
                elif state not in {RecordState.FAILED, RecordState.REFUSED}:
                    reserved += read_amount(price)
            return spent, reserved

        return await self._do(work)

    async def begin(
        self,
        key: str,
        number: int,
        model: str,
        request: str,
        price: Decimal = Decimal(0),
        nonce: str | None = None,
    ) -> None:
        """Record the intent to send *request*; durable on return."""
        row = (key, number, model, request, str(price), nonce)
        await self._write(BEGIN_ITEM, row)

    async def accepted(self, key: str, task_id: str) -> None:
        """Record that the API named a task for it."""
        statement = "UPDATE items SET state = 'accepted', task_id = ? WHERE key = ?"
        await self._write(statement, (task_id, key))

    async def ended(
        self,
        key: str,
        state: RecordState,
        *,
        task_id: str | None = None,
        cost: str | None = None,
        result: str | None = None,
        error: str | None = None,
    ) -> None:
        """Record how it ended."""
        await self._write(END_ITEM, (state.value, task_id, cost, result, error, key))

    async def saved(self, key: str, file: str) -> None:
        """Record where its picture is."""
        await self._write("UPDATE items SET file = ? WHERE key = ?", (file, key))

    async def _write(self, statement: str, values: tuple[object, ...]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute(statement, values)

        await self._do(work)

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:  # an order can outlive its batch; nobody would answer it
            msg = f"the journal {self._path} is closed"
            raise JournalError(msg)
        done: asyncio.Future[T] = self._loop.create_future()
        self._put(_Job(work, done))  # type: ignore[arg-type]  # T is object there
        # Shielded: a cancelled waiter must not undo what the thread is committing.
        return await asyncio.shield(done)

    async def aclose(self) -> None:
        """Finish what is queued, close the file, give up the lock."""
        self._closed = True
        self._put(None)
        await self._stopped()

    def _run(self, opened: asyncio.Future[object]) -> None:
        try:
            self._serve(opened)
        finally:
            os.close(self._lock)  # here: whoever waits for this may be cancelled

    def _serve(self, opened: asyncio.Future[object]) -> None:
        connection: sqlite3.Connection | None = None
        problem: JournalError | None = None
        try:
            connection = _connect(self._path)
        except JournalError as error:
            problem = error
        except UNWRITABLE as error:  # a schema that is no UTF-8 is a ValueError
            problem = _journal_error(self._path, error)
        self._tell([opened], [None], problem)
        if connection is None:
            return
        while jobs := self._next_jobs():
            self._commit(connection, jobs)
        connection.close()

    def _next_jobs(self) -> list[_Job]:
        """Return everything that waits, at least one job; nothing at the end."""
        jobs: list[_Job] = []
        while len(jobs) < GROUP_MAX and (not jobs or not self._jobs.empty()):
            job = self._jobs.get()
            if job is None:
                self._jobs.put(None)  # the next round ends with it, if this has work
                break
            jobs.append(job)
        return jobs

    def _commit(self, connection: sqlite3.Connection, jobs: list[_Job]) -> None:
        problem: JournalError | None = None
        answers: list[object] = [None] * len(jobs)
        try:
            connection.execute("BEGIN IMMEDIATE")
            answers = [job.work(connection) for job in jobs]
            connection.execute("COMMIT")
        except UNWRITABLE as error:
            problem = _journal_error(self._path, error)
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        self._tell([job.done for job in jobs], answers, problem)

    def _tell(
        self,
        waiters: list[asyncio.Future[object]],
        answers: list[object],
        problem: JournalError | None,
    ) -> None:
        def resolve() -> None:
            for waiter, answer in zip(waiters, answers, strict=True):
                if problem is None:
                    waiter.set_result(answer)
                else:
                    waiter.set_exception(problem.fresh())
                    waiter.exception()  # retrieved: its waiter may be cancelled

        self._loop.call_soon_threadsafe(resolve)


def _take_lock(path: Path) -> int:
    lock = path.with_name(path.name + ".lock")
    reason: str | None = None
    descriptor = -1
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _open_lock(lock)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.truncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
    except BlockingIOError:
        holder = os.pread(descriptor, 20, 0).decode(errors="replace") or "unknown"
        reason = f"another process (pid {holder}) is working with it"
    except OSError as error:
        reason = error.strerror
    else:
        return descriptor
    if descriptor >= 0:
        os.close(descriptor)
    msg = f"the journal {path} cannot be used: {reason}"
    raise JournalError(msg)


def _open_lock(lock: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(lock, flags, 0o600)
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
        return descriptor
    os.close(descriptor)
    # Its holder empties it.
    raise OSError(errno.EPERM, f"{lock} is a name of another file")


def _connect(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version not in {0, OLDER_VERSION, SCHEMA_VERSION}:
        msg = (
            f"the journal {path} has version {version}, this library writes "
            f"{SCHEMA_VERSION}: use the release that made it, or a new file"
        )
        raise JournalError(msg)
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and not version:
        msg = f"{path} is the database of another program; nothing was written"
        raise JournalError(msg)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        msg = f"the journal {path} is damaged ({found}); nothing was sent"
        raise JournalError(msg)
    # Together: a crash between the two would make it look like a stranger's.
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(SCHEMA)
    if version == OLDER_VERSION:
        connection.execute("ALTER TABLE items ADD COLUMN nonce TEXT")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _journal_error(path: Path, error: Exception) -> JournalError:
    return JournalError(f"the journal {path} cannot be used: {error}")
