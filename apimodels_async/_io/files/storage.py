"""
Pictures on disk: whole under their final name, or not there at all.

Rules of this file:
1. Nothing takes the place of a file unasked. A final name is given by a hard link,
   which fails where something is; without links it is reserved by creating it.
2. A file that is there with the very same content is the picture.
3. What cannot be made durable is no reason to lose what was paid for.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import stat
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from attrs import define, field

from apimodels_async._core.files.ends import is_cut
from apimodels_async._core.files.keeping import COMPARED_BYTES, CUT, SIDECAR
from apimodels_async._io.files.sinks import PictureSink
from apimodels_async._ports import CutError
from apimodels_async.errors import ConfigurationError, DownloadError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from apimodels_async._ports import Disk

logger: logging.Logger = logging.getLogger("apimodels_async.files")

LONG_SUFFIX: Final = ".webp"
"""Of those that a name without one may get."""


@define(eq=False, repr=False)
class FileSink(PictureSink):
    """
    Gathers the bytes of one picture in a ``.part`` beside *target*, then names it.
    """

    _target: Path
    _disk: Disk
    _part: Path | None = field(init=False, default=None)
    _made: list[Path] = field(init=False, factory=list["Path"])
    """Directories that were missing."""
    _shown: list[Path] = field(init=False, factory=list["Path"])
    """Names given that were free before."""
    _descriptor: int | None = field(init=False, default=None)

    async def check(self) -> None:
        """
        Find out whether a picture can be written there; leaves nothing behind.

        Raises:
            ConfigurationError: It cannot.
        """
        try:
            await self._in_thread(self._try)
        except DownloadError as error:
            msg = f"{error.message}; nothing was ordered: name another place"
        else:
            return
        finally:
            await self.discard()
        raise ConfigurationError(msg)

    async def finish(self) -> Path:
        """
        Make the file durable under its final name, and return it.

        A target without a suffix gets the one of the content. A sidecar gets its
        final name before the picture does.

        Raises:
            CutError: It is not whole; more may be added after ``restart``.
            DownloadError: Not a picture, or the disk refuses.
        """
        await self._in_thread(partial(self._publish, self._suffix()))
        self._over = True  # it is the caller's from here on
        return self._target

    def _what_failed(self) -> str:
        return f"cannot write {self._target}"

    def _write(self, pieces: list[bytes | bytearray]) -> None:
        if self._descriptor is None:
            self._descriptor = self._open()
        _write_all(self._descriptor, pieces)

    def _try(self) -> None:
        self._write([b"\0"])
        # A part is called otherwise: the name itself may be none, or too long.
        name = next(self._keeping.names(self._target.name, LONG_SUFFIX))
        with contextlib.suppress(FileNotFoundError):
            self._target.with_name(name).lstat()

    def _empty(self) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)

    def _open(self) -> int:
        if self._keeping.folder or _is_folder(self._target):
            self._target /= self._keeping.stem
        self._part, folder = self._part_of(self._target), self._target.parent
        self._made = self._disk.enter(folder)
        try:
            return self._disk.create(self._part)
        except FileNotFoundError:  # another sink has just removed what it had made
            self._made += self._disk.enter(folder)
            return self._disk.create(self._part)

    def _part_of(self, path: Path) -> Path:
        stem = path.name.encode("ascii", "replace")[:100].decode().replace("?", "_")
        return path.with_name(f".{stem}.{secrets.token_hex(8)}.part")

    def _publish(self, suffix: str) -> None:
        self._flush()
        opened = cast("int", self._descriptor)
        if is_cut(partial(_read, opened), os.fstat(opened).st_size):
            raise CutError(CUT)
        self._close(opened)
        self._name(suffix)
        try:
            self._disk.sync_folder(self._target.parent)
        except OSError as error:
            harmless = self._disk.is_never_durable(error)
            level = logging.DEBUG if harmless else logging.WARNING
            logger.log(level, "%s is not synced: %s", self._target.parent, error)

    def _name(self, suffix: str) -> None:
        names = self._keeping.names(self._target.name, suffix)
        for path in map(self._target.with_name, names):
            if path not in self._keeping.taken and self._give(path):
                self._target = path
                return
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    def _give(self, path: Path) -> bool:
        """Give the part its final name; False: that is another file's."""
        part = self._part or path  # there is one
        if self._keeping.overwrite:
            self._replace(part, path)
            return True
        if os.path.lexists(path):
            if not _are_equal(part, path):
                return False
            self._give_sidecar(path)
            self._disk.unlink(part)
            return True
        try:
            if not self._give_sidecar(path):
                return False
            self._disk.move(part, path)
        except FileExistsError:  # somebody was faster
            self._take_back()
            return _are_equal(part, path) and self._give(path)
        except OSError:
            self._take_back()
            raise
        self._shown.append(path)
        return True

    def _give_sidecar(self, path: Path) -> bool:
        """Put the sidecar beside *path*; False: something else is there."""
        sidecar = self._keeping.sidecar
        if sidecar is None:
            return True
        place = path.with_name(path.name + SIDECAR)
        with self._sidecar_part(sidecar, place) as part:
            try:
                self._disk.move(part, place)
            except FileExistsError:
                return _are_equal(part, place)
        self._shown.append(place)
        return True

    def _replace(self, part: Path, path: Path) -> None:
        if _is_folder(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        sidecar = self._keeping.sidecar
        if sidecar is not None:
            place = path.with_name(path.name + SIDECAR)
            with self._sidecar_part(sidecar, place) as text:
                self._disk.replace(text, place)
        self._disk.replace(part, path)

    @contextlib.contextmanager
    def _sidecar_part(self, text: bytes, place: Path) -> Iterator[Path]:
        part = self._part_of(place)
        try:
            opened = self._disk.create(part)
            try:
                _write(opened, text)
                self._disk.sync(opened)
            finally:
                os.close(opened)
            yield part
        finally:
            self._disk.unlink(part)

    def _take_back(self) -> None:
        self._disk.unlink(*self._shown)  # never half of it
        self._shown.clear()

    def _close(self, descriptor: int) -> None:
        self._descriptor = None
        try:
            self._disk.sync(descriptor)
        finally:
            os.close(descriptor)

    def _remove(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self._take_back()
        if self._part is not None:
            self._disk.unlink(self._part)
        for folder in reversed(self._made):
            with contextlib.suppress(OSError):  # somebody else's file is in it
                folder.rmdir()


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name too long, say: writing will tell
        return False


def _are_equal(part: Path, path: Path) -> bool:
    """Return whether *path* is a file with the content of *part*."""
    with contextlib.suppress(OSError):
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size != part.stat().st_size:
            return False
        with part.open("rb") as ours, path.open("rb") as theirs:
            while piece := ours.read(COMPARED_BYTES):
                if piece != theirs.read(COMPARED_BYTES):
                    return False
        return True
    return False


def _read(descriptor: int, at: int, most: int) -> bytes:
    os.lseek(descriptor, at, os.SEEK_SET)
    return os.read(descriptor, most)


def _write_all(descriptor: int, pieces: Sequence[bytes | bytearray]) -> None:
    """Write *pieces* as they are, at once where the system can."""
    done = os.writev(descriptor, pieces) if hasattr(os, "writev") else 0
    if done < sum(map(len, pieces)):
        with memoryview(b"".join(pieces)) as whole:
            _write(descriptor, whole[done:])


def _write(descriptor: int, content: bytes | memoryview) -> None:
    with memoryview(content) as whole:
        done = 0
        while done < len(whole):
            done += os.write(descriptor, whole[done:])
