"""
A TCP server that says exactly what it is told: no HTTP library in between.

``RawServer(answer)`` calls ``await answer(request, peer)`` for each request it has
read in whole. The answer writes bytes to the peer, or misbehaves. It keeps what came
in: ``server.received`` (requests) and ``server.connections`` (how many there were).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import zlib
from dataclasses import dataclass, field

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40


@dataclass
class Received:
    """One request as it came over the wire."""

    method: str
    target: str
    head: bytes
    body: bytes
    connection: int
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Peer:
    """The client's end of one connection."""

    writer: asyncio.StreamWriter
    number: int
    server: RawServer

    async def say(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    def close(self) -> None:
        """Send FIN after what was said."""
        self.writer.close()

    def reset(self) -> None:
        """Send RST."""
        sock = self.writer.get_extra_info("socket")
        linger = struct.pack("ii", 1, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


class RawServer:
    """Listens on loopback while the context is open."""

    def __init__(self, answer=None, *, greet=None, ssl=None, unread=False):
        self.answer = answer or respond()
        self.greet = greet
        """Called with the peer before anything is read; True: read nothing."""
        self.ssl = ssl
        self.unread = unread
        """Whether it answers a head, and reads nothing after that."""
        self.received: list[Received] = []
        self.connections = 0
        self.open_now = 0
        self.most_open = 0
        self.in_hand = 0
        self.most_in_hand = 0
        self.arrived = asyncio.Event()
        """Set by each request."""
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", 0, ssl=self.ssl, backlog=1024
        )
        port = self._server.sockets[0].getsockname()[1]
        scheme = "https" if self.ssl else "http"
        self.origin = f"{scheme}://127.0.0.1:{port}"
        self.base_url = f"{self.origin}/api/v1"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        ended: set[asyncio.Task[None]] = set()
        while left := self._serving - ended:  # one may be accepted in this very turn
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            ended |= left
            await asyncio.sleep(0)
        await self._server.wait_closed()

    @property
    def posts(self) -> list[Received]:
        """The POST requests that came in whole."""
        return [one for one in self.received if one.method == "POST"]

    async def _accept(self, reader, writer):
        self._serving.add(asyncio.current_task())
        self.connections += 1
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        peer = Peer(writer, self.connections, self)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._serve(reader, peer)
        except asyncio.CancelledError:
            pass  # the server closes; asyncio would log it
        finally:
            self.open_now -= 1
            writer.close()
            with contextlib.suppress(ConnectionError, OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _serve(self, reader, peer):
        if self.greet is not None and await self.greet(peer):
            return
        while not peer.writer.is_closing():
            request = await self._read(reader, peer)
            self.received.append(request)
            self.in_hand += 1
            self.most_in_hand = max(self.most_in_hand, self.in_hand)
            self.arrived.set()
            try:
                await self.answer(request, peer)
            finally:
                self.in_hand -= 1
            if self.unread:
                await asyncio.Event().wait()

    async def _read(self, reader, peer):
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        pairs = (line.split(": ", 1) for line in lines[1:] if line)
        headers = {name.lower(): value for name, value in pairs}
        size = 0 if self.unread else int(headers.get("content-length", 0))
        body = await reader.readexactly(size)
        return Received(method, target, head, body, peer.number, headers)


# --- what to answer ---------------------------------------------------------------


def envelope(data, code=200):
    """Return a body in the API's envelope."""
    return json.dumps({"code": code, "msg": "said so", "data": data}).encode()


CREATED = envelope({"taskId": "clraw1", "state": "pending"})
PICTURE = envelope({"url": "https://files.example/a.png", "credits": 0.01})


def message(body=CREATED, status=200, **headers):
    """Return a whole HTTP answer."""
    given = {"Content-Length": str(len(body)), **headers}
    lines = [f"HTTP/1.1 {status} Whatever"]
    lines += [f"{k.replace('_', '-')}: {v}" for k, v in given.items() if v is not None]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def respond(body=CREATED, status=200, **headers):
    """Answer like a server that means well."""
    return raw(message(body, status, **headers))


def raw(data, *, close=False, reset=False):
    """Answer with these bytes; then go on, close or reset."""

    async def answer(_request, peer):
        await peer.say(data)
        if reset:
            peer.reset()
        elif close:
            peer.close()

    return answer


async def close(_request, peer):
    """Read the request and send FIN."""
    peer.close()


async def reset(_request, peer):
    """Read the request and send RST."""
    peer.reset()


async def hang(_request, _peer):
    """Read the request and never answer."""
    await asyncio.Event().wait()


def slowly(data, *, first=0, pause=0.05):
    """Send *first* bytes at once and the rest one at a time."""

    async def answer(_request, peer):
        await peer.say(data[:first])
        for at in range(first, len(data)):
            await asyncio.sleep(pause)
            await peer.say(data[at : at + 1])

    return answer


def in_turn(*answers):
    """Give these answers in order of arrival, the last one for ever."""
    waiting = list(answers)

    async def answer(request, peer):
        now = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        await now(request, peer)

    return answer


def by_method(**answers):
    """Answer by the method of the request."""

    async def answer(request, peer):
        await answers[request.method](request, peer)

    return answer


def bomb(size=64 << 20):
    """Return a gzip file that unpacks to *size* zero bytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return packer.compress(bytes(size)) + packer.flush()


async def accept_close(peer):
    """Greet with FIN."""
    peer.close()
    return True


async def accept_reset(peer):
    """Greet with RST."""
    peer.reset()
    return True


CUTS = {
    "close": close,
    "reset": reset,
    "hang": hang,
    "junk status line": raw(b"\x16\x03\x01 not http\r\n\r\n", close=True),
    "no HTTP at all": raw(b"502 sorry\r\n\r\n", close=True),
    "two lengths": raw(
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nnull?"
    ),
    "line too long": raw(message(X=("x" * 80_000))),
    "half a head": raw(b"HTTP/1.1 200 OK\r\nContent-Le", close=True),
    "short body": raw(message()[:-9], close=True),
    "short body, reset": raw(message()[:-9], reset=True),
    "junk chunk": raw(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nnull\r\n"
    ),
    "cut chunk": raw(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{", close=True
    ),
    "cut, no length": raw(message(CREATED[:-9], Content_Length=None), close=True),
    "slow head": slowly(message(X="x" * 100), first=12, pause=0.1),
    "slow body": slowly(message(), first=len(message()) - 70, pause=0.1),
    "no body": respond(b""),
    "204": raw(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "html": respond(b"<!doctype html><title>hi</title>"),
    "half json": respond(CREATED[:-9]),
    "latin-1": respond(b'{"code":200,"data":{"taskId":"\xe9"}}'),
    "deep": respond(b"[" * 100_000),
    "null data": respond(envelope(None)),
    "another shape": respond(b'{"ok": true}'),
    "id is a path": respond(envelope({"taskId": "../x", "state": "pending"})),
    "zipped": respond(bomb(1 << 20), Content_Encoding="gzip"),
    "307": respond(b"", 307, Location="/api/v1/elsewhere"),
    "308 elsewhere": respond(b"", 308, Location="http://127.0.0.1:9/"),
    "302": respond(b"", 302, Location="/api/v1/elsewhere"),
    "408": respond(envelope(None, 408), 408),
    "500": respond(envelope(None, 500), 500),
    "502 page": respond(b"<html>502", 502),
    "503": respond(envelope(None, 503), 503),
    "504": respond(b"", 504),
    "524": respond(b"<html>524", 524),
    "code 500": respond(envelope(None, 500)),
}
"""After each of these an order may have been taken. Each came over a whole request."""

HEADLESS = {
    "close",
    "reset",
    "hang",
    "junk status line",
    "no HTTP at all",
    "two lengths",
    "line too long",
    "half a head",
    "slow head",
    "junk chunk",  # aiohttp fails before it hands over the head
}
"""Those of ``CUTS`` that show no status."""

STATUS_OF = {
    "307": 307,
    "308 elsewhere": 308,
    "302": 302,
    "408": 408,
    "500": 500,
    "502 page": 502,
    "503": 503,
    "504": 504,
    "524": 524,
    "204": 204,
}
"""Statuses of ``CUTS`` that are not 200."""

REFUSALS = {
    400: "BadRequestError",
    401: "AuthenticationError",
    402: "InsufficientCreditsError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    405: "BadRequestError",
    413: "BadRequestError",
    422: "BadRequestError",
    501: "ServerError",
}
"""Definite refusals, and the error each is."""
