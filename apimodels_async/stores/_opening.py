"""
Opening a file in a thread, for a caller who may be cancelled meanwhile.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from apimodels_async.stores._writer import Writer


async def open_in_thread(acquire: Callable[[], Writer]) -> Writer:
    """
    Return the writer that *acquire* opens, which blocks.

    Cancelled it opens nothing any more, and what it has opened is closed: callers who
    give up at once must not let a queue grow before those who wait.
    """
    left = False

    def work() -> Writer | None:
        return None if left else acquire()

    opening = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return cast("Writer", await asyncio.shield(opening))
    except asyncio.CancelledError:
        left = True
        opening.add_done_callback(_let_go)
        raise


def _let_go(opening: asyncio.Future[Writer | None]) -> None:
    if opening.cancelled() or opening.exception() is not None:
        return
    writer = opening.result()
    if writer is None:
        return
    try:
        opening.get_loop().run_in_executor(None, writer.release)
    except RuntimeError:  # the loop is ending, and its executor has
        writer.release()
