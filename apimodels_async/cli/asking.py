"""Questions to whoever typed the command, before something that may cost twice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from typing import TYPE_CHECKING, Final

from apimodels_async import ConfigurationError, InvalidRequestError

if TYPE_CHECKING:
    from typing import TextIO

    from apimodels_async.cli.output import Output

LINE_BYTES_MAX: Final = 1024


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


async def _read_line(stdin: TextIO) -> str:
    # Not input(): Ctrl-C could not end it before the line is complete. Not the loop's
    # reader: on Windows it has none for a console. The thread takes no lock of stdin's,
    # for which the interpreter would wait at exit.
    loop, number = asyncio.get_running_loop(), stdin.fileno()
    line: asyncio.Future[bytes] = loop.create_future()

    def hand_over(data: bytes) -> None:
        if not line.done():
            line.set_result(data)

    def read() -> None:
        data = b""
        with contextlib.suppress(OSError):  # the terminal is gone
            data = os.read(number, LINE_BYTES_MAX)
        with contextlib.suppress(RuntimeError):  # the loop is
            loop.call_soon_threadsafe(hand_over, data)

    threading.Thread(target=read, name="apimodels-asking", daemon=True).start()
    return (await line).decode(errors="replace")
