"""Both transports over a plain socket and over TLS, for what both must hold."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from support.raw import RawServer
from support.sessions import KEY, PATIENT
from support.tls import certificate

from apimodels_async._io.client import AiohttpTransport
from apimodels_async._io.http.connector import Pool
from apimodels_async._io.http.network import Network
from apimodels_async._io.http.places import ConnectionPlaces
from apimodels_async._io.wire import WireTransport
from apimodels_async._ports import Kind, Reply, Request, Sent
from apimodels_async._secret import Secret

if TYPE_CHECKING:
    import trustme

WAYS = ["wire", "wire TLS", "client", "client TLS"]


@dataclass
class Way:
    """One way to the API: a transport, and whether over TLS."""

    name: str
    authority: trustme.CA

    @property
    def wire(self):
        """Whether it is the transport that writes by hand."""
        return self.name.startswith("wire")

    @property
    def tls(self):
        """Whether it is over TLS."""
        return self.name.endswith("TLS")

    def server(self, answer=None, **options):
        """Return a raw server at the other end."""
        context = certificate(self.authority, "127.0.0.1") if self.tls else None
        return RawServer(answer, ssl=context, **options)

    @asynccontextmanager
    async def to(self, server, *, most=4, fresh=False, timeouts=PATIENT, trust=None):
        """Yield a transport to *server*; it is closed at the end."""
        base_url = server if isinstance(server, str) else server.base_url
        trusted = ssl.create_default_context()
        (trust or self.authority).configure_trust(trusted)
        network = Network(ssl=trusted)
        pool = Pool(most, fresh=fresh, network=network)
        common = base_url, Secret(KEY), timeouts, pool, ConnectionPlaces(most)
        client = partial(AiohttpTransport, *common)
        transport = WireTransport(*common, network, client) if self.wire else client()
        try:
            yield transport
        finally:
            await transport.aclose()


async def stuck(_request, peer):
    """Read no more of a request, and do not answer it."""
    peer.writer.transport.pause_reading()
    await asyncio.Event().wait()


async def exchange(transport, request):
    """Send *request*; return what came back, and how far it had got."""
    sent = Sent()
    return await transport.send(request, sent), sent


def get(path="status", **options):
    """Return a poll."""
    return Request(method="GET", path=path, **options)


def order(body=b'{"prompt":"a moose"}', kind=Kind.CREATE, **options):
    """Return a paid request."""
    return Request(method="POST", path="order", kind=kind, body=body, **options)


async def reply_to(transport, request=None):
    """Send *request*; return the reply, which must be one."""
    reply, _ = await exchange(transport, request or order())
    assert isinstance(reply, Reply), reply
    return reply


async def body_of(transport, request=None):
    """Send *request*; return the body of its reply."""
    return (await reply_to(transport, request)).body
