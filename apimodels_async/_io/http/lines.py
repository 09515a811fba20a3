"""
Connections to one place, kept from one request to the next.

aiohttp's connector makes them, counts them and closes them; between two requests they
stay with us, as taking one back from it costs a tenth of a poll (measured, 2026-11).
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final, cast

import aiohttp
from attrs import define, field

from apimodels_async._io.http.connector import KEEPALIVE_S
from apimodels_async._io.http.silence import look_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection

_NO_TRACES: Final[list[Any]] = []


class Line:
    """One connection, from its first request to its last."""

    __slots__ = ("_connection", "_is_readable", "idle_since", "protocol", "transport")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # It is connected.
        self.protocol = cast("ResponseHandler", connection.protocol)
        self.transport = cast("asyncio.Transport", self.protocol.transport)
        self.idle_since = 0.0
        self._is_readable: Callable[[], bool] | None = None

    def is_silent(self) -> bool:
        """
        Return whether an idle one can carry a request: open, and nothing to be read.
        """
        if not self.protocol.is_connected() or self.protocol.should_close:
            return False
        if self._is_readable is None:
            self._is_readable = look_at(self.transport)
        return not self._is_readable()

    def release(self) -> None:
        """Give the connection back to the connector."""
        self._connection.release()

    def hang_up(self) -> None:
        """Say goodbye, and do not wait for the server's."""
        self._connection.close()
        self.transport.abort()

    def cut(self) -> None:
        """
        Cut the connection.

        Closing would first send the rest of a request that nobody waits for, and wait
        for a goodbye, for as long as the server likes.
        """
        self.transport.abort()
        self._connection.close()


@define(eq=False, repr=False)
class Lines:
    """The lines to one place, through one connector."""

    connector: aiohttp.BaseConnector
    _target: aiohttp.ClientRequest
    kept: bool = field(default=True, kw_only=True)
    """Whether one is kept after its request."""
    keepalive_s: float = field(default=KEEPALIVE_S, kw_only=True)
    _idle: deque[Line] = field(init=False, factory=deque)
    """The youngest at the end."""
    _timer: asyncio.TimerHandle | None = field(init=False, default=None)
    _loop: asyncio.AbstractEventLoop = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    async def take(self, connecting: aiohttp.ClientTimeout) -> Line:
        """
        Return a line: an idle one that is silent, or a new one.

        Nothing is awaited between the look at an idle one and the return. The connector
        is asked only when none is idle: what it counts as taken is under way then.
        """
        while self._idle:
            line = self._idle.pop()
            if line.is_silent():
                return line
            line.cut()
        try:
            made = await self.connector.connect(self._target, _NO_TRACES, connecting)
        except TimeoutError:  # aiohttp's client renames it as well
            raise aiohttp.ConnectionTimeoutError from None
        return Line(made)

    def give_back(self, line: Line) -> None:
        """Keep *line*, over which all has ended well, for another request."""
        if not self.kept or line.protocol.should_close or self.connector.closed:
            line.hang_up()
            return
        line.idle_since = self._loop.time()
        self._idle.append(line)
        if self._timer is None:
            self._timer = self._loop.call_later(self.keepalive_s, self._close_old)

    def spare(self) -> None:
        """Leave an idle line to the connector, for whoever asks that one."""
        if self._idle:
            self._idle.pop().release()

    def _close_old(self) -> None:
        oldest = self._loop.time() - self.keepalive_s
        while self._idle and self._idle[0].idle_since <= oldest:
            self._idle.popleft().hang_up()
        self._timer = None
        if self._idle:
            at = self._idle[0].idle_since + self.keepalive_s
            self._timer = self._loop.call_at(at, self._close_old)

    def close(self) -> None:
        """Close those that are idle."""
        if self._timer is not None:
            self._timer.cancel()
        while self._idle:
            self._idle.pop().hang_up()
