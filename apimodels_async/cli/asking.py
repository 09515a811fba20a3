"""Questions to whoever typed the command, before something that may cost twice."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from apimodels_async import ConfigurationError, InvalidRequestError

if TYPE_CHECKING:
    from typing import TextIO

    from apimodels_async.cli.output import Output


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
    # Not input(): Ctrl-C could not end it before the line is complete.
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    number = stdin.fileno()
    loop.add_reader(number, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(number)
    return stdin.readline()
