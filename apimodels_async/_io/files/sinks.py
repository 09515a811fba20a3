"""
What becomes of a picture's bytes until they are whole, wherever they go then.

Theory of operation: bytes gather in memory. Each time they are many, a thread takes
them away; the first time it looks at the head of the file, and changes it where
provenance is to be written into it. Only the heirs know where bytes are taken, and what
the whole of them is called in the end.

Rules of this file:
1. What a thread does holds the lock and looks first whether all is over.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, TypeVar

import anyio
import anyio.to_thread
from attrs import define, field

from apimodels_async._core.files.embed import HEAD_BYTES_MAX
from apimodels_async._core.files.keeping import BUFFER_BYTES, Keeping, picture_suffix
from apimodels_async._core.files.media import HEAD_BYTES
from apimodels_async.errors import DownloadError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

PIECES_MAX: Final = 1_000
"""More are put together; a system writes 1,024 at once."""


@define(eq=False, repr=False)
class PictureSink(ABC):
    """Gathers the bytes of one picture."""

    _threads: anyio.CapacityLimiter
    _keeping: Keeping
    _pieces: list[bytes | bytearray] = field(
        init=False, factory=list["bytes | bytearray"]
    )
    """As they came: putting 1 MB together costs as much as fetching it."""
    _held: int = field(init=False, default=0)
    """Bytes in the pieces."""
    _head: bytes = field(init=False, default=b"")
    """Of what was taken away; empty: nothing was."""
    _size: int = field(init=False, default=0)
    _lock: threading.Lock = field(init=False, factory=threading.Lock)
    _used: bool = field(init=False, default=False)
    """Whether a thread was ever asked for anything."""
    _over: bool = field(init=False, default=False)

    @property
    def size(self) -> int:
        """Bytes taken in so far."""
        return self._size

    async def add(self, chunk: bytes) -> None:
        """
        Take in the next bytes.

        Raises:
            DownloadError: Too large, or there is no room for them.
        """
        self._size += len(chunk)
        self._keeping.check_size(self._size)
        self._pieces.append(chunk)
        self._held += len(chunk)
        if self._held >= BUFFER_BYTES:
            await self._in_thread(self._flush)
        elif len(self._pieces) >= PIECES_MAX:
            self._pieces = [b"".join(self._pieces)]

    async def restart(self) -> None:
        """Forget all bytes so far."""
        self._size, self._head = 0, b""
        self._pieces, self._held = [], 0
        if self._used:
            await self._in_thread(self._empty)

    async def discard(self) -> None:
        """Leave nothing behind, unless ``finish`` is through."""
        if not self._used:  # a thread hop costs 100 us
            self._over = True
        if not self._over:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._end, limiter=self._threads)

    def _suffix(self) -> str:
        """Return what the content is called; ``DownloadError``: it is no picture."""
        return picture_suffix(self._head or self._beginning())

    def _beginning(self) -> bytes:
        found = b""
        for piece in self._pieces:
            found += piece[: HEAD_BYTES - len(found)]
        return found

    async def _in_thread(self, work: Callable[[], T]) -> T | None:
        """Return what *work* does; None: all is over."""
        self._used = True
        try:
            return await anyio.to_thread.run_sync(
                self._guard, work, limiter=self._threads
            )
        except OSError as error:
            reason = error.strerror
        except ValueError as error:  # a NUL in the path
            reason = str(error)
        msg = f"{self._what_failed()}: {reason}"
        raise DownloadError(msg)

    def _guard(self, work: Callable[[], T]) -> T | None:
        # task.cancel() does not wait for a thread (anyio shields from its own scopes
        # alone): discard() may come while the thread still writes, or before it does.
        with self._lock:
            return None if self._over else work()

    # --- in a thread

    def _flush(self) -> None:
        self._change_head()
        self._write(self._pieces)
        self._pieces, self._held = [], 0

    def _change_head(self) -> None:
        if self._head:
            return
        self._head = self._beginning()
        if self._keeping.imprint is None:
            return
        content = bytearray().join(self._pieces)
        splice = self._keeping.imprint(bytes(content[:HEAD_BYTES_MAX]))
        if splice is not None:
            content[splice.start : splice.stop] = splice.data
        self._pieces = [content]

    def _end(self) -> None:
        with self._lock:
            self._over = True
            self._remove()

    # --- what is the heirs' own; all but the last in a thread

    @abstractmethod
    def _write(self, pieces: list[bytes | bytearray]) -> None:
        """Take *pieces* away; raises ``OSError``."""

    @abstractmethod
    def _empty(self) -> None:
        """Forget what was taken away."""

    @abstractmethod
    def _remove(self) -> None:
        """Close what is open, and leave nothing behind; raises nothing."""

    @abstractmethod
    def _what_failed(self) -> str:
        """Return what cannot be done where a thread fails."""
