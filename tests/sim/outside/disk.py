"""
The disk, which outlives processes: files, and journals as far as they were committed.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from apimodels_async.errors import DownloadError


class SimSink:
    """One file of the simulated disk."""

    def __init__(self, disk, target, stem):
        self._disk = disk
        self._target = Path(target) / f"{stem}.png"
        self._content = b""

    @property
    def size(self):
        """Return the bytes so far."""
        return len(self._content)

    async def add(self, chunk):
        """Take in bytes."""
        self._content += chunk

    async def restart(self):
        """Forget them."""
        self._content = b""

    async def finish(self):
        """Keep the file, if it is a picture."""
        if not self._content.startswith(b"\x89PNG"):
            msg = "the file is not a picture"
            raise DownloadError(msg)
        self._disk.files[self._target] = self._content
        return self._target

    async def discard(self):
        """Leave nothing behind."""


class SimDisk:
    """What outlives processes: files, and journals as far as they were committed."""

    def __init__(self, world):
        self._world = world
        self._journals = {}
        self.files = {}
        self.holders = {}
        """Path of a journal -> the process that has locked it."""

    def connect(self, path):
        """Return the connection to a journal, whose clock is the virtual one."""
        found = self._journals.get(path)
        if found is None:
            found = sqlite3.connect(":memory:", isolation_level=None)
            found.create_function("strftime", 1, lambda _: f"{self._world.now:.3f}")
            found.create_function("unixepoch", 0, lambda: self._world.now)
            found.create_function("unixepoch", 1, float)
            self._journals[path] = found
        return found

    def state_of(self, path, words):
        """Return the state of the item whose request has *words* in it, or None."""
        if path not in self._journals:
            return None
        row = self._journals[path].execute(
            "SELECT state FROM items WHERE instr(request, ?)", (words,)
        )
        return next(iter(row.fetchall()), (None,))[0]

    def release(self, life):
        """Give up the locks of a process."""
        self.holders = {
            path: holder for path, holder in self.holders.items() if holder is not life
        }

    def close(self):
        """Forget everything."""
        for connection in self._journals.values():
            connection.close()


class FullDisk:
    def execute(self, statement):
        """Refuse."""
        msg = f"database or disk is full: {statement}"
        raise sqlite3.OperationalError(msg)
