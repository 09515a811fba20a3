"""
The journal of one batch: a store in a file of its own, used by one process at a time.
"""

from __future__ import annotations

import errno
import math
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from apimodels_async._core.money.orders import BATCH_SCOPE
from apimodels_async.errors import JournalError
from apimodels_async.stores.sqlite.connection import FOLDER
from apimodels_async.stores.sqlite.store import SqliteStore

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from apimodels_async.stores.sqlite.reader import Reader
    from apimodels_async.stores.sqlite.writer import Writer

# Any: the types of each are known on its own platform alone.
_fcntl: Any = None
_msvcrt: Any = None
try:
    import fcntl

    _fcntl = fcntl
except ImportError:  # pragma: no cover  nox -s portable
    import msvcrt

    _msvcrt = msvcrt

LOCKED_AT: Final = 1 << 20
"""
Where the lock lies on Windows, behind the end of the file: what it covers there others
cannot read.
"""
_CREATE: Final = (
    os.O_RDWR
    | os.O_CREAT
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)


class Journal(SqliteStore):
    """
    A store that nobody else has meanwhile; the file itself is locked, not its name.

    Opening brings journals of earlier releases over.
    """

    def __init__(self, path: Path) -> None:
        # The file itself: under another name it would have another lock.
        super().__init__(os.path.realpath(path), scope=BATCH_SCOPE)
        self.lease_s: float = math.inf  # the lock says who is alive

    def _acquire(self) -> Writer | Reader:
        if self._reads_only:
            return super()._acquire()
        from apimodels_async.stores.sqlite.writer import Writer  # and sqlite3 with it

        lock = take_lock(self.path)
        try:
            return Writer.acquire(self.path, self._prepare, lock)
        except BaseException:
            os.close(lock)
            raise

    def _prepare(self, connection: sqlite3.Connection) -> None:
        from apimodels_async.stores.sqlite.schema import prepare

        # One connection writes: the log that several could corrupt is safe.
        prepare(connection, self.path, wal=True)
        # Whoever had the lock before us is gone, whatever its lease says.
        mine = "SELECT owner FROM orders WHERE scope = ?"
        sql = f"DELETE FROM owners WHERE owner IN ({mine})"
        connection.execute(sql, (BATCH_SCOPE,))


def take_lock(path: Path) -> int:
    """
    Lock the journal at *path* and return the lock's descriptor, which is to be closed.

    Raises:
        JournalError: Another batch or process has it, or it cannot be had.
    """
    reason: str | None = None
    try:
        if path.is_dir():  # or a lock would be left beside it
            msg = f"the journal {path} cannot be used: {FOLDER} {path / 'batch.sqlite'}"
            raise JournalError(msg)
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = lock_beside(path)
        if lock is not None:
            return lock
        reason = f"{_who(path)} is working with it"
    except OSError as error:
        reason = error.strerror
    msg = f"the journal {path} cannot be used: {reason}"
    raise JournalError(msg)


def lock_beside(path: Path) -> int | None:
    """
    Lock what is at *path*, by a file beside it; it ends with the process at the latest.

    Returns:
        The lock's descriptor, which is to be closed; None: another has it.

    Raises:
        OSError: It cannot be had.
    """
    descriptor = _open_lock(_lock_of(path))
    kept: int | None = None
    try:
        if _lock(descriptor):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
            kept = descriptor
    finally:
        if kept is None:
            os.close(descriptor)
    return kept


def _lock_of(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _who(path: Path) -> str:
    """Return in words who has the journal at *path*."""
    from apimodels_async.stores.sqlite.writer import Writer

    # Not by the number: in another container a process may have ours.
    if Writer.is_open(path):
        return "another batch of this process"
    with _lock_of(path).open("rb") as lock:
        holder = lock.read(20).decode(errors="replace") or "unknown"
    return f"another process (pid {holder})"


def holder_of(path: Path) -> int | None:
    """
    Return the id of the process that has locked what is at *path*; None: nobody.

    Blocking, for a moment.
    """
    lock = _lock_of(path)
    with suppress(OSError, ValueError, OverflowError):
        pid = int(lock.read_text(encoding="ascii"))
        # On Windows it would be a Ctrl-C for that process.
        if os.name == "posix":  # pragma: no branch
            os.kill(pid, 0)
        # The number may be another process's by now: ask the lock itself.
        with lock.open("rb") as file:
            return None if _lock(file.fileno(), shared=True) else pid
    return None


def _lock(descriptor: int, *, shared: bool = False) -> bool:
    """
    Lock an open file, at whose start it stands, until it is closed; False: another has.
    """
    if _fcntl is None:  # pragma: no cover  as above
        return _lock_byte(descriptor)
    kind = _fcntl.LOCK_SH if shared else _fcntl.LOCK_EX
    try:
        _fcntl.flock(descriptor, kind | _fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_byte(descriptor: int) -> bool:  # pragma: no cover  as above
    os.lseek(descriptor, LOCKED_AT, os.SEEK_SET)
    try:
        _msvcrt.locking(descriptor, _msvcrt.LK_NBLCK, 1)
    except PermissionError:
        return False
    finally:
        os.lseek(descriptor, 0, os.SEEK_SET)
    return True


def _open_lock(lock: Path) -> int:
    descriptor = os.open(lock, _CREATE, 0o600)
    found = os.fstat(descriptor)
    alone = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
    if alone and not lock.is_symlink():  # where opening follows one
        return descriptor
    os.close(descriptor)
    # Its holder empties it.
    raise OSError(errno.EPERM, f"{lock} is a name of another file")
