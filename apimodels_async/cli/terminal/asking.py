"""
Questions to whoever typed the command: before what may cost twice, and for the key.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import sys
import threading
from typing import TYPE_CHECKING, Final

from apimodels_async import ConfigurationError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from apimodels_async.cli.output import Output

LINE_BYTES_MAX: Final = 4096


async def confirm(
    question: str,
    output: Output,
    *,
    needed: str,
    otherwise: str,
    stdin: TextIO | None = None,
) -> None:
    """
    Ask *question*; there must be a yes.

    Args:
        needed: What to say where nobody can be asked: which option answers it.

        otherwise: What was not done, after any other answer.

        stdin: Where the answer comes from; else the process's own.

    Raises:
        InvalidRequestError: Nobody can be asked.
        ConfigurationError: The answer was no.
    """
    stdin = sys.stdin if stdin is None else stdin
    if stdin is None or not stdin.isatty() or not output.interactive:
        raise InvalidRequestError(needed, parameter="yes")
    output.note(f"{question} [y/N] ", "yellow")
    if (await _read_line(stdin)).strip().lower() not in {"y", "yes"}:
        msg = f"{otherwise}: the answer was not yes"
        raise ConfigurationError(msg)


async def read_secret(
    question: str, output: Output, stdin: TextIO | None = None
) -> str:
    """
    Return a line that nobody else is to see: typed unseen, or piped in.

    Args:
        stdin: Where it comes from; else the process's own.

    Raises:
        ConfigurationError: Stdin is closed.
    """
    stdin = sys.stdin if stdin is None else stdin
    if stdin is None:
        msg = "stdin is closed"
        raise ConfigurationError(msg)
    if not stdin.isatty():
        return (await _read_line(stdin)).strip()
    output.note(question, "yellow")
    if sys.platform == "win32":  # pragma: no cover
        # The standard library knows how to keep a console quiet.
        line = (await in_thread(_type_unseen)).decode()
    else:
        import termios

        number = stdin.fileno()
        before = termios.tcgetattr(number)
        quiet = [*before]
        quiet[3] &= ~termios.ECHO
        termios.tcsetattr(number, termios.TCSADRAIN, quiet)
        try:
            line = await _read_line(stdin)
        finally:  # Ctrl-C comes here as a cancellation
            termios.tcsetattr(number, termios.TCSADRAIN, before)
    return line.strip()


def _type_unseen() -> bytes:  # pragma: no cover
    return getpass.getpass("").encode()


async def _read_line(stdin: TextIO) -> str:
    number = stdin.fileno()
    try:
        data = await in_thread(lambda: read_pieces(number, LINE_BYTES_MAX, end=b"\n"))
    except OSError:  # the terminal is gone
        return ""
    return data.decode(errors="replace")


def read_pieces(number: int, most: int, end: bytes | None = None) -> bytes:
    """
    Return what comes from a file descriptor, to its end or past *end*. Blocks.

    Not input(): Ctrl-C could not end it before the line is complete. Not the loop's
    reader: on Windows it has none for a console. No lock of stdin's is taken, for which
    the interpreter would wait at exit.

    Args:
        most: Bytes after which nothing more is read.

    Raises:
        OSError: It cannot be read to its end: a part of it is not what was meant.
    """
    data = b""
    while len(data) < most and (end is None or end not in data):
        piece = os.read(number, most)
        if not piece:
            break
        data += piece
    return data


async def in_thread(read: Callable[[], bytes]) -> bytes:
    """
    Return what *read* does, in a thread that nobody waits for.

    Cancelling it ends the wait at once; what is read after that is lost.

    Raises:
        OSError: As *read* did.
    """
    loop = asyncio.get_running_loop()
    line: asyncio.Future[bytes] = loop.create_future()

    def hand_over(data: bytes, error: OSError | None) -> None:
        if line.done():
            return
        if error is None:
            line.set_result(data)
        else:
            line.set_exception(error)

    def run() -> None:
        data, trouble = b"", None
        try:
            data = read()
        except OSError as error:
            trouble = error
        with contextlib.suppress(RuntimeError):  # the loop is gone
            loop.call_soon_threadsafe(hand_over, data, trouble)

    threading.Thread(target=run, name="apimodels-asking", daemon=True).start()
    return await line
