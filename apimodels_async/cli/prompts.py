"""The prompt of one picture: as it is typed, from a file, or from stdin."""

from __future__ import annotations

import asyncio
import errno
import sys
from pathlib import Path
from typing import Final

from apimodels_async import InvalidRequestError
from apimodels_async.cli.terminal.asking import in_thread, read_pieces

SIGN: Final = "@"
STDIN: Final = "@-"
BYTES_MAX: Final = 1 << 20
"""No model takes as much; a picture given by mistake is not read whole."""


async def read_prompt(given: str | None) -> str | None:
    """
    Return the prompt that *given* means: ``@file`` its text, ``@-`` that of stdin.

    A prompt that begins with ``@`` is written with two. Cancelling it leaves stdin to
    whoever reads it next.

    Raises:
        InvalidRequestError: It cannot be read, is empty, too long or not UTF-8.
    """
    if given is None or not given.startswith(SIGN):
        return given
    if given.startswith(SIGN * 2):
        return given[1:]
    path = Path(given.removeprefix(SIGN))
    name = "stdin" if given == STDIN else str(path)
    try:
        if given == STDIN:
            data = await _read_stdin()
        else:
            data = await asyncio.to_thread(_read_file, path)
    except OSError as error:  # the beginning of a prompt is another prompt
        return _refuse(name, error.strerror or str(error))
    return _text(name, data)


async def _read_stdin() -> bytes:
    if sys.stdin is None:
        raise OSError(errno.EBADF, "it is closed")
    number = sys.stdin.fileno()
    return await in_thread(lambda: read_pieces(number, BYTES_MAX + 1))


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(BYTES_MAX + 1)


def _text(name: str, data: bytes) -> str:
    if len(data) > BYTES_MAX:
        return _refuse(name, "it is longer than any prompt")
    try:
        text = data.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return _refuse(name, "it is not text in UTF-8")
    return text or _refuse(name, "it is empty")


def _refuse(name: str, reason: str) -> str:
    msg = f"the prompt cannot be read from {name}: {reason}"
    raise InvalidRequestError(msg, parameter="prompt")
