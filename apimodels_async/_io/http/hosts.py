"""
aiohttp's client for hosts that the API names: without the key, without cookies, and
not to every address.

Where a name leads is looked at in three ways, by who resolves it: we do, each address
before it is connected to; a lent session's connector does, the address at the other end
before a byte is sent there; a proxy does, and nobody looks. An address that stands in
the URL itself is looked at before all of that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import aiohttp

from apimodels_async._core.files.addresses import may_ask, may_connect
from apimodels_async._io.http.connector import Connector
from apimodels_async._io.http.failures import is_passing, reason_of, send_once
from apimodels_async._text import printable
from apimodels_async._version import __version__

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from aiohttp.connector import Connection
    from yarl import URL

    from apimodels_async._io.http.network import Network, Proxy

READ_BYTES: Final = 1 << 18
"""Read ahead of the sink before the transfer is paused."""
USER_AGENT: Final = f"Mozilla/5.0 (compatible; apimodels-async-python/{__version__})"
"""One user got 403 from the API's file host without a browser-like beginning."""
UNUSABLE: Final = "its URL cannot be used"
_HEADERS: Final = {"Accept-Encoding": "identity", "User-Agent": USER_AGENT}
_CONNECTS: Final = (
    "_create_connection",
    "_create_direct_connection",
    "_wrap_create_connection",
)
"""What a connector overrides whose connections lead elsewhere than their peer."""


class ForbiddenAddressError(OSError):
    """A file was to be had from an address that is not for that; held in *address*."""

    # Not an argument: of several addresses, alike errors stay one for aiohttp.
    address = ""

    @classmethod
    def of(cls, address: str) -> ForbiddenAddressError:
        """Return the error for *address*."""
        error = cls()
        error.address = address
        return error


def _forbidden_in(error: Exception) -> ForbiddenAddressError | None:
    """Return what *error* is, or holds, of a forbidden address."""
    for each in (error, getattr(error, "os_error", None), error.__cause__):
        if isinstance(each, ForbiddenAddressError):
            return each
    return None


class Hosts:
    """
    Asks hosts. Must be made in a running loop.

    Args:
        network: Where the proxies are.
        loopback: Whether this machine may be reached: only for an API that is local.
        lent: A user's session: its connector and traces carry all; it stays open.
    """

    def __init__(
        self, network: Network, *, loopback: bool, lent: aiohttp.ClientSession | None
    ) -> None:
        self._network = network
        self._loopback = loopback
        self._guarded = lent is not None and _shows_peers(lent.connector)
        self._lent = lent
        # A connector's is the one place that sees the final address of every
        # connection, whether literal, resolved (rebinding too) or redirected to.
        # Literal ones have been judged as such before.
        self._session = self._make_session(judge=self._judge)
        self._uploads = self._make_session(judge=self._judge, force_close=True)
        """A connection for each: an idle one that closes just then would fail a PUT."""
        self._proxied = self._make_session() if network.proxies else self._session
        self._proxied_uploads = (
            self._make_session(force_close=True) if network.proxies else self._uploads
        )

    def _make_session(self, **options: Any) -> aiohttp.ClientSession:
        lent = self._lent
        return aiohttp.ClientSession(
            connector=lent.connector
            if lent is not None
            else Connector(limit=0, ssl=self._network.ssl or True, **options),
            connector_owner=lent is None,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
            auto_decompress=False,
            trust_env=False,
            read_bufsize=READ_BYTES,
            middlewares=(self._once,),
            trace_configs=list(lent.trace_configs) if lent is not None else [],
            request_class=self._judging() if self._guarded else aiohttp.ClientRequest,
        )

    def _judging(self) -> type[aiohttp.ClientRequest]:
        judge = self._judge

        class Judging(aiohttp.ClientRequest):
            async def send(self, conn: Connection) -> aiohttp.ClientResponse:
                """Send, unless the other end is one that nothing is sent to."""
                peer = conn.transport and conn.transport.get_extra_info("peername")
                if self.proxy is None and isinstance(peer, tuple):
                    try:
                        judge(str(peer[0]))
                    except ForbiddenAddressError:
                        conn.close()
                        raise
                return await super().send(conn)

        return Judging

    def _judge(self, address: str) -> None:
        if not may_connect(address, loopback=self._loopback, named=True):
            raise ForbiddenAddressError.of(address)

    async def _once(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        return await send_once(request, handler, self.route(request.url))

    def route(self, url: URL) -> Proxy | None:
        """Return the proxy on the way to *url*."""
        return self._network.route(url)

    def ask(
        self,
        method: str,
        url: URL,
        headers: dict[str, str],
        *,
        connect: float,
        read: float | None = None,
        data: Any = None,
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """
        Return the context of an answer; no redirect is followed.

        Args:
            connect: Seconds for a connection.

            read: Seconds of silence; None: any.

        Raises:
            ForbiddenAddressError: Here, or on entering.
            ConfigurationError: The environment's proxy cannot be used.
        """
        host = url.raw_host or ""
        if not may_ask(host, loopback=self._loopback):
            raise ForbiddenAddressError.of(host)
        proxy = self.route(url)
        told: dict[str, Any] = {}
        if proxy is not None:
            told = {"proxy": proxy.url, "proxy_headers": proxy.headers}
            if url.scheme == "http" and proxy.headers is not None:
                headers = headers | proxy.headers  # it is the request's reader then
        if data is None:
            session = self._proxied if proxy is not None else self._session
        else:
            session = self._proxied_uploads if proxy is not None else self._uploads
        # A lent pool may have no connection free; to wait for one is not to be late.
        timeout = aiohttp.ClientTimeout(
            total=None,
            connect=connect if self._lent is None else None,
            sock_connect=connect,
            sock_read=read,
        )
        return session.request(
            method,
            url,
            data=data,
            headers=headers,
            allow_redirects=False,
            timeout=timeout,
            **told,
        )

    async def aclose(self) -> None:
        """Close the connections that are ours."""
        for each in (
            self._proxied_uploads,
            self._proxied,
            self._uploads,
            self._session,
        ):
            await each.close()


def trouble_of(error: Exception, proxy: Proxy | None) -> tuple[str, bool]:
    """Return why nothing was had, in words, and whether another try can help."""
    if isinstance(error, aiohttp.InvalidURL) or (
        isinstance(error, ValueError) and not isinstance(error, aiohttp.ClientError)
    ):
        return UNUSABLE, False
    found = _forbidden_in(error)
    if found is None:
        return reason_of(error, proxy), is_passing(error)
    words = (
        f"its address is private or reserved ({printable(found.address, 253)}): files "
        "come from public ones alone; if your own network answers so for a public "
        "name, use its proxy (proxy=)"
    )
    return words, False


def _shows_peers(connector: aiohttp.BaseConnector | None) -> bool:
    """Return whether a connection's other end is the host that was asked for."""
    # Not so over a Unix socket, nor over aiohttp_socks: its peer is the SOCKS proxy.
    return isinstance(connector, aiohttp.TCPConnector) and all(
        getattr(type(connector), name) is getattr(aiohttp.TCPConnector, name)
        for name in _CONNECTS
    )
