"""
Pictures inside requests and results, kept as files beside a store.

A name in the store leads to what it names, or to nothing: a file is durable before the
text that names it is, and one whose content has changed is none.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from attrs import define

from apimodels_async._core.files.media import suffix_for
from apimodels_async._core.money.pictures import digest_of, put_back, take_out
from apimodels_async._io.files.disk import LocalDisk

if TYPE_CHECKING:
    from pathlib import Path

OURS: Final = re.compile(r"\.?([0-9a-f]{64})\.\w+(\.\d+\.part)?")
"""Names of our files: a digest; and, before it is whole, who writes it."""


@define(eq=False)
class PictureFolder:
    """The folder of one store; its methods block, and raise ``OSError``."""

    path: Path

    def take_out(self, text: str) -> str:
        """
        Keep every inline picture of *text*, which is JSON, as a file, and name it in
        its place; the files are durable on return.
        """
        text, contents = take_out(text)
        for (media_type, digest), data in contents.items():
            self._keep(self._file(media_type, digest), digest, data)
        if contents:
            self._sync()
        return text

    def _keep(self, path: Path, digest: str, data: bytes) -> None:
        if _holds(path, digest):
            return
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            _give_name(part, path, digest)
        except BaseException:  # a full disk is not to be kept full by it
            part.unlink(missing_ok=True)
            raise

    def put_back(self, text: str) -> str:
        """
        Return *text* with its pictures; one whose file is gone or damaged stays a name.
        """
        return put_back(text, self._read)

    def _read(self, media_type: str, digest: str) -> bytes | None:
        with suppress(OSError):
            return self._file(media_type, digest).read_bytes()
        return None

    def _sync(self) -> None:
        disk = LocalDisk()
        for folder in (self.path, self.path.parent):  # the first may be new
            # Not every system can, or lets us; what was paid for is recorded anyway.
            with suppress(OSError):
                disk.sync_folder(folder)

    def sweep(self, named: set[str]) -> None:
        """
        Remove the files whose digests are not *named* any more, and what a process left
        that was killed while it kept one; nobody may be keeping one now.
        """
        with suppress(FileNotFoundError, NotADirectoryError):
            for path in self.path.iterdir():
                ours = OURS.fullmatch(path.name)
                if ours and (ours[2] or ours[1] not in named):
                    # Windows keeps what somebody reads: the next time, then.
                    with suppress(PermissionError):
                        path.unlink(missing_ok=True)

    def _file(self, media_type: str, digest: str) -> Path:
        return self.path / (digest + (suffix_for(media_type.lower()) or ".bin"))


def _holds(path: Path, digest: str) -> bool:
    try:
        return digest_of(path.read_bytes()) == digest
    except FileNotFoundError:
        return False


def _give_name(part: Path, path: Path, digest: str) -> None:
    try:
        part.replace(path)
    except PermissionError:  # pragma: no cover  nox -s portable
        # Windows replaces nothing that somebody reads.
        if not _holds(path, digest):
            raise
        part.unlink()
