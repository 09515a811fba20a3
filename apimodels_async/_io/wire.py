"""
Requests written by hand over aiohttp's connections, read by aiohttp's parser.

Waiting for pictures is asking, thousands of times, for a few hundred bytes. What
aiohttp's client builds for that (request, response, URL, headers, timers) costs more
than its connector and its parser in C do (measured, 2026-11). So those are used, and
the bytes of a request are put together here.

Invariant: from the look at an idle connection to the write nothing is awaited, and the
write is the moment in which a request counts as sent.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import aiohttp
from attrs import define
from yarl import URL

from apimodels_async._io.http.connector import HEAD_BYTES_MAX, USER_AGENT
from apimodels_async._io.http.failures import (
    OUTRUN,
    BrokenError,
    TooLargeError,
    failure_of,
)
from apimodels_async._ports import Failure, Kind, Reply, Request, Secret, Sent

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.streams import StreamReader

    from apimodels_async._io.http.connector import Pool
    from apimodels_async._io.http.network import Network, Proxy
    from apimodels_async._ports import Places, Transport
    from apimodels_async.policies import Timeouts

BODY_MAX: Final = 1 << 20
"""Bytes that go to the socket in one piece; more is the other transport's."""
AT_ONCE_MAX: Final = 1 << 16
"""Bytes of a body, below any at which aiohttp pauses reading."""
LOST: Final = "the connection was lost before the request"
_INFORMATIONAL: Final = frozenset(range(100, 200)) - {101}


class _Limits(NamedTuple):
    total: float
    """Seconds."""
    silence: float | None
    connecting: aiohttp.ClientTimeout


@define(eq=False)
class _Answer:
    """What has arrived of an answer."""

    status: int | None = None
    body: bytes | bytearray = b""
    late: bool = False
    """Whether its time ran out."""

    def give_up(self, transport: asyncio.Transport) -> None:
        """Cut the connection: whoever reads hears of it there, and is not cancelled."""
        self.late = True
        transport.abort()

    def take(self, payload: StreamReader) -> bool:
        """
        Take the body, if it is small and has come with its head; return whether.

        By aiohttp's own methods that would make its parser look for more, and its
        transport resume, although neither was paused: a fifth of what a poll costs.
        """
        if not (payload.is_eof() and 0 < payload.total_bytes <= AT_ONCE_MAX):
            return False
        if self.late or payload.exception() is not None:
            return False
        self.body = b"".join(payload._buffer)  # noqa: SLF001
        return True

    async def read(self, payload: StreamReader, limit: int) -> None:
        """Read the body, piece by piece: of one that is cut the start is kept."""
        arrived = self.body = bytearray()
        while not payload.at_eof():
            arrived += await payload.readany()
            if len(arrived) > limit:
                raise TooLargeError(limit)
        if self.late:  # a body without a length ends with its connection
            raise TimeoutError


class _Target(aiohttp.ClientRequest):
    """Where to connect to: nothing of it is sent, nothing of it changes."""

    @cached_property
    def connection_key(self) -> ConnectionKey:
        """Which connections lead there."""
        return super().connection_key


def _target(url: URL, proxy: Proxy | None, loop: asyncio.AbstractEventLoop) -> _Target:
    # Plain http is for loopback, which is never proxied: a proxy here is a tunnel, and
    # a request is the same with and without.
    if proxy is None:
        return _Target("GET", url, loop=loop)
    where, told = URL(proxy.url), proxy.headers
    return _Target("GET", url, loop=loop, proxy=where, proxy_headers=told)


