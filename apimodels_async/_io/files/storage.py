"""
Pictures on disk: whole under their final name, or not there at all.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
from attrs import define, field

from apimodels_async._core.files.embed import HEAD_BYTES_MAX
from apimodels_async._core.files.media import HEAD_BYTES, suffix_of
from apimodels_async.errors import DownloadError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from apimodels_async._core.files.embed import Splice

FILE_BYTES_MAX: Final = 64 << 20
"""Results have 1-8 MB; a 4K PNG some 30."""
BUFFER_BYTES: Final = 8 << 20
"""One thread hop per this much; a hop per 64 KB chunk costs 1.5 times the CPU."""


STALE_S: Final = 86_400
"""A part nobody wrote to for a day was left by a process that was killed."""
_PART: Final = re.compile(r"\..+\.[0-9a-f]{8}\.part", re.DOTALL)


@define(eq=False)
class Folders:
    """The directories a session writes to. Its methods are for threads."""

    _entered: set[Path] = field(init=False, factory=set["Path"])

    def enter(self, folder: Path) -> None:
        """Make *folder*; the first time, also remove stale parts in it."""
        folder.mkdir(parents=True, exist_ok=True)
        if folder not in self._entered:
            self._entered.add(folder)
            _remove_stale(folder)

    def sync(self, folder: Path) -> None:
        """Make the names in *folder* durable."""
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def _remove_stale(folder: Path) -> None:
    oldest = time.time() - STALE_S
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if (
                _PART.fullmatch(entry.name)
                and entry.stat(follow_symlinks=False).st_mtime < oldest
            ):
                os.unlink(entry)  # noqa: PTH108  a DirEntry


@define(eq=False)
class FileSink:
    """
    Gathers the bytes of one picture in ``.part`` beside *target*, then renames it.
    """

    _target: Path
    _stem: str
    """File name, should *target* be a directory."""
    _threads: anyio.CapacityLimiter
    _folders: Folders = field(factory=Folders)
    _sidecar: bytes | None = None
    """What to put into a file beside it, named ``fox.png.json``."""
    _imprint: Callable[[bytes], Splice | None] | None = None
    """Called in a thread with the head of the file; says what to write into it."""
    _bytes_max: int = FILE_BYTES_MAX
    _token: str = field(init=False, factory=lambda: secrets.token_hex(4))
    _part: Path = field(init=False)
    _descriptor: int | None = field(init=False, default=None)
    _buffer: bytearray = field(init=False, factory=bytearray)
    _head: bytes = field(init=False, default=b"")
    _size: int = field(init=False, default=0)
    _lock: threading.Lock = field(init=False, factory=threading.Lock)
    _used: bool = field(init=False, default=False)
    """Whether a thread was ever asked for anything."""
    _over: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        with contextlib.suppress(OSError):  # a name too long, say: writing will tell
            if self._target.is_dir():
                self._target /= self._stem
        self._part = self._part_of(self._target)

    def _part_of(self, path: Path) -> Path:
        return path.with_name(f".{path.name[:100]}.{self._token}.part")

    @property
    def size(self) -> int:
        """Bytes taken in so far."""
        return self._size

    async def add(self, chunk: bytes) -> None:
        """
        Take in the next bytes.

        Raises:
            DownloadError: Too large, not a picture, or the disk refuses.
        """
        self._size += len(chunk)
        if self._size > self._bytes_max:
            msg = f"the file is larger than {self._bytes_max >> 20} MiB"
            raise DownloadError(msg)
        self._buffer += chunk
        if len(self._buffer) >= BUFFER_BYTES:
            await self._in_thread(self._flush)

    async def restart(self) -> None:
        """Forget all bytes so far."""
        self._size = 0
        self._head = b""
        self._buffer.clear()
        if self._descriptor is not None:
            await self._in_thread(partial(_empty, self._descriptor))

    async def finish(self) -> Path:
        """
        Make the file durable under its final name, and return it.

        A target without a suffix gets the one of the content. A sidecar gets its
        final name before the picture does.
        """
        self._check_type()
        await self._in_thread(self._publish)
        return self._target

    async def discard(self) -> None:
        """Leave nothing behind, unless :meth:`finish` is through."""
        if not self._used:  # a thread hop costs 100 us
            self._over = True
        if self._over:
            return
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._remove, limiter=self._threads)

    async def _in_thread(self, work: Callable[[], object]) -> None:
        reason = None
        self._used = True
        try:
            await anyio.to_thread.run_sync(self._guard, work, limiter=self._threads)
        except OSError as error:
            reason = error.strerror
        except ValueError as error:  # a NUL in the path
            reason = str(error)
        if reason is not None:
            msg = f"cannot write {self._target}: {reason}"
            raise DownloadError(msg)

    def _guard(self, work: Callable[[], object]) -> None:
        # task.cancel() does not wait for a thread (anyio shields from its own scopes
        # alone): discard() may come while the thread still writes, or before it does.
        with self._lock:
            if not self._over:
                work()

    def _check_type(self) -> None:
        head = self._head or bytes(self._buffer[:HEAD_BYTES])
        suffix = suffix_of(head)
        if suffix is None:
            msg = "the file is not a picture (PNG, JPEG, WebP, GIF or AVIF)"
            raise DownloadError(msg)
        if not self._target.suffix:
            self._target = self._target.with_name(self._target.name + suffix)

    def _flush(self) -> int:
        if self._descriptor is None:
            self._folders.enter(self._target.parent)
            self._descriptor = _create(self._part)
        if not self._head:
            self._head = bytes(self._buffer[:HEAD_BYTES])
            self._change_head()
        _write(self._descriptor, self._buffer)
        self._buffer.clear()
        return self._descriptor

    def _change_head(self) -> None:
        if self._imprint is None:
            return
        splice = self._imprint(bytes(self._buffer[:HEAD_BYTES_MAX]))
        if splice is not None:
            self._buffer[splice.start : splice.stop] = splice.data

    def _publish(self) -> None:
        self._flush()
        self._close(durable=True)
        shown: list[Path] = []
        try:
            if self._sidecar is not None:
                self._write_sidecar(self._sidecar, shown)
            self._part.replace(self._target)
            shown.append(self._target)
            self._folders.sync(self._target.parent)
        except OSError:
            _unlink(*shown)  # never half of it, nor what may be gone after a crash
            raise
        self._over = True

    def _write_sidecar(self, text: bytes, shown: list[Path]) -> None:
        path = self._target.with_name(f"{self._target.name}.json")
        part = self._part_of(path)
        try:
            self._descriptor = _create(part)
            _write(self._descriptor, text)
            self._close(durable=True)
            part.replace(path)
            shown.append(path)
        finally:
            _unlink(part)

    def _close(self, *, durable: bool = False) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        try:
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _remove(self) -> None:
        with self._lock:
            self._over = True
            self._close()
            _unlink(self._part)


def _create(path: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o666)


def _write(descriptor: int, content: bytes | bytearray) -> None:
    with memoryview(content) as whole:
        done = 0
        while done < len(whole):
            done += os.write(descriptor, whole[done:])


def _empty(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)


def _unlink(*paths: Path) -> None:
    for path in paths:
        # No way there means that nothing is there.
        with contextlib.suppress(OSError, ValueError):
            path.unlink()
