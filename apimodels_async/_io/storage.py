"""
Pictures on disk: whole under their final name, or not there at all.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
from attrs import define, field

from apimodels_async._core.media import HEAD_BYTES, suffix_of
from apimodels_async.errors import DownloadError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILE_BYTES_MAX: Final = 64 << 20
"""Results have 1-8 MB; a 4K PNG some 30."""
BUFFER_BYTES: Final = 8 << 20
"""One thread hop per this much; a hop per 64 KB chunk costs 1.5 times the CPU."""


@define(eq=False)
class FileSink:
    """
    Gathers the bytes of one picture in ``.part`` beside *target*, then renames it.
    """

    _target: Path
    _stem: str
    """File name, should *target* be a directory."""
    _threads: anyio.CapacityLimiter
    _part: Path = field(init=False)
    _descriptor: int | None = field(init=False, default=None)
    _buffer: bytearray = field(init=False, factory=bytearray)
    _head: bytes = field(init=False, default=b"")
    _size: int = field(init=False, default=0)
    _lock: threading.Lock = field(init=False, factory=threading.Lock)
    _over: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        with contextlib.suppress(OSError):  # a name too long, say: writing will tell
            if self._target.is_dir():
                self._target /= self._stem
        name = f".{self._target.name[:100]}.{secrets.token_hex(4)}.part"
        self._part = self._target.with_name(name)

    async def add(self, chunk: bytes) -> None:
        """
        Take in the next bytes.

        Raises:
            DownloadError: Too large, not a picture, or the disk refuses.
        """
        self._size += len(chunk)
        if self._size > FILE_BYTES_MAX:
            msg = f"the file is larger than {FILE_BYTES_MAX >> 20} MiB"
            raise DownloadError(msg)
        self._buffer += chunk
        if len(self._buffer) >= BUFFER_BYTES:
            await self._in_thread(self._flush)

    async def finish(self) -> Path:
        """
        Make the file durable under its final name, and return it.

        A target without a suffix gets the one of the content.
        """
        self._check_type()
        await self._in_thread(self._publish)
        return self._target

    async def discard(self) -> None:
        """
        Leave nothing behind, unless :meth:`finish` is through.
        """
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._remove, limiter=self._threads)

    async def _in_thread(self, work: Callable[[], object]) -> None:
        reason = None
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
            self._head = bytes(self._buffer[:HEAD_BYTES])
            self._target.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(self._part, flags, 0o666)
        view = memoryview(self._buffer)
        while view:
            view = view[os.write(self._descriptor, view) :]
        view.release()
        self._buffer.clear()
        return self._descriptor

    def _publish(self) -> None:
        descriptor = self._flush()
        os.fsync(descriptor)
        self._descriptor = None
        os.close(descriptor)
        self._part.replace(self._target)
        folder = os.open(self._target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)  # the new name itself
        finally:
            os.close(folder)

    def _remove(self) -> None:
        with self._lock:
            self._over = True
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None
            # No way there means that nothing is there.
            with contextlib.suppress(OSError, ValueError):
                self._part.unlink()
