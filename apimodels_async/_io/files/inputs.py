"""
Input files: read from disk, from memory or from an open file, named and typed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Coroutine
from functools import partial
from pathlib import Path, PurePath
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import anyio
import anyio.to_thread

from apimodels_async._api.checks import AWAIT_FIRST
from apimodels_async._core.files.keeping import too_large
from apimodels_async._core.files.media import HEAD_BYTES, suffix_of, type_of
from apimodels_async._ports import File
from apimodels_async._text import printable
from apimodels_async.errors import InvalidRequestError

if TYPE_CHECKING:
    import array
    import mmap
    import os

UPLOAD_BYTES_MAX: Final = 100 << 20
"""Unless told otherwise. Read into memory; pictures have 1-30 MB."""
PIECE_BYTES: Final = 1 << 20
NAME_CHARS, SHOWN_CHARS = 200, 300
_ADDRESS: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
"""A ``Path`` has made one slash of two."""
ELSEWHERE: Final = (
    "an http(s) address is given to the order as it is; what is at any other, fetch "
    "into a file, and give that"
)


class Readable(Protocol):
    """An open binary file, or what behaves like one."""

    def read(self, size: int = ..., /) -> bytes:
        """Return at most *size* bytes; b"" at the end."""
        ...


Source: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | array.array[Any] | mmap.mmap | Readable"  # noqa: E501  one string
"""What can be uploaded."""


async def load_file(
    source: Source,
    name: str | None,
    content_type: str | None,
    threads: anyio.CapacityLimiter,
    max_bytes: int = UPLOAD_BYTES_MAX,
) -> File:
    """
    Return the file to send.

    Raises:
        InvalidRequestError: It cannot be read, is empty or too large, or of no known
            type.
    """
    data, given = await _read(source, threads, max_bytes)
    if len(data) > max_bytes:
        raise _refusal(source, too_large(max_bytes))
    if not data:
        raise _refusal(source, "there is nothing in it")
    suffix = suffix_of(data[:HEAD_BYTES])
    named = _safe_name(name or given or "") or f"image{suffix or ''}"
    found = content_type or type_of(f"x{suffix}" if suffix else named)
    if found is None:
        msg = "the type of the file cannot be told: pass content_type="
        raise InvalidRequestError(msg, parameter="content_type")
    return File(named, found, data)


async def _read(
    source: Any, threads: anyio.CapacityLimiter, most: int
) -> tuple[bytes, str | None]:
    """Return the bytes of *source*, a few too many at most, and its own name."""
    # Pictures as arrays (numpy, torch, Pillow) have bytes, but not those of a file.
    if hasattr(source, "__array_interface__") or hasattr(source, "__array__"):
        raise _refusal(
            source,
            "an array or an open picture is no file: save it as PNG into an "
            "io.BytesIO, and upload that",
        )
    if isinstance(source, bytes):
        return source, None
    if isinstance(source, str) or hasattr(source, "__fspath__"):
        read = partial(_read_path, source, most)
        return await anyio.to_thread.run_sync(read, limiter=threads)
    try:
        with memoryview(source) as whole:  # bytearray, memoryview, array, mmap
            return whole.tobytes(), None
    except (TypeError, ValueError, BufferError):
        pass
    if not callable(getattr(source, "read", None)):
        raise _refusal(source, "pass a path, bytes, or a file opened with 'rb'")
    data = await anyio.to_thread.run_sync(
        partial(_read_open, source, most), limiter=threads
    )
    name = getattr(source, "name", None)  # a number where it has no other
    return data, name if isinstance(name, str) else None


def _read_path(source: Any, most: int) -> tuple[bytes, str]:
    reason: object = None
    try:
        path = Path(source)
        # By reading, as a device or a pipe has no size to look at.
        with path.open("rb") as file:
            if path.stat().st_size > most:
                return bytes(most + 1), path.name
            return file.read(most + 1), path.name
    except OSError as error:
        reason = error.strerror
        address = _ADDRESS.match(str(source))
        if address:  # of it no more is told: it may hold a password
            source, reason = f"what is at {address[1]}://", ELSEWHERE
    except (TypeError, ValueError) as error:  # a path of bytes, a NUL in it
        reason = error
    raise _refusal(source, str(reason))


def _read_open(source: Any, most: int) -> bytes:
    reason: object = None
    try:
        data = _pieces(source, most)
        seekable = getattr(source, "seekable", None)
        if not data and callable(seekable) and seekable():
            source.seek(0)  # who has just written it stands at its end
            data = _pieces(source, most)
    except OSError as error:
        reason = error.strerror or error
    except ValueError as error:  # closed
        reason = error
    else:
        return data
    raise _refusal(source, str(reason))


def _pieces(source: Any, most: int) -> bytes:
    found = bytearray()
    while len(found) <= most:
        piece: object = source.read(min(PIECE_BYTES, most + 1 - len(found)))
        if isinstance(piece, (bytes, bytearray, memoryview)):
            if not piece:
                break
            found += piece
        elif isinstance(piece, str):
            raise _refusal(source, "it was opened as text: open it with 'rb'")
        else:
            if isinstance(piece, Coroutine):
                piece.close()  # or it warns that nobody awaited it
            raise _refusal(
                source,
                f"its read() gives {type(piece).__name__}, not bytes: read it yourself "
                "and pass the bytes",
            )
    return bytes(found)


def _safe_name(name: str) -> str:
    """Return *name* fit for a header and a URL: no folder, no control characters."""
    last = PurePath(name.replace("\\", "/")).name
    plain = "".join(map(_plain, unicodedata.normalize("NFC", last)))
    stem, dot, end = " ".join(plain.split()).strip(" .").rpartition(".")
    return (stem[:NAME_CHARS] + dot + end)[-NAME_CHARS - 20 :].strip()


def _plain(char: str) -> str:
    category = unicodedata.category(char)
    if category == "Cs":  # of a name on disk that is no UTF-8
        return "_"
    return " " if category[0] in "CZ" else char


def _refusal(source: object, reason: str) -> InvalidRequestError:
    is_path = isinstance(source, str) or hasattr(source, "__fspath__")
    shown = str(source) if is_path else type(source).__name__
    shown = printable(shown, SHOWN_CHARS)
    if isinstance(source, CoroutineType):
        reason = AWAIT_FIRST
    msg = f"cannot upload {shown}: {reason}"
    return InvalidRequestError(msg, parameter="source")
