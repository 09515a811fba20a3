"""
The disk, which outlives processes: files, and journals as far as they were committed.
"""

from __future__ import annotations

from pathlib import Path

from sim import adapters

from apimodels_async.errors import DownloadError
from apimodels_async.stores import MemoryStore


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

    async def check(self):
        """Do nothing: there is room."""

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

    def journal(self, path):
        """Return what is in a journal; its clock is the virtual one."""
        if path not in self._journals:
            self._journals[path] = MemoryStore(clock=self._now, lease_s=1e9)
        return self._journals[path]

    def _now(self):
        return adapters.utc(self._world.now)

    def state_of(self, path, words):
        """Return the state of the item whose request has *words* in it, or None."""
        if path not in self._journals:
            return None
        memory = self._journals[path]
        for attempt in adapters.attempts_of(memory):
            if words in attempt.record.request:
                number = adapters.current(memory, attempt.record.idempotency_key)
                return adapters.attempt_of(memory, number).state.value
        return None

    def release(self, life):
        """Give up the locks of a process."""
        self.holders = {
            path: holder for path, holder in self.holders.items() if holder is not life
        }
