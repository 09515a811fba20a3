"""
The one question the program asks: whether to pay for something a second time.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from apimodels_async import ConfigurationError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apimodels_async.cli.output import Output


async def confirm(before: Mapping[int, str], output: Output, *, yes: bool) -> None:
    """
    Ask whether rows of unknown outcome are to be ordered again; there must be a yes.

    Args:
        before: Number -> the journal's word for how far an order got.

        yes: It was given already.

    Raises:
        InvalidRequestError: Nobody can be asked.
        ConfigurationError: The answer was no.
    """
    count = sum(state in {"unknown", "intended"} for state in before.values())
    if yes or not count:
        return
    if not sys.stdin.isatty() or not output.lively:
        msg = f"{count} orders may be paid for twice: say so with --yes"
        raise InvalidRequestError(msg, parameter="yes")
    output.note(
        f"{count} orders of unknown outcome are ordered again; what was charged "
        "already is then paid for twice. Go on? [y/N] ",
        "yellow",
    )
    if (await _line()).strip().lower() not in {"y", "yes"}:
        msg = "nothing was ordered: the answer was not yes"
        raise ConfigurationError(msg)


async def _line() -> str:
    # Not input(): Ctrl-C could not end it before the line is complete.
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    number = sys.stdin.fileno()
    loop.add_reader(number, _tell, ready)
    try:
        await ready
    finally:
        loop.remove_reader(number)
    return sys.stdin.readline()


def _tell(ready: asyncio.Future[None]) -> None:
    if not ready.done():  # the loop may call once more before the reader is gone
        ready.set_result(None)
