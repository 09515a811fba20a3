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
from typing import TYPE_CHECKING, Final, NamedTuple

import aiohttp
from yarl import URL

from apimodels_async._io.http.answers import Answer, Watch, times_of
from apimodels_async._io.http.bodies import CLOSED, check_end
from apimodels_async._io.http.connector import (
    HEAD_BYTES_MAX,
    LARGE,
    SWITCHED,
    USER_AGENT,
)
from apimodels_async._io.http.failures import (
    OUTRUN,
    BrokenError,
    failure_of,
    was_cancelled,
)
from apimodels_async._io.http.lines import Lines
from apimodels_async._ports import Failure, Kind, Reply, Request, Sent

if TYPE_CHECKING:
    from collections.abc import Callable

    from apimodels_async._io.http.connector import Pool
    from apimodels_async._io.http.lines import Line
    from apimodels_async._io.http.network import Network, Proxy
    from apimodels_async._io.http.places import ConnectionPlaces
    from apimodels_async._ports import Transport
    from apimodels_async._secret import Secret
    from apimodels_async.policies import Timeouts

BODY_MAX: Final = 1 << 20
"""Bytes that go to the socket in one piece; more is the other transport's."""
LOST: Final = "the connection was lost before the request"
_REFUSED: Final = 300
_INFORMATIONAL: Final = frozenset(range(100, 200)) - {SWITCHED}


class _Limits(NamedTuple):
    connecting: aiohttp.ClientTimeout
    """The wait for a connection; the rest is counted from the sending."""
    silence: float | None
    """Seconds without a byte of the answer."""
    watch: Watch
    """Over the answer in all."""


class WireTransport:
    """Sends requests below *base_url* with the key. Must be made in a running loop."""

    def __init__(
        self,
        base_url: str,
        key: Secret,
        timeouts: Timeouts,
        pool: Pool,
        places: ConnectionPlaces,
        network: Network,
        others: Callable[..., Transport],
    ) -> None:
        self._key = key
        self._pool = pool
        self._places = places
        self._limits = _limits(timeouts)
        self._make_other = others
        self._other: Transport | None = None
        url = URL(base_url)
        self._address = url.raw_authority
        self._proxy = network.route(url)
        target = _target(url, self._proxy)
        self._free = Lines(pool.free, target)
        self._paid = (
            self._free
            if pool.paid is pool.free
            else Lines(pool.paid, target, kept=False)
        )
        self._path = f"{url.raw_path.rstrip('/')}/"
        fields = {
            "Host": target.headers["Host"],
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
        """Send *request* once; see ``Transport``."""
        body = request.body
        if request.file is not None or (body is not None and len(body) > BODY_MAX):
            if self._other is None:
                self._other = self._make_other(make_room=self._free.spare)
            return await self._other.send(request, sent)
        kind = request.kind
        if not self._places.take(kind):
            await self._places.wait(kind)
        try:
            return await self._send(request, sent)
        finally:
            self._places.release(kind)

    async def _send(self, request: Request, sent: Sent) -> Reply | Failure:
        lines = self._free if request.kind is Kind.FREE else self._paid
        answer = Answer()
        error: Exception
        try:
            return await self._exchange(lines, request, sent, answer)
        except asyncio.CancelledError as cancelled:
            if was_cancelled():
                # Without the frames below: they hold an answer that is not masked.
                raise cancelled.with_traceback(None) from None
            error = RuntimeError(CLOSED)
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
            closed=lines.connector.closed,
        )
        del error  # its frames hold the request; nothing may find them through ours
        return failure

    async def _exchange(
        self, lines: Lines, request: Request, sent: Sent, answer: Answer
    ) -> Reply:
        limits = self._limits[request.kind]
        line = await lines.take(limits.connecting)
        try:
            protocol = line.protocol
            transport = _ready(line, limits.silence)
            if sent.leave is not None and not sent.leave.held:
                raise BrokenError(OUTRUN)
            sent.at = datetime.now(UTC)
            transport.write(self._message(request))
            limits.watch.begin(answer, transport)
            protocol.start_timeout()
            message, payload = await protocol.read()
            while message.code in _INFORMATIONAL:
                protocol.start_timeout()  # aiohttp takes it for the answer, and stops
                message, payload = await protocol.read()
            answer.status = message.code
            limit = request.reply_bytes_max
            if not answer.take(payload, protocol, limit):
                await answer.read(payload, protocol, limit)
                closed = lines.connector.closed
                check_end(message.code, message.headers, protocol, closed=closed)
            answer.ended = True  # before the line is another one's
            if _is_left(transport, request, message.code):
                lines.give_back(line)
            else:
                line.cut()
            return Reply(
                message.code, message.headers, self._key.mask(bytes(answer.body))
            )
        finally:
            if not answer.ended:
                answer.ended = True
                line.cut()

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
        for lines in (self._free, self._paid):
            lines.close()
        for limits in self._limits.values():
            limits.watch.close()
        if self._other is not None:
            await self._other.aclose()
        await self._pool.aclose()


def _limits(timeouts: Timeouts) -> dict[Kind, _Limits]:
    connecting = aiohttp.ClientTimeout(total=None, connect=timeouts.connect)
    return {
        kind: _Limits(connecting, silence, Watch(total))
        for kind, (total, silence) in times_of(timeouts).items()
    }


def _ready(line: Line, silence: float | None) -> asyncio.Transport:
    transport = line.transport
    if transport.is_closing():
        raise BrokenError(LOST)
    line.protocol.set_response_params(
        read_until_eof=True,
        auto_decompress=False,
        read_timeout=silence,
        max_line_size=HEAD_BYTES_MAX,
        max_field_size=HEAD_BYTES_MAX,
    )
    return transport


def _is_left(transport: asyncio.Transport, request: Request, status: int) -> bool:
    """Return whether an answer has left its connection to the next request."""
    large = request.body is not None and len(request.body) > LARGE
    if status == SWITCHED or (large and status >= _REFUSED):
        return False
    # In this order: a TLS transport that is closed has no more buffer to look at.
    return not (transport.is_closing() or transport.get_write_buffer_size())


def _target(url: URL, proxy: Proxy | None) -> aiohttp.ClientRequest:
    """Return what tells the connector where to connect to; nothing of it is sent."""
    # Plain http is for loopback, which is never proxied: a proxy here is a tunnel, and
    # a request is the same with and without.
    loop = asyncio.get_running_loop()
    if proxy is None:
        return aiohttp.ClientRequest("GET", url, loop=loop)
    where, told = URL(proxy.url), proxy.headers
    return aiohttp.ClientRequest("GET", url, loop=loop, proxy=where, proxy_headers=told)
