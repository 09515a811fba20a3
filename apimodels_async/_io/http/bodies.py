"""
The body of an answer, read so that what had arrived of it is known however it ends.

aiohttp's reader, left alone, waits for ever where a chunk is broken or the pool is
closed under it, takes a body that a reset cut for whole if no length was told, and
keeps what came just before an error to itself (each measured with 3.14.5).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import aiohttp

from apimodels_async._io.http.failures import TooLargeError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator, Mapping

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.streams import StreamReader

CLOSED: Final = "Connector is closed"
"""aiohttp's words for it."""
_BODILESS: Final = {101, 204, 304}


async def read_into(
    arrived: bytearray, payload: StreamReader, protocol: ResponseHandler, limit: int
) -> None:
    """Read *payload* piece by piece, so that of one that is cut the start is kept."""
    if payload.at_eof():
        return
    with _told_of_loss(payload, protocol):
        while not payload.at_eof():
            try:
                arrived += await payload.readany()
            except Exception:
                # An error overtakes the bytes that came with it.
                arrived += b"".join(getattr(payload, "_buffer", ()))
                raise
            if len(arrived) > limit:
                raise TooLargeError(limit)


def check_end(
    status: int, headers: Mapping[str, str], protocol: ResponseHandler, *, closed: bool
) -> None:
    """
    Raise where a body that told no length was not ended by the server.

    Its end is the end of the connection; whose doing that was, aiohttp does not ask.

    Args:
        closed: Whether the connection pool is: then it was ours.
    """
    if status in _BODILESS or "Content-Length" in headers:
        return
    if "chunked" in headers.get("Transfer-Encoding", "").lower():
        return
    if closed:
        raise RuntimeError(CLOSED)
    error = protocol.exception()
    if error is not None and not isinstance(error, aiohttp.ServerDisconnectedError):
        raise error


@contextmanager
def _told_of_loss(payload: StreamReader, protocol: ResponseHandler) -> Iterator[None]:
    """See to it that who waits for *payload* hears when its connection is lost."""

    def tell(_lost: object) -> None:
        if not payload.is_eof() and payload.exception() is None:
            error = protocol.exception() or aiohttp.ServerDisconnectedError()
            payload.set_exception(error)

    lost = protocol.closed
    if lost is None:  # it was, before now
        tell(lost)
        yield
        return
    lost.remove_done_callback(_heard)  # of an answer before this one
    lost.add_done_callback(_heard)
    lost.add_done_callback(tell)
    try:
        yield
    finally:
        lost.remove_done_callback(tell)


def _heard(lost: asyncio.Future[None]) -> None:
    # asyncio logs an error that nobody has looked at.
    if not lost.cancelled():
        lost.exception()
