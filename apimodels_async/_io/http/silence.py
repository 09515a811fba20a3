"""
Whether an idle connection has something to say: bytes nobody asked for, or its end.

aiohttp would take such bytes for the answer to the next request, and that one's answer
for the one after it (aio-libs/aiohttp#13656; measured with 3.14.5). A synchronous
picture carries no id by which that could be noticed later. Source: httpcore treats an
idle connection that is readable as dead.
"""

from __future__ import annotations

import select
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


def look_at(transport: asyncio.Transport) -> Callable[[], bool]:
    """Return what tells whether the kernel holds input that the loop has not read."""
    sock = transport.get_extra_info("socket")
    descriptor = sock.fileno()
    # Closed, its number may be another one's by now.
    if sys.platform != "win32" and hasattr(select, "poll"):
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        return lambda: sock.fileno() != descriptor or bool(poller.poll(0))
    # The proactor of Windows reads ahead: what has come in this very turn of the loop
    # nobody sees yet. What came before it has told aiohttp, which closes then.
    return lambda: (
        sock.fileno() != descriptor or bool(select.select([descriptor], [], [], 0)[0])
    )
