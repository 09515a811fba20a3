"""
What a file system is asked to do, and what is made of those that cannot do all of it.

Its methods are for threads.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import time
from typing import TYPE_CHECKING, Final

from attrs import define, field

if TYPE_CHECKING:
    from pathlib import Path

STALE_S: Final = 86_400
"""A part nobody wrote to for a day was left by a process that was killed."""
_PART: Final = re.compile(r"\..+\.[0-9a-f]{8,32}\.part", re.DOTALL)
_CREATE: Final = (
    os.O_RDWR
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_NOT_SYNCED: Final = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
"""What a file system says that has nothing to make durable."""


@define(eq=False, repr=False)
class LocalDisk:
    """The file systems of this machine, as one session writes to them."""

    _entered: set[Path] = field(init=False, factory=set["Path"])

    def enter(self, folder: Path) -> list[Path]:
        """
        Make *folder*; the first time, also remove stale parts in it.

        Returns:
            The directories that were missing, outermost first.
        """
        missing: list[Path] = []
        if not folder.exists():
            missing = [each for each in folder.parents if not each.exists()]
            missing = [*reversed(missing), folder]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            for each in reversed(missing):  # those it got to
                with contextlib.suppress(OSError):
                    each.rmdir()
            raise
        if folder not in self._entered:
            self._entered.add(folder)
            _remove_stale(folder)
        return missing

    def create(self, path: Path) -> int:
        """Open a new file at *path*, through no link, and return its descriptor."""
        return os.open(path, _CREATE, 0o666)

    def link(self, part: Path, path: Path) -> None:
        """Give *part* a second name; ``FileExistsError`` where there is something."""
        path.hardlink_to(part)

    def replace(self, part: Path, path: Path) -> None:
        """Give *part* the name *path*, whatever has it."""
        part.replace(path)

    def move(self, part: Path, path: Path) -> None:
        """Give *part* a name that is free; ``FileExistsError`` where it is not."""
        try:
            self.link(part, path)
        except FileExistsError:
            raise
        except OSError:  # no links there (FAT, some shares); other reasons come again
            os.close(self.create(path))
            try:
                self.replace(part, path)
            except OSError:
                self.unlink(path)
                raise
        self.unlink(part)

    def unlink(self, *paths: Path) -> None:
        """Remove files; those that are not there, or cannot be, are left."""
        for path in paths:
            # No way there means that nothing is there.
            with contextlib.suppress(OSError, ValueError):
                path.unlink()

    def flush(self, descriptor: int) -> None:
        """Make what is in an open file or directory durable."""
        os.fsync(descriptor)

    def sync(self, descriptor: int) -> None:
        """Make an open file durable, where there is something to make durable."""
        try:
            self.flush(descriptor)
        except OSError as error:
            if not self.is_never_durable(error):
                raise

    def sync_folder(self, folder: Path) -> None:
        """Make the names in *folder* durable; raises ``OSError`` where it cannot."""
        if not hasattr(os, "O_DIRECTORY"):  # pragma: no cover  nox -s portable
            return  # Windows opens no directory
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.flush(opened)
        finally:
            os.close(opened)

    def is_never_durable(self, error: OSError) -> bool:
        """Return whether *error* says that nothing there can be made durable."""
        return error.errno in _NOT_SYNCED


def _remove_stale(folder: Path) -> None:
    oldest = time.time() - STALE_S
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if (
                _PART.fullmatch(entry.name)
                and entry.stat(follow_symlinks=False).st_mtime < oldest
            ):
                os.unlink(entry)  # noqa: PTH108  a DirEntry
