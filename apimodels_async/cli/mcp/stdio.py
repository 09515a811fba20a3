"""
Stdin and stdout as *mcp* gets them: the first can be ended, the second fails once.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
from typing import TYPE_CHECKING

import anyio

from apimodels_async.cli.streams import Failure

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer
    from typing_extensions import Buffer


async def serve(server: MCPServer) -> Failure | None:
    """
    Serve *server* on stdin and stdout until stdin ends, or stdout fails.

    The library reads stdin in a thread that nothing can interrupt but the end of stdin.
    So it is given a pipe of ours in its place, which ends with this call.

    Returns:
        Why stdout failed, if it did; seen at the client's next message.
    """
    source = os.dup(0)
    ours, theirs = os.pipe()
    os.dup2(ours, 0)
    os.close(ours)
    failure = None
    try:
        with contextlib.redirect_stdout(ProtocolOutput(1)):
            async with anyio.create_task_group() as group:
                group.start_soon(server.run_stdio_async)
                await _pump(source, theirs)
    except* OSError as broken:
        failure = Failure.of(_first(broken))
    finally:
        os.dup2(source, 0)
        os.close(source)
    return failure


def _first(group: BaseExceptionGroup[OSError]) -> OSError:
    error = group.exceptions[0]
    return error if isinstance(error, OSError) else _first(error)


async def _pump(source: int, target: int) -> None:
    try:
        while data := await _read(source):
            await anyio.wait_writable(target)
            os.write(target, data)
    finally:
        os.close(target)


async def _read(source: int) -> bytes:
    # A file is always ready, and the selector says so by refusing it.
    with contextlib.suppress(PermissionError):
        await anyio.wait_readable(source)
    # A pipe that is writable takes this much without blocking.
    return os.read(source, select.PIPE_BUF)


class RawOutput(io.RawIOBase):
    """
    A descriptor that is written to without a buffer, and fails once.

    What a buffer could not write is tried again when it is collected, and Python would
    print a traceback then.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number
        self._failed = False

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Buffer) -> int:
        """Write all of *data*, or drop it after the first failure."""
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while left and not self._failed:
                left = left[os.write(self._number, left) :]
        except OSError:
            self._failed = True
            raise
        return size


class ProtocolOutput(io.TextIOBase):
    """Stdout while the protocol has it: text that strays there goes to stderr."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.buffer = RawOutput(number)

    def write(self, text: str) -> int:
        """Write *text* to stderr."""
        return sys.stderr.write(text)
