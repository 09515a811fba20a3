"""
Pictures inside requests and results (``data:`` URLs), kept as files beside a store.

In the store's own text each is named by its digest, so that it stays small.

Rules of this file:
1. A name in the store leads to what it names, or to nothing: a file is durable before
   the text that names it is, and one whose content has changed is none.
2. A name that a user or the API wrote is text, and leads nowhere.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from attrs import define

from apimodels_async._core.files.inline import unpack
from apimodels_async._core.files.media import suffix_for
from apimodels_async._io.files.disk import LocalDisk

if TYPE_CHECKING:
    from pathlib import Path

INLINE: Final = re.compile(r'data:([\w.+/-]{0,80});base64,[^"\\\s]{512,}')
"""In JSON text. A shorter one is no burden."""
NAMED: Final = re.compile(r"(data|bare):([\w.+/-]{0,80});sha256,([0-9a-f]{64})")
"""``bare``: only the base64 text, which a raw answer has beside its data URL."""

OURS: Final = re.compile(r"\.?([0-9a-f]{64})\.\w+(\.\d+\.part)?")
"""Names of our files: a digest; and, before it is whole, who writes it."""

NAMES: Final = ";sha256,"
SPELT_OUT: Final = ";\\u0073ha256,"
"""The same in JSON, and no name of ours."""


@define(eq=False)
class PictureFolder:
    """The folder of one store; its methods block, and raise ``OSError``."""

    path: Path

    def take_out(self, text: str) -> str:
        """
        Keep every inline picture of *text*, which is JSON, as a file, and name it in
        its place; the files are durable on return.
        """
        text = text.replace(NAMES, SPELT_OUT)
        if ";base64," not in text:
            return text
        payloads = {}
        for found in INLINE.finditer(text):
            if (name := self._keep(found)) != found[0]:
                payloads[found[0].partition(",")[2]] = name
                text = text.replace(found[0], name)
        if payloads:
            self._sync()
        for payload, name in payloads.items():
            text = text.replace(f'"{payload}"', f'"bare{name[len("data") :]}"')
        return text

    def _keep(self, found: re.Match[str]) -> str:
        data = unpack(found[0])
        if data is None:
            return found[0]
        digest = hashlib.sha256(data).hexdigest()
        path = self._file(found[1], digest)
        if not _holds(path, digest):
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
        return f"data:{found[1]};sha256,{digest}"

    def put_back(self, text: str) -> str:
        """
        Return *text* with its pictures; one whose file is gone or damaged stays a name.
        """
        if NAMES not in text:
            return text
        return NAMED.sub(self._fetch, text)

    def _fetch(self, found: re.Match[str]) -> str:
        with suppress(OSError):
            data = self._file(found[2], found[3]).read_bytes()
            if hashlib.sha256(data).hexdigest() == found[3]:
                text = base64.b64encode(data).decode()
                return text if found[1] == "bare" else f"data:{found[2]};base64,{text}"
        return found[0]

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
        return hashlib.sha256(path.read_bytes()).hexdigest() == digest
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


def digests_in(text: str | bytes) -> set[str]:
    """Return the digests of the pictures that *text*, perhaps damaged, names."""
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    return {found[3] for found in NAMED.finditer(text)}
