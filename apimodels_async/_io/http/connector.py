"""
aiohttp's pool of connections, counted, and without those that have something to say.
"""

from __future__ import annotations

import select
import socket
import sys
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import WeakKeyDictionary, WeakSet

import aiohttp

from apimodels_async._version import __version__

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import AddrInfoType

    from apimodels_async._io.http.network import Network

KEEPALIVE_S: Final = 15.0
"""aiohttp's own. Longer than a sweep, so that polls reuse connections."""
DNS_TTL_S: Final = 10
HEAD_BYTES_MAX: Final = 1 << 16
"""Of one header field of an answer."""
USER_AGENT: Final = (
    f"apimodels-async-python/{__version__} "
    f"aiohttp/{aiohttp.__version__} python/{sys.version_info[0]}.{sys.version_info[1]}"
)


class Connector(aiohttp.TCPConnector):
    """
    Hands out no idle connection that has something to read: bytes nobody asked for,
    or its end.

    aiohttp would take such bytes for the answer to the next request, and that one's
    answer for the one after it (aio-libs/aiohttp#13656; measured with 3.14.5). A
    synchronous picture carries no id by which that could be noticed later.
    Source: httpcore treats an idle connection that is readable as dead.
    """

    def __init__(self, **options: Any) -> None:
        self._sockets: WeakSet[socket.socket] = WeakSet()
        super().__init__(
            ttl_dns_cache=DNS_TTL_S, socket_factory=self._open_socket, **options
        )
        self._is_readable: WeakKeyDictionary[
            asyncio.BaseProtocol, Callable[[], bool]
        ] = WeakKeyDictionary()
        """Of each connection that was handed out before."""

    def _open_socket(self, address: AddrInfoType) -> socket.socket:
        family, kind, proto, _, _ = address
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
            connection = await super().connect(req, traces, timeout)
            protocol = cast("ResponseHandler", connection.protocol)  # it is connected
            is_readable = self._is_readable.get(protocol)
            if is_readable is None:
                self._is_readable[protocol] = _look_at(protocol.transport)
                return connection
            if not protocol.should_close and not is_readable():
                return connection
            connection.close()


def _look_at(transport: asyncio.Transport | None) -> Callable[[], bool]:
    """Return what tells whether the kernel holds input that the loop has not read."""
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is None:
        return lambda: True
    descriptor = sock.fileno()
    if not hasattr(select, "poll"):  # Windows
        return lambda: (
            sock.fileno() != descriptor
            or bool(select.select([descriptor], [], [], 0)[0])
        )
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    # Closed, its number may be another one's by now.
    return lambda: sock.fileno() != descriptor or bool(poller.poll(0))


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
        self.free = lent or Connector(
            limit=most, keepalive_timeout=KEEPALIVE_S, ssl=trusted
        )
        self.paid = (
            Connector(limit=most, force_close=True, ssl=trusted) if fresh else self.free
        )
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
        for each in {self.free, self.paid} - {self._lent}:
            await each.close()
