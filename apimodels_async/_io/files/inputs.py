"""
Input files: read from disk, named and typed.
"""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from apimodels_async._core.files.media import HEAD_BYTES, suffix_of
from apimodels_async._ports import File
from apimodels_async.errors import InvalidRequestError

if TYPE_CHECKING:
    import os

UPLOAD_BYTES_MAX: Final = 100 << 20
"""Read into memory; pictures have 1-30 MB."""


async def load_file(
    source: str | os.PathLike[str] | bytes,
    name: str | None,
    content_type: str | None,
    threads: anyio.CapacityLimiter,
) -> File:
    """
    Return the file to send.

    Raises:
        InvalidRequestError: It cannot be read, is too large, or of no known type.
    """
    if isinstance(source, bytes):
        data, given = source, name
    else:
        path = Path(source)
        data = await anyio.to_thread.run_sync(_read, path, limiter=threads)
        given = name or path.name
    suffix = suffix_of(data[:HEAD_BYTES])
    named = given or f"image{suffix or ''}"
    found = content_type or mimetypes.guess_type(f"x{suffix}" if suffix else named)[0]
    if found is None:
        msg = "the type of the file cannot be told: pass content_type="
        raise InvalidRequestError(msg, parameter="content_type")
    return File(named, found, data)


def _read(path: Path) -> bytes:
    reason: str | None = None
    try:
        if path.stat().st_size <= UPLOAD_BYTES_MAX:
            return path.read_bytes()
        reason = f"larger than {UPLOAD_BYTES_MAX >> 20} MiB"
    except OSError as error:
        reason = error.strerror
    msg = f"cannot upload {path}: {reason}"
    raise InvalidRequestError(msg, parameter="source")
