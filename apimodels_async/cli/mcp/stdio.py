"""
Stdin and stdout as *mcp* gets them: the first can be ended, the second fails once.
"""

from __future__ import annotations

import contextlib
import io
import os
import queue
import sys
import threading
from typing import TYPE_CHECKING, Final

import anyio

from apimodels_async.cli.terminal.streams import Failure

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer
    from typing_extensions import Buffer

PIECE_BYTES: Final = 1 << 16


async def serve(server: MCPServer) -> Failure | None:
    """
    Serve *server* on stdin and stdout until stdin ends, or stdout fails.

    The library reads stdin in a thread that nothing can interrupt but the end of stdin.
    So it is given one of ours in its place, which ends with this call.

    Returns:
        Why stdout failed, if it did; seen at the client's next message.
    """
    source, stdin = ProtocolInput(0), sys.stdin
    sys.stdin = io.TextIOWrapper(io.BufferedReader(source), encoding="utf-8")
    failure = None
    try:
        with contextlib.redirect_stdout(ProtocolOutput(1)):
            async with anyio.create_task_group() as group:
                group.start_soon(_run, server, group.cancel_scope)
                try:
                    await anyio.sleep_forever()  # where a cancellation comes
                finally:
                    source.end()
    except* OSError as broken:
        failure = Failure.of(_first(broken))
    finally:
        sys.stdin = stdin
    return failure


async def _run(server: MCPServer, scope: anyio.CancelScope) -> None:
    await server.run_stdio_async()
    scope.cancel()


def _first(group: BaseExceptionGroup[OSError]) -> OSError:
    error = group.exceptions[0]
    return error if isinstance(error, OSError) else _first(error)


class ProtocolInput(io.RawIOBase):
    """
    What a thread of ours reads from a descriptor, until we end it.

    That thread is left waiting, as nothing else ends a read on every platform; a daemon
    that holds no lock, it keeps the process from nothing.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self._pieces: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        """b"" is the end."""
        self._left = b""
        self._ended = False
        """The end is read more than once."""
        threading.Thread(
            target=self._fill, args=(number,), name="apimodels-stdin", daemon=True
        ).start()

    def _fill(self, number: int) -> None:
        with contextlib.suppress(OSError):  # whoever wrote to it is gone
            while data := os.read(number, PIECE_BYTES):
                self._pieces.put(data)
        self._pieces.put(b"")

    def end(self) -> None:
        """Let whoever reads it see its end."""
        self._pieces.put(b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Buffer) -> int:
        """Fill *buffer* with what is there, at least one byte; 0: it has ended."""
        place = memoryview(buffer).cast("B")
        if not self._left and not self._ended:
            self._left = self._pieces.get()
            self._ended = not self._left
        size = min(len(place), len(self._left))
        place[:size], self._left = self._left[:size], self._left[size:]
        return size


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
        self.buffer: RawOutput = RawOutput(number)

    def write(self, text: str) -> int:
        """Write *text* to stderr."""
        return sys.stderr.write(text)
