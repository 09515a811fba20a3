"""
How a picture is kept and what it is called, be its place a folder or a bucket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define

from apimodels_async._core.files.media import suffix_in, suffix_of
from apimodels_async._core.files.names import numbered
from apimodels_async.errors import DownloadError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from apimodels_async._core.files.embed import Splice

FILE_BYTES_MAX: Final = 512 << 20
"""Unless told otherwise. Results have 1-8 MB; upscaled to 10K, some 300."""
BUFFER_BYTES: Final = 8 << 20
"""One thread hop per this much; a hop per 64 KB chunk costs 1.5 times the CPU."""
COMPARED_BYTES: Final = 1 << 20
"""Read at once to see whether what is there is the same picture."""
NUMBERS_MAX: Final = 10_000
CUT: Final = "its own format says that its end is missing"
SIDECAR: Final = ".json"


@define(frozen=True, kw_only=True)
class Keeping:
    """How a picture is to be kept."""

    stem: str
    """File name, should the target be a directory."""
    sidecar: bytes | None = None
    """What to put into a file beside it, named ``fox.png.json``."""
    imprint: Callable[[bytes], Splice | None] | None = None
    """Called in a thread with the head of the file; says what to write into it."""
    folder: bool = False
    """The target is a directory, to be made where it is missing."""
    number: int = 1
    """The first to try: from 2 on it is part of the name."""
    overwrite: bool = False
    """Take the place of what is there."""
    max_bytes: int = FILE_BYTES_MAX
    taken: frozenset[object] = frozenset()
    """Where pictures of the same result are, however equal."""

    def check_size(self, size: int) -> None:
        """Raise ``DownloadError`` if *size* bytes are too many."""
        if size > self.max_bytes:
            msg = f"the file is {too_large(self.max_bytes)}"
            raise DownloadError(msg)

    def names(self, wanted: str, suffix: str) -> Iterator[str]:
        """Return the names to try: that of the target, with its number and suffix."""
        stem = wanted.removesuffix(given := suffix_in(wanted))
        beside = "" if self.sidecar is None else SIDECAR
        for number in range(self.number, self.number + NUMBERS_MAX):
            yield numbered(stem, number, given or suffix, beside)


def picture_suffix(head: bytes) -> str:
    """Return the suffix for a picture; ``DownloadError``: *head* begins none."""
    suffix = suffix_of(head)
    if suffix is None:
        msg = "the file is not a picture (PNG, JPEG, WebP, GIF or AVIF)"
        raise DownloadError(msg)
    return suffix


def too_large(most: int) -> str:
    """Return what is said of a file with more than *most* bytes."""
    shown = f"{most} bytes" if most % (1 << 20) else f"{most >> 20} MiB"
    return f"larger than {shown}: max_bytes= sets the limit"
