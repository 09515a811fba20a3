"""
One aiohttp connector for everything the session does with the API.

Of the two files that import aiohttp's client, the one that has the key; the other is
``files/downloads.py``. What aiohttp raises stays here: its exceptions carry request
headers in their repr, so they become plain :class:`Failure` values, built outside the
``except`` blocks.
"""

from __future__ import annotations

import asyncio
import io
import os
import select
import socket
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import WeakSet

import aiohttp
from yarl import URL

from apimodels_async._ports import Failure, Kind, Phase, Reply, Request, Secret, Sent
from apimodels_async._text import describe, printable
from apimodels_async._version import __version__

if TYPE_CHECKING:
    from types import SimpleNamespace

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import AddrInfoType

    from apimodels_async._ports import Places
    from apimodels_async.policies import Timeouts

KEEPALIVE_S: Final = 15.0
"""aiohttp's own. Longer than a sweep, so that polls reuse connections."""
DNS_TTL_S: Final = 10
WARNED_BYTES: Final = 1 << 20
USER_AGENT: Final = (
    f"apimodels-async-python/{__version__} "
    f"aiohttp/{aiohttp.__version__} python/{sys.version_info[0]}.{sys.version_info[1]}"
)


class AiohttpTransport:
    """Sends requests below *base_url* with the key. Must be made in a running loop."""

    def __init__(
        self,
        base_url: str,
        key: Secret,
        timeouts: Timeouts,
        max_connections: int,
        places: Places,
        *,
        fresh: bool = False,
        lent: aiohttp.ClientSession | None = None,
    ) -> None:
        self._base = base_url + "/"
        self._urls: dict[str, URL] = {}
        """Of the API's few endpoints: parsing one costs as much as decoding JSON."""
        self._origin = _origin(URL(base_url))
        self._key = key
        self._timeouts = _timeouts(timeouts)
        self._places = places
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._owned = lent is None
        self._connector = _connector_of(lent) or self._make_connector(
            limit=max_connections, keepalive_timeout=KEEPALIVE_S
        )
        self._for_paid = (
            self._make_connector(limit=max_connections, force_close=True)
            if fresh
            else self._connector
        )
        traces = list(lent.trace_configs) if lent is not None else []
        # The trace tells whether a paid request left this machine. Polls need no
        # telling, and a trace costs them some 10 us each: so two sessions, one pool.
        self._free = self._make_session(self._connector, traces)
        self._paid = self._make_session(self._for_paid, [*traces, _sent_trace()])

    def _make_connector(self, **options: Any) -> aiohttp.TCPConnector:
        return _Connector(
            ttl_dns_cache=DNS_TTL_S, socket_factory=self._open_socket, **options
        )

    def _make_session(
        self, connector: aiohttp.BaseConnector, traces: list[aiohttp.TraceConfig]
    ) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            connector_owner=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
            auto_decompress=False,
            trust_env=False,
            trace_configs=traces,
            middlewares=(self._authorize,),
        )

    async def _authorize(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        # Last step before the wire: no frame or default header above holds the key.
        request.headers.update(self._authorization(request.url))
        try:
            return await handler(request)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            broken = _BrokenError(_reason(error))
        # aiohttp repeats a GET whose connection broke, at once and silently: an API
        # that drops connections would get twice the polls (measured). It knows this
        # class not, so what is repeated, and when, is ours to say.
        raise broken

    def _authorization(self, url: URL) -> dict[str, str]:
        if _origin(url) != self._origin:  # nothing leads there; the key least of all
            return {}
        return {"Authorization": f"Bearer {self._key.reveal()}"}

    def _open_socket(self, address: AddrInfoType) -> socket.socket:
        family, kind, proto, _, _ = address
        opened = socket.socket(family, kind, proto)
        self._sockets.add(opened)
        return opened

    @property
    def connections(self) -> int | None:
        """Open connections, idle ones included; None where the pool is lent."""
        if not self._owned:
            return None
        return sum(opened.fileno() >= 0 for opened in self._sockets)

    async def send(self, request: Request, sent: Sent) -> Reply | Failure:
        """Send *request* once; see :class:`~apimodels_async._ports.Transport`."""
        async with self._places.take(request.kind):
            return await self._send(request, sent)

    async def _send(self, request: Request, sent: Sent) -> Reply | Failure:
        session = self._free if request.kind is Kind.FREE else self._paid
        error: Exception | None = None
        status: int | None = None
        arrived = bytearray()
        total, timeout = self._timeouts[request.kind]
        try:
            # aiohttp's own total is two timers, one within the other: at their end both
            # take back a cancellation, and there may be but one (measured, 3.14.5; a
            # tracker that was closed in that moment never ended).
            async with (
                asyncio.timeout(total),
                session.request(
                    request.method,
                    self._url(request.path),
                    data=_payload(request),
                    headers=_JSON if request.body is not None else None,
                    timeout=timeout,
                    allow_redirects=False,
                    trace_request_ctx=sent,
                ) as response,
            ):
                status = response.status
                await _read_into(arrived, response, request.reply_bytes_max)
                body = self._key.mask(bytes(arrived))
                return Reply(status, response.headers, body)
        except asyncio.CancelledError:
            # aiohttp cancels requests that queue for a connection when its connector
            # closes, although nobody cancelled the task that waits.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            error = RuntimeError("Connector is closed")
        except Exception as raised:  # noqa: BLE001  a user's trace hook raises anything
            error = raised
        body = self._key.mask(bytes(arrived))
        # Masked before it is cut: half a key would not be found.
        words = _reason(error)
        if isinstance(error, _UNREACHED):
            words += f" at {self._origin[1]}"
        reason = printable(self._key.mask(words.encode()).decode())
        failure = _failure(error, reason, sent, status, body, session.closed)
        del error  # its frames hold the request; nothing may find them through ours
        return failure

    def _url(self, path: str) -> URL:
        endpoint, _, query = path.partition("?")
        url = self._urls.get(endpoint)
        if url is None:
            url = self._urls[endpoint] = URL(self._base + endpoint, encoded=True)
        return url.with_query(query) if query else url

    async def aclose(self) -> None:
        """Close both sessions, and the connector if it is ours."""
        await self._free.close()
        await self._paid.close()
        if self._for_paid is not self._connector:
            await self._for_paid.close()
        if self._owned:
            await self._connector.close()


def _origin(url: URL) -> tuple[str, str]:
    # URL.origin() builds another URL; this runs in every poll.
    return url.scheme, url.raw_authority


class _BrokenError(aiohttp.ClientError):
    """A connection that broke under a request, in words."""


class _Connector(aiohttp.TCPConnector):
    """
    Hands out no idle connection that has something to read: bytes nobody asked for,
    or its end.

    aiohttp would take such bytes for the answer to the next request, and that one's
    answer for the one after it (aio-libs/aiohttp#13656; measured with 3.14.5). A
    synchronous picture carries no id by which that could be noticed later.
    Source: httpcore treats an idle connection that is readable as dead.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._used: WeakSet[asyncio.BaseProtocol] = WeakSet()

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  its signature
    ) -> aiohttp.connector.Connection:
        """
        Return a connection as aiohttp does: a new one, or an idle one that is silent.
        """
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = cast("ResponseHandler", connection.protocol)  # it is connected
            if protocol not in self._used:
                break
            if not protocol.should_close and not _readable(protocol.transport):
                return connection
            connection.close()
        self._used.add(protocol)
        return connection


def _readable(transport: asyncio.Transport | None) -> bool:
    # The loop may not have read yet what the kernel holds. Costs 2 us.
    sock = transport.get_extra_info("socket") if transport is not None else None
    return sock is None or sock.fileno() < 0 or _has_input(sock)


def _has_input(sock: socket.socket) -> bool:
    poller = select.poll()
    poller.register(sock.fileno(), select.POLLIN)
    return bool(poller.poll(0))


_JSON: Final = {"Content-Type": "application/json"}


def _connector_of(lent: aiohttp.ClientSession | None) -> aiohttp.BaseConnector | None:
    return lent.connector if lent is not None else None


def _timeouts(timeouts: Timeouts) -> dict[Kind, tuple[float, aiohttp.ClientTimeout]]:
    # A total everywhere: headers that trickle in never trip sock_read (measured).
    connect, read = timeouts.connect, timeouts.read
    times: dict[Kind, tuple[float, float | None]] = {
        # A status answer is one small piece, so its silence and its whole are the
        # same; a second timer costs 10 % of a poll (measured, 2026-11).
        Kind.FREE: (read, None),
        Kind.CREATE: (connect + 2 * read, read),
        Kind.GENERATE: (timeouts.generate, None),
        Kind.UPLOAD: (timeouts.download, read),
    }
    return {
        kind: (
            total,
            aiohttp.ClientTimeout(total=None, connect=connect, sock_read=silence),
        )
        for kind, (total, silence) in times.items()
    }


def _sent_trace() -> aiohttp.TraceConfig:
    trace = aiohttp.TraceConfig()

    async def mark(
        _session: aiohttp.ClientSession, context: SimpleNamespace, _params: Any
    ) -> None:
        sent = context.trace_request_ctx
        if sent.leave is not None and not sent.leave.held:
            msg = "the claim on the order ran out before it could be sent"
            raise _BrokenError(msg)
        sent.at = datetime.now(UTC)

    trace.on_request_headers_sent.append(mark)
    return trace


def _payload(request: Request) -> bytes | io.BytesIO | aiohttp.FormData | None:
    if request.file is None:
        body = request.body
        # aiohttp warns of plain bytes above 1 MiB, and base64 images are.
        if body is not None and len(body) > WARNED_BYTES:
            return io.BytesIO(body)
        return body
    # Quoted by aiohttp, a name would arrive percent-encoded. Ours has no line break.
    form, file = aiohttp.FormData(quote_fields=False), request.file
    form.add_field(
        "file",
        io.BytesIO(file.data),
        filename=file.name,
        content_type=file.content_type,
    )
    return form


async def _read_into(
    arrived: bytearray, response: aiohttp.ClientResponse, limit: int
) -> None:
    # Piece by piece, so that what came before a cut is there to find a task id in.
    content = response.content
    while not content.at_eof():
        arrived += await content.readany()
        if len(arrived) > limit:
            msg = f"the answer is larger than {limit} bytes"
            raise _TooLargeError(msg)


class _TooLargeError(ValueError):
    pass


def _failure(
    error: Exception,
    reason: str,
    sent: Sent,
    status: int | None,
    arrived: bytes,
    closed: bool,  # noqa: FBT001
) -> Failure:
    return Failure(
        sent=sent.at is not None,
        phase=_phase(error, sent, status),
        reason=reason,
        timed_out=isinstance(error, TimeoutError),
        status=status,
        body=arrived,
        retryable=isinstance(error, _OUTSIDE) and not isinstance(error, _FINAL),
        closed=closed,
    )


_CERTIFICATE: Final = (
    aiohttp.ClientConnectorCertificateError,
    aiohttp.ServerFingerprintMismatch,
)
_UNREACHED: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""No connection was made."""
_FINAL: Final = (*_CERTIFICATE, aiohttp.InvalidURL)
_OUTSIDE: Final = (aiohttp.ClientError, OSError)
"""The network's. Any other is a closed session's, or a bug: it comes again."""


def _phase(error: Exception, sent: Sent, status: int | None) -> Phase:
    if isinstance(error, _CERTIFICATE):
        return Phase.TLS
    if status is not None:
        return Phase.BODY
    connecting = isinstance(error, _UNREACHED)
    return Phase.ANSWER if sent.at is not None or not connecting else Phase.CONNECT


def _reason(error: Exception) -> str:
    """
    Return words for *error*: no text the server chose, but what a user's hook says,
    and so perhaps the key.
    """
    name = type(error).__name__
    match error:
        case _TooLargeError() | _BrokenError():
            return str(error)
        case aiohttp.ClientConnectorDNSError():
            what = "the host name does not resolve"
        case aiohttp.ClientConnectorCertificateError():
            what = "the server's certificate is not trusted"
        case aiohttp.ClientResponseError():
            what = "the answer is not HTTP"
        case OSError() if error.errno:
            what = os.strerror(error.errno)
        case aiohttp.ClientConnectionError(__cause__=Exception() as hooks) if (
            type(error) is aiohttp.ClientConnectionError  # sending the body failed
        ):
            what = describe(hooks)
        case aiohttp.ClientError() | OSError():
            return name
        case _:
            return describe(error)
    return f"{name}: {what}"
