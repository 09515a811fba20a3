"""
An HTTP proxy on loopback, and an API with files that only it knows the way to.

``Tunnel({"api.test": server})`` takes CONNECT, and absolute requests of plain http, for
the names it was told of. It keeps what it was asked: ``tunnel.asked``.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib

from support.raw import PNG, RawServer, envelope, respond
from support.tls import certificate

API, FILES = "api.test", "files.test"
LARGE = PNG + bytes(5 << 20)
"""Goes by PUT."""


class Tunnel:
    """Listens on loopback while the context is open."""

    def __init__(self, hosts, *, credentials=None, refusal=None, ssl=None):
        self.hosts = dict(hosts)
        """Name -> server on this machine."""
        self.credentials = credentials
        """``user:password`` that it wants."""
        self.refusal = refusal
        """Status it answers to everything."""
        self.ssl = ssl
        self.asked: list[bytes] = []
        """Heads of requests to itself."""
        self._serving = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", 0, ssl=self.ssl
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self.name = f"127.0.0.1:{self.port}"
        self.url = f"{'https' if self.ssl else 'http'}://{self.name}"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def targets(self):
        """What it was asked for, each once, sorted."""
        return sorted({head.split(b" ")[1].decode() for head in self.asked})

    def url_for(self, credentials):
        """Return its URL with these."""
        return self.url.replace("://", f"://{credentials}@")

    async def _accept(self, reader, writer):
        self._serving.add(asyncio.current_task())
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._serve(reader, writer)
        except asyncio.CancelledError:
            pass  # the proxy closes; asyncio would log it
        finally:
            writer.close()

    async def _serve(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head)
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        status = self._status(head)
        if status is not None:
            writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)
            return
        authority = target if method == "CONNECT" else target.split("/")[2]
        name = authority.partition(":")[0]
        if name not in self.hosts:
            writer.write(b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n")
            return
        port = int(self.hosts[name].origin.rpartition(":")[2])
        theirs, there = await asyncio.open_connection("127.0.0.1", port)
        try:
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                path = "/" + target.split("/", 3)[3]
                there.write(
                    _without_credentials(
                        head.replace(target.encode(), path.encode(), 1)
                    )
                )
            await asyncio.gather(_pump(reader, there), _pump(theirs, writer))
        finally:
            there.close()

    def _status(self, head):
        if self.refusal is not None:
            return self.refusal
        if self.credentials is None:
            return None
        wanted = base64.b64encode(self.credentials.encode())
        told = b"\r\nProxy-Authorization: Basic " + wanted + b"\r\n"
        return None if told in head else 407


def _without_credentials(head):
    lines = head.split(b"\r\n")
    return b"\r\n".join(x for x in lines if not x.startswith(b"Proxy-Authorization"))


async def _pump(reader, writer):
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


async def api(request, peer):
    """Answer as an API would whose files are on another host."""
    match request.method, request.target.partition("?")[0].removeprefix("/api/v1/"):
        case "POST", "images/generations-sync":
            body = envelope({"url": f"https://{FILES}/fox.png", "credits": 0.01})
        case "POST", "images/generations":
            body = envelope({"taskId": "cltunnel1", "state": "pending"})
        case "GET", "images/generations":
            urls = [f"https://{FILES}/task.png"]
            done = {"taskId": "cltunnel1", "state": "completed", "resultUrls": urls}
            body = envelope(done)
        case "POST", "files":
            where = f"https://{FILES}/in.png"
            body = envelope({"uploadUrl": f"{where}?put", "publicUrl": where})
        case "GET", "balance":
            body = envelope({"balance": "5"})
        case _:
            body = PNG
    await respond(body)(request, peer)


@contextlib.asynccontextmanager
async def hidden_api(authority, **options):
    """Serve the API and its files by TLS, and a proxy that knows both."""
    async with (
        RawServer(api, ssl=certificate(authority, API)) as there,
        RawServer(api, ssl=certificate(authority, FILES)) as files,
        Tunnel({API: there, FILES: files}, **options) as tunnel,
    ):
        there.base_url = f"https://{API}/api/v1"
        tunnel.api, tunnel.files = there, files
        yield tunnel