class WireTransport:
    """Sends requests below *base_url* with the key. Must be made in a running loop."""

    def __init__(
        self,
        base_url: str,
        key: Secret,
        timeouts: Timeouts,
        pool: Pool,
        places: Places,
        network: Network,
        others: Callable[[], Transport],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._key = key
        self._pool = pool
        self._places = places
        self._limits = _limits(timeouts)
        self._make_other = others
        self._other: Transport | None = None
        url = URL(base_url)
        self._address = url.raw_authority
        self._proxy = network.route(url)
        self._target = _target(url, self._proxy, self._loop)
        self._path = f"{url.raw_path.rstrip('/')}/"
        fields = {
            "Host": self._target.headers["Host"],
            "Authorization": f"Bearer {key.reveal()}",
            "User-Agent": USER_AGENT,
            "Accept": "*/*",
            "Accept-Encoding": "identity",
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._head = f" HTTP/1.1\r\n{head}".encode()

    @property
    def connections(self) -> int | None:
        """Open connections, idle ones included."""
        return self._pool.connections

    async def send(self, request: Request, sent: Sent) -> Reply | Failure:
        """Send *request* once; see :class:`~apimodels_async._ports.Transport`."""
        body = request.body
        if request.file is not None or (body is not None and len(body) > BODY_MAX):
            if self._other is None:
                self._other = self._make_other()
            return await self._other.send(request, sent)
        async with self._places.take(request.kind):
            return await self._send(request, sent)

    async def _send(self, request: Request, sent: Sent) -> Reply | Failure:
        connector = self._pool.free if request.kind is Kind.FREE else self._pool.paid
        answer = _Answer()
        error: Exception
        try:
            return await self._exchange(connector, request, sent, answer)
        except asyncio.CancelledError:
            # aiohttp cancels requests that queue for a connection when its connector
            # closes, although nobody cancelled the task that waits.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            error = RuntimeError("Connector is closed")
        except Exception as raised:  # noqa: BLE001  a user's resolver raises anything
            error = TimeoutError() if answer.late else raised
        failure = failure_of(
            error,
            sent,
            answer.status,
            self._key.mask(bytes(answer.body)),
            key=self._key,
            address=self._address,
            proxy=self._proxy,
            closed=connector.closed,
        )
        del error  # its frames hold the request; nothing may find them through ours
        return failure

    async def _exchange(
        self,
        connector: aiohttp.BaseConnector,
        request: Request,
        sent: Sent,
        answer: _Answer,
    ) -> Reply:
        limits = self._limits[request.kind]
        ends = self._loop.time() + limits.total
        connection = await connector.connect(self._target, [], limits.connecting)
        timer: asyncio.TimerHandle | None = None
        try:
            protocol = cast("ResponseHandler", connection.protocol)  # it is connected
            transport = _ready(protocol, limits.silence)
            if sent.leave is not None and not sent.leave.held:
                raise BrokenError(OUTRUN)
            sent.at = datetime.now(UTC)
            transport.write(self._message(request))
            timer = self._loop.call_at(ends, answer.give_up, transport)
            protocol.start_timeout()
            message, payload = await protocol.read()
            while message.code in _INFORMATIONAL:
                message, payload = await protocol.read()
            answer.status = message.code
            if not answer.take(payload):
                await answer.read(payload, request.reply_bytes_max)
            if not transport.get_write_buffer_size():
                connection.release()
            return Reply(
                message.code, message.headers, self._key.mask(bytes(answer.body))
            )
        finally:
            if timer is not None:
                timer.cancel()
            connection.close()  # nothing, where it was released

    def _message(self, request: Request) -> bytes:
        body = request.body
        start = f"{request.method} {self._path}{request.path}".encode()
        if body is None:
            return b"%b%b\r\n" % (start, self._head)
        return b"%b%bContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
            start,
            self._head,
            len(body),
            body,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        if self._other is not None:
            await self._other.aclose()
        await self._pool.aclose()


def _limits(timeouts: Timeouts) -> dict[Kind, _Limits]:
    connect, read = timeouts.connect, timeouts.read
    times: dict[Kind, tuple[float, float | None]] = {
        Kind.FREE: (read, None),
        Kind.CREATE: (connect + 2 * read, read),
        Kind.GENERATE: (timeouts.generate, None),
        Kind.UPLOAD: (timeouts.download, read),
    }
    return {
        kind: _Limits(
            total,
            silence,
            aiohttp.ClientTimeout(total=None, connect=min(connect, total)),
        )
        for kind, (total, silence) in times.items()
    }


def _ready(protocol: ResponseHandler, silence: float | None) -> asyncio.Transport:
    transport = protocol.transport
    if transport is None or transport.is_closing():
        raise BrokenError(LOST)
    protocol.set_response_params(
        read_until_eof=True,
        auto_decompress=False,
        read_timeout=silence,
        max_line_size=HEAD_BYTES_MAX,
        max_field_size=HEAD_BYTES_MAX,
    )
    return transport
