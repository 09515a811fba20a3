"""
aiohttp's client, for what the wire does not do: a lent session, whose hooks are to be
called; uploads; an aiohttp that is built otherwise.

What aiohttp raises stays here: its exceptions carry request headers in their repr, so
they become plain ``Failure`` values, built outside the ``except`` blocks.
"""

from __future__ import annotations

import asyncio
import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

import aiohttp
from attrs import define, field
from yarl import URL

from apimodels_async._io.http.answers import times_of
from apimodels_async._io.http.bodies import CLOSED, check_end, read_into
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
    send_once,
    was_cancelled,
)
from apimodels_async._ports import Failure, Kind, Reply, Request, Sent

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import SimpleNamespace

    from aiohttp.client_proto import ResponseHandler

    from apimodels_async._io.http.connector import Pool
    from apimodels_async._io.http.network import Network
    from apimodels_async._io.http.places import ConnectionPlaces
    from apimodels_async._secret import Secret
    from apimodels_async.policies import Timeouts

WARNED_BYTES: Final = 1 << 20


class _Response(aiohttp.ClientResponse):
    """
    A response that knows its connection to the end, and cuts it where it does not stay.

    Closing alone would first send the rest of a request that nobody waits for, and
    wait for a goodbye, for as long as the server likes.
    """

    protocol: ResponseHandler
    transport: asyncio.Transport | None

    async def start(self, connection: aiohttp.connector.Connection) -> _Response:
        """Wait for the head of the answer."""
        self.protocol = cast("ResponseHandler", connection.protocol)  # it is connected
        self.transport = connection.transport
        size = self.request_info.headers.get("Content-Length", "0")
        if int(size) > LARGE:  # at its end aiohttp would give it away before we look
            self.protocol.force_close()
        try:
            await super().start(connection)
        except BaseException:
            self.part(ended=False)
            raise
        if self.status == SWITCHED:
            self.protocol.force_close()
        return self

    def part(self, *, ended: bool) -> None:
        """
        Cut the connection, unless it is in the pool again, and perhaps another's.

        Args:
            ended: Whether all went well. Then one that aiohttp is about to close is cut
                too: it said goodbye, and would wait for the server's.
        """
        ours = self.connection is not None and self.connection.protocol is not None
        gone = self.protocol.transport is None or (ours and not ended)
        if gone and self.transport is not None:
            self.transport.abort()


@define(eq=False, repr=False)
class _Arrived:
    """What has arrived of an answer."""

    status: int | None = None
    body: bytearray = field(factory=bytearray, repr=False)
    """It may repeat the key."""


