"""
aiohttp's pool of connections, counted, and without those that have something to say.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import WeakKeyDictionary, WeakSet

import aiohttp

from apimodels_async._io.http.bodies import CLOSED
from apimodels_async._io.http.silence import look_at
from apimodels_async._version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import AddrInfoType

    from apimodels_async._io.http.network import Network

KEEPALIVE_S: Final = 15.0
"""aiohttp's own. Longer than a sweep, so that polls reuse connections."""
DNS_TTL_S: Final = 10
HEAD_BYTES_MAX: Final = 1 << 16
"""Of one header field of an answer."""
SWITCHED: Final = 101
"""Status of the last answer over a connection that is HTTP."""
LARGE: Final = 1 << 14
"""
Bytes of a body that may be refused before it is read. Whether a server that keeps the
connection then reads the rest nobody can see: what does not lie in our own buffers may
lie in two kernels'. So who comes next does not queue behind it.
"""
USER_AGENT: Final = (
    f"apimodels-async-python/{__version__} "
    f"aiohttp/{aiohttp.__version__} python/{sys.version_info[0]}.{sys.version_info[1]}"
)


class Connector(aiohttp.TCPConnector):
    """
    Hands out no idle connection that has something to read: bytes nobody asked for,
    or its end.

    See ``apimodels_async._io.http.silence``.

    Args:
        judge: Called with each address before it is connected to; may raise.
    """

    def __init__(
        self, *, judge: Callable[[str], None] = lambda _address: None, **options: Any
    ) -> None:
        self._judge = judge
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._protocols: WeakSet[ResponseHandler] = WeakSet()
        """And not the transports: those of uvloop cannot be referred to weakly."""
        self._own_loop = asyncio.get_running_loop()
        self._hung_up = False
        super().__init__(
            ttl_dns_cache=DNS_TTL_S, socket_factory=self._open_socket, **options
        )
        self._is_readable: WeakKeyDictionary[
            asyncio.BaseProtocol, Callable[[], bool]
        ] = WeakKeyDictionary()
        """Of each connection that was handed out before."""

    def _open_socket(self, address: AddrInfoType) -> socket.socket:
        family, kind, proto, _, where = address
        self._judge(str(where[0]))
        opened = socket.socket(family, kind, proto)
        self._sockets.add(opened)
        return opened

    @property
    def open_sockets(self) -> int:
        """Connections, idle ones included."""
        return sum(opened.fileno() >= 0 for opened in self._sockets)

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  its signature
    ) -> aiohttp.connector.Connection:
        """
        Return a connection as aiohttp does: a new one, or an idle one that is silent.

        Nothing is awaited between the look at an idle one and the return.
        """
        while True:
            if self.closed:  # aiohttp would connect, and then find out
                raise RuntimeError(CLOSED)
            connection = await super().connect(req, traces, timeout)
            protocol = cast("ResponseHandler", connection.protocol)  # it is connected
            # Connected, and nothing was awaited since.
            transport = cast("asyncio.Transport", protocol.transport)
            is_readable = self._is_readable.get(protocol)
            if is_readable is None:
                self._is_readable[protocol] = look_at(transport)
                self._protocols.add(protocol)
                return connection
            if not protocol.should_close and not is_readable():
                return connection
            transport.abort()
            connection.close()

    @property
    def closed(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._hung_up or super().closed

    def hang_up(self) -> None:
        """
        Cut all connections, also those that are closing.

        One whose server does not read, or says no goodbye, would take its time, and
        aiohttp's close waits for the former (measured with 3.14.5: for ever).
        """
        self._hung_up = True
        if not self._own_loop.is_closed():
            for protocol in self._protocols:
                if protocol.transport is not None:
                    protocol.transport.abort()
            # Those that are closing. Closed twice, as aiohttp does where junk follows
            # an answer, one of TLS cannot be aborted (Python 3.11-3.13), either.
            for opened in self._sockets:
                with suppress(OSError):
                    opened.shutdown(socket.SHUT_RDWR)

    async def close(self, *, abort_ssl: bool = False) -> None:
        """Cut all connections, and close."""
        self.hang_up()
        # Not TCPConnector's at once: that one asks each connection whether it is TLS,
        # and one that was closed twice raises (measured with 3.14.5).
        await aiohttp.BaseConnector.close(self)
        await super().close(abort_ssl=abort_ssl)


class Pool:
    """
    The connections of one session: of what is free, and of orders.

    Args:
        most: Connections of each kind at most.
        fresh: An order has a connection of its own, which is closed after it.
        network: Whose certificates are trusted.
        lent: A user's; it stays open.
    """

    def __init__(
        self,
        most: int,
        *,
        fresh: bool,
        network: Network | None = None,
        lent: aiohttp.BaseConnector | None = None,
    ) -> None:
        trusted = (network.ssl if network is not None else None) or True
        options: dict[str, Any] = {"limit": most, "ssl": trusted}
        self.free = lent or Connector(keepalive_timeout=KEEPALIVE_S, **options)
        self.paid = Connector(force_close=True, **options) if fresh else self.free
        self._lent = lent

    @property
    def connections(self) -> int | None:
        """Open connections, idle ones included; None where they are lent."""
        if self._lent is not None:
            return None
        return sum(
            each.open_sockets
            for each in {self.free, self.paid}
            if isinstance(each, Connector)
        )

    async def aclose(self) -> None:
        """Close those that are ours."""
        # aiohttp's own are lent.
        ours = {each for each in (self.free, self.paid) if isinstance(each, Connector)}
        for each in ours:
            each.hang_up()
        for each in ours:
            await each.close()
