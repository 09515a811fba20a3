"""
A picture in memory, for whoever keeps no file of it.
"""

from __future__ import annotations

import anyio
import anyio.to_thread
from attrs import define, field

from apimodels_async._core.files.ends import is_cut
from apimodels_async._core.files.keeping import CUT, Keeping, picture_suffix
from apimodels_async._core.files.media import HEAD_BYTES
from apimodels_async._ports import CutError


@define(eq=False, repr=False)
class MemorySink:
    """Gathers the bytes of one picture; a ``Sink`` of ``_ports``."""

    _threads: anyio.CapacityLimiter
    _keeping: Keeping
    data: bytearray = field(init=False, factory=bytearray)

    @property
    def size(self) -> int:
        """Bytes taken in so far."""
        return len(self.data)

    async def check(self) -> None:
        """Do nothing: there is room."""

    async def add(self, chunk: bytes) -> None:
        """Take in the next bytes; raises ``DownloadError`` if they are too many."""
        self._keeping.check_size(self.size + len(chunk))
        self.data += chunk

    async def restart(self) -> None:
        """Forget all bytes so far."""
        self.data = bytearray()

    async def finish(self) -> str:
        """
        Return "": it is nowhere but in *data*.

        Raises:
            CutError: It is not whole; more may be added after ``restart``.
            DownloadError: Not a picture.
        """
        picture_suffix(bytes(self.data[:HEAD_BYTES]))
        if await anyio.to_thread.run_sync(self._is_cut, limiter=self._threads):
            raise CutError(CUT)
        return ""

    def _is_cut(self) -> bool:
        data = self.data  # restart() makes another, should this thread be left behind
        return is_cut(lambda at, most: bytes(data[at : at + most]), len(data))

    async def discard(self) -> None:
        """Do nothing: nothing is left of it."""