class AiohttpTransport:
    """
    Sends requests below *base_url* with the key. Must be made in a running loop.

    Args:
        make_room: Called with a place in hand, before a connection is asked for: who
            else uses the pool keeps idle ones that it counts as taken.
    """

    def __init__(
        self,
        base_url: str,
        key: Secret,
        timeouts: Timeouts,
        pool: Pool,
        places: ConnectionPlaces,
        *,
        network: Network | None = None,
        lent: aiohttp.ClientSession | None = None,
        make_room: Callable[[], None] = lambda: None,
    ) -> None:
        self._make_room = make_room
        self._base = base_url + "/"
        self._proxy = network.route(URL(base_url)) if network is not None else None
        self._through: dict[str, Any] = {}
        if self._proxy is not None:
            self._through = {
                "proxy": self._proxy.url,
                "proxy_headers": self._proxy.headers,
            }
        self._urls: dict[str, URL] = {}
        """Of the API's few endpoints: parsing one costs as much as decoding JSON."""
        self._origin = _origin(URL(base_url))
        self._key = key
        self._timeouts = _timeouts(timeouts, lent=lent is not None)
        self._places = places
        self._pool = pool
        traces = list(lent.trace_configs) if lent is not None else []
        # The trace tells whether a paid request left this machine. Polls need no
        # telling, and a trace costs them some 10 us each: so two sessions, one pool.
        self._free = self._make_session(pool.free, traces)
        self._paid = self._make_session(pool.paid, [*traces, _sent_trace()])

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
            max_line_size=HEAD_BYTES_MAX,
            max_field_size=HEAD_BYTES_MAX,
            response_class=_Response,
        )

    async def _authorize(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        # Last step before the wire: no frame or default header above holds the key.
        request.headers.update(self._authorization(request.url))
        return await send_once(request, handler, self._proxy)

    def _authorization(self, url: URL) -> dict[str, str]:
        if _origin(url) != self._origin:  # nothing leads there; the key least of all
            return {}
        return {"Authorization": f"Bearer {self._key.reveal()}"}

    @property
    def connections(self) -> int | None:
        """Open connections, idle ones included; None where the pool is lent."""
        return self._pool.connections

    async def send(self, request: Request, sent: Sent) -> Reply | Failure:
        """Send *request* once; see ``Transport``."""
        kind = request.kind
        if not self._places.take(kind):
            await self._places.wait(kind)
        try:
            self._make_room()
            return await self._send(request, sent)
        finally:
            self._places.release(kind)

    async def _send(self, request: Request, sent: Sent) -> Reply | Failure:
        session = self._free if request.kind is Kind.FREE else self._paid
        arrived = _Arrived()
        error: Exception
        try:
            return await self._exchange(session, request, sent, arrived)
        except asyncio.CancelledError as cancelled:
            if was_cancelled():
                # Without the frames below: they hold headers, and what is not masked.
                raise cancelled.with_traceback(None) from None
            error = RuntimeError(CLOSED)
        except Exception as raised:  # noqa: BLE001  a user's trace hook raises anything
            error = raised
        failure = failure_of(
            error,
            sent,
            arrived.status,
            self._key.mask(bytes(arrived.body)),
            key=self._key,
            address=self._origin[1],
            proxy=self._proxy,
            closed=session.closed,
        )
        del error  # its frames hold the request; nothing may find them through ours
        return failure

    async def _exchange(
        self,
        session: aiohttp.ClientSession,
        request: Request,
        sent: Sent,
        arrived: _Arrived,
    ) -> Reply:
        total, timeout = self._timeouts[request.kind]
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
                **self._through,
            ) as answer,
        ):
            response = cast("_Response", answer)  # it is the session's class
            arrived.status = status = response.status
            protocol, headers = response.protocol, response.headers
            try:
                await read_into(
                    arrived.body, response.content, protocol, request.reply_bytes_max
                )
                check_end(status, headers, protocol, closed=session.closed)
            except BaseException:
                response.part(ended=False)
                raise
            response.part(ended=True)
            return Reply(status, headers, self._key.mask(bytes(arrived.body)))

    def _url(self, path: str) -> URL:
        endpoint, _, query = path.partition("?")
        url = self._urls.get(endpoint)
        if url is None:
            url = self._urls[endpoint] = URL(self._base + endpoint, encoded=True)
        return url.with_query(query) if query else url

    async def aclose(self) -> None:
        """Close both sessions, and the connections that are ours."""
        await self._free.close()
        await self._paid.close()
        await self._pool.aclose()


def _origin(url: URL) -> tuple[str, str]:
    # URL.origin() builds another URL; this runs in every poll.
    return url.scheme, url.raw_authority


_JSON: Final = {"Content-Type": "application/json"}


def _timeouts(
    timeouts: Timeouts, *, lent: bool
) -> dict[Kind, tuple[float, aiohttp.ClientTimeout]]:
    connect = timeouts.connect
    return {
        kind: (
            total,
            aiohttp.ClientTimeout(
                total=None,
                # A lent pool may have no connection free; to wait is not to be late.
                connect=None if lent else connect,
                sock_connect=connect if lent else None,
                sock_read=silence,
            ),
        )
        for kind, (total, silence) in times_of(timeouts, connect).items()
    }


def _sent_trace() -> aiohttp.TraceConfig:
    trace = aiohttp.TraceConfig()

    async def mark(
        _session: aiohttp.ClientSession, context: SimpleNamespace, _params: Any
    ) -> None:
        sent = context.trace_request_ctx
        if sent.leave is not None and not sent.leave.held:
            raise BrokenError(OUTRUN)
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
