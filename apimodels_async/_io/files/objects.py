"""
Pictures in object storage: whole under their final key, or not there at all.

Rules of this file:
1. What is not checked to its end is not uploaded. Until then a picture is in memory, a
   large one in a file that has no name and ends with the process.
"""

from __future__ import annotations

import mmap
import tempfile
from typing import TYPE_CHECKING, BinaryIO, Final, cast

import anyio
from attrs import define, field

from apimodels_async._core.files.ends import is_cut
from apimodels_async._core.files.keeping import CUT, SIDECAR
from apimodels_async._io.files.sinks import PictureSink
from apimodels_async._ports import CutError
from apimodels_async.errors import DownloadError

if TYPE_CHECKING:
    from apimodels_async._io.files.buckets import Bucket, Content

CLEAN_UP_S: Final = 5.0


@define(eq=False, repr=False)
class ObjectSink(PictureSink):
    """Gathers the bytes of one picture, checks them, and uploads them as one object."""

    _bucket: Bucket
    _key: str
    """Empty, or with a final slash: the stem follows."""
    _file: BinaryIO | None = field(init=False, default=None)
    """Where the bytes before those in memory are, once they are many."""
    _shown: list[str] = field(init=False, factory=list[str])
    """Keys of sidecars whose picture is not there yet."""

    async def check(self) -> None:
        """Find out whether it can be written to; raises as ``Bucket.check``."""
        await self._bucket.check(self._key)

    async def finish(self) -> str:
        """
        Upload the picture under its final key, and return its address.

        A target without a suffix gets the one of the content. A sidecar is there before
        the picture is.

        Raises:
            CutError: It is not whole; more may be added after ``restart``.
            DownloadError: Not a picture, or the bucket does not take it.
        """
        suffix = self._suffix()
        content = await self._in_thread(self._check)
        if content is None:
            raise CutError(CUT)
        folder, slash, name = self._key.rpartition("/")
        names = self._keeping.names(name or self._keeping.stem, suffix)
        for each in names:
            key = f"{folder}{slash}{each}"
            url = self._bucket.url(key)
            if url not in self._keeping.taken and await self._give(key, content):
                self._shown.clear()
                return url
        msg = f"cannot store {self._bucket.url(self._key)}: all numbers are taken"
        raise DownloadError(msg)

    async def discard(self) -> None:
        """Leave nothing behind, unless ``finish`` is through."""
        await super().discard()
        with anyio.move_on_after(CLEAN_UP_S, shield=True):
            await self._take_back()

    def _what_failed(self) -> str:
        return f"cannot keep the picture in {tempfile.gettempdir()} meanwhile"

    def _write(self, pieces: list[bytes | bytearray]) -> None:
        if self._file is None:
            # No context: it is closed by discard().
            self._file = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115
        self._file.writelines(pieces)

    def _empty(self) -> None:
        if self._file is not None:
            self._file.truncate(self._file.seek(0))

    def _check(self) -> Content | None:
        if self._file is None:
            self._change_head()
            content: Content = bytearray().join(self._pieces)
        else:
            self._flush()
            self._file.flush()
            content = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        cut = is_cut(lambda at, most: bytes(content[at : at + most]), len(content))
        return None if cut else content

    async def _give(self, key: str, content: Content) -> bool:
        """Upload under *key*; False: that is another object's."""
        bucket, sidecar = self._bucket, self._keeping.sidecar
        if self._keeping.overwrite:
            if sidecar is not None:
                await bucket.replace(key + SIDECAR, sidecar)
            await bucket.replace(key, content)
            return True
        # To send all of it is a dear way to hear that the key is taken.
        if await bucket.find(key) is None:
            if not await self._give_sidecar(key):
                return False
            if await bucket.create(key, content):
                return True
            await self._take_back()  # somebody was faster
        if not await bucket.equals(key, content):
            return False
        await self._give_sidecar(key)
        return True

    async def _give_sidecar(self, key: str) -> bool:
        """Put the sidecar beside *key*; False: something else is there."""
        sidecar = self._keeping.sidecar
        if sidecar is None:
            return True
        beside = key + SIDECAR
        if not await self._bucket.create(beside, sidecar):
            return await self._bucket.equals(beside, sidecar)
        self._shown.append(beside)
        return True

    async def _take_back(self) -> None:
        for key in self._shown:
            await self._bucket.delete(key)
        self._shown.clear()

    def _remove(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
