"""
A TCP proxy on loopback that breaks what passes through it, by a schedule.

It knows where requests and answers end (Content-Length), so that each misdeed can be
aimed at one request. The schedule maps a request's name to a ``Fault``. Paid POSTs
are named after their prompt ("post 17" for a prompt with ``intent-17.``), everything
else by its number ("get 3"), connections as well ("connection 5"). A schedule
that was drawn from a seed is therefore the same in every run, and can be shrunk.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import select
import socket
import struct
from dataclasses import dataclass

HEAD_END = b"\r\n\r\n"
HELD_S = 0.15  # how long an answer waits for another one to be swapped with
GARBAGE = b"\x16\x03\x01\x02\x00\xff\xfe\x80 not http\r\n\r\n"
GATEWAY = (
    b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\n"
    b"Content-Length: 29\r\n\r\n<!doctype html><h1>502</h1>\r\n"
)
_INTENT = re.compile(rb"intent-(\d+)\.")

PAID_KINDS = (
    "accept",
    "cut_up",
    "cut_down",
    "stall_up",
    "stall_down",
    "slice",
    "latency",
    "idle_close",
    "duplicate",
    "stray",
    "garbage",
    "gateway",
    "flip_up",
    "flip_down",
    "down",
)
UNHEARD_KINDS = ("duplicate", "stray")
"""Answers nobody asked for. One that is under way while the next request leaves on the
same connection is that one's answer to any HTTP client: only fresh connections help."""


@dataclass(frozen=True)
class Fault:
    """One misdeed."""

    kind: str
    at: float = 0.5
    """Which byte, as a share of the message; a whole number counts bytes."""
    rst: bool = False
    """End with RST instead of FIN."""
    seconds: float = 0.02


def draw_fault(rng: random.Random, kinds: tuple[str, ...]) -> Fault:
    """Return a fault of one of these kinds."""
    return Fault(
        rng.choice(kinds),
        at=rng.random(),
        rst=rng.random() < 0.5,
        seconds=rng.uniform(0.005, 0.04),
    )


def draw_schedule(
    seed: int,
    count: int,
    *,
    posts: float = 1.0,
    gets: float = 0.2,
    down: float = 0.3,
    kinds: tuple[str, ...] = PAID_KINDS,
) -> dict[str, Fault]:
    """
    Return the faults of *count* intents: shares of the POSTs and of the GETs hit.

    *down* thins out the times at which the proxy is away: they hit everybody.
    """
    rng = random.Random(seed)  # noqa: S311  reproducible, not secret
    schedule = {}
    for prefix, choice, share, many in (
        ("post", kinds, posts, count),
        ("get", (*kinds, "swap"), gets, 8 * count),
    ):
        for number in range(many):
            if rng.random() < share:
                fault = draw_fault(rng, choice)
                if fault.kind == "down" and rng.random() > down:
                    fault = Fault("cut_down", fault.at, fault.rst)
                schedule[f"{prefix} {number}"] = fault
    return schedule


async def shrink(schedule, fails):
    """
    Return a part of *schedule* that still fails and of which no half can go.

    Delta debugging: *fails* is awaited with ever smaller schedules.
    """
    items, parts = list(schedule.items()), 2
    while len(items) > 1:
        size = max(1, len(items) // parts)
        for start in range(0, len(items), size):
            rest = items[:start] + items[start + size :]
            if await fails(dict(rest)):
                items, parts = rest, max(2, parts - 1)
                break
        else:
            if size == 1:
                break
            parts = min(len(items), parts * 2)
    return dict(items)


class _OverError(Exception):
    """This connection has come to its end."""


def abort(writer):
    """Send RST."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def read_message(reader):
    """Return head and body of the next message; EOFError at a clean end."""
    try:
        head = await reader.readuntil(HEAD_END)
        found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        return head, await reader.readexactly(int(found[1]) if found else 0)
    except asyncio.IncompleteReadError as error:
        raise EOFError from error


class ChaosProxy:
    """
    Listens on loopback while the context is open, in front of *upstream* (a port).
    """

    def __init__(self, server, schedule=None):
        self._upstream = int(server.origin.rpartition(":")[2])
        self.schedule = dict(schedule or {})
        self.done: list[tuple[str, Fault | None]] = []
        """What was done to each request, in order of arrival."""
        self.requests: list[bytes] = []
        self.answers: list[bytes] = []
        """Whole messages as they came, for those who look into them."""
        self.posts = 0
        self._gets = 0
        self._connections = 0
        self._held: tuple[bytes, asyncio.Future] | None = None
        self._serving: set[asyncio.Task] = set()
        self._idle: set[asyncio.StreamWriter] = set()
        self._away: asyncio.Task | None = None
        self._back = asyncio.Event()
        self._server = None
        self.port = 0

    @property
    def base_url(self):
        """Where a client finds the API."""
        return f"http://127.0.0.1:{self.port}/api/v1"

    async def __aenter__(self):
        await self._listen()
        return self

    async def _listen(self):
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", self.port, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _deafen(self):
        # asyncio drops sockets it has accepted but not yet served when a server closes.
        for listener in self._server.sockets:
            asyncio.get_running_loop().remove_reader(listener.fileno())
        for _ in range(5):
            await asyncio.sleep(0)
        self._server.close()

    async def __aexit__(self, *_):
        if self._away is not None:
            await asyncio.gather(self._away)  # listening again, soon
        await self._deafen()
        for task in tuple(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def leave(self, seconds=None):
        """
        Listen no more, for a time or until it comes back.

        Idle connections end, the others with their answers.
        """
        if self._away is None or self._away.done():
            self._away = asyncio.create_task(self._stay_away(seconds))

    async def _stay_away(self, seconds):
        await self._deafen()
        for writer in tuple(self._idle):
            writer.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._back.wait()
        self._back.clear()
        await self._listen()

    @property
    def is_away(self):
        """Whether it listens no more."""
        return self._away is not None and not self._away.done()

    def come_back(self):
        """Listen again."""
        self._back.set()

    async def _accept(self, reader, writer):
        task = asyncio.current_task()
        self._serving.add(task)
        self._connections += 1
        fault = self.schedule.get(f"connection {self._connections}")
        pair = _Pair(self, reader, writer)
        try:
            if fault is None:
                with contextlib.suppress(OSError, EOFError, _OverError):
                    await pair.serve()
            elif fault.rst:
                abort(writer)
        except asyncio.CancelledError:
            pass  # the proxy closes; asyncio would log it
        finally:
            pair.close()
            self._idle.discard(writer)
            self._serving.discard(task)

    def name(self, head, body):
        """Return under which name the schedule knows this request."""
        found = _INTENT.search(body)
        if head.startswith(b"POST") and found:
            self.posts += 1
            return f"post {int(found[1])}"
        self._gets += 1
        return f"get {self._gets}"

    async def swap(self, answer):
        """Return another request's answer, or this one if none comes in time."""
        if self._held is not None and not self._held[1].done():
            other, waiting = self._held
            self._held = None
            waiting.set_result(answer)
            return other
        waiting = asyncio.get_running_loop().create_future()
        self._held = answer, waiting
        try:
            async with asyncio.timeout(HELD_S):
                return await waiting
        except TimeoutError:
            return answer


class _Pair:
    """One connection of a client, and ours to the server behind."""

    def __init__(self, proxy, reader, writer):
        self._proxy, self._reader, self._writer = proxy, reader, writer
        self._up = None

    async def serve(self):
        """Pass requests on until one is spoiled for good, or the proxy goes away."""
        while not self._proxy.is_away:
            self._proxy._idle.add(self._writer)
            try:
                head, body = await read_message(self._reader)
            finally:
                self._proxy._idle.discard(self._writer)
            name = self._proxy.name(head, body)
            fault = self._proxy.schedule.get(name)
            self._proxy.done.append((name, fault))
            self._proxy.requests.append(head + body)
            if fault is None:
                self._say(await self._ask(head + body))
            else:
                await getattr(self, f"_do_{fault.kind}")(fault, head, body)

    def close(self):
        """End both connections."""
        self._writer.close()
        if self._up is not None:
            self._up[1].close()
            self._up = None

    def _say(self, data):
        self._writer.write(data)

    async def _ask(self, request):
        if self._up is None:
            self._up = await asyncio.open_connection("127.0.0.1", self._proxy._upstream)
        reader, writer = self._up
        writer.write(request)
        if request.startswith(b"HEAD "):  # the answer says how long a body would be
            head, body = await reader.readuntil(HEAD_END), b""
        else:
            head, body = await read_message(reader)
        self._proxy.answers.append(head + body)
        return head + body

    def _end(self, rst):
        if rst:
            abort(self._writer)
            if self._up is not None:
                abort(self._up[1])
        raise _OverError

    async def _hang(self):
        await self._reader.read(1)  # until the client has had enough
        raise _OverError

    async def _send_part(self, data, at):
        """Pass the first bytes on, and give the server time to read them."""
        if self._up is None:
            self._up = await asyncio.open_connection("127.0.0.1", self._proxy._upstream)
        self._up[1].write(data[: _place(at, data)])
        await asyncio.sleep(0)

    # What can be done to a request.

    async def _do_accept(self, fault, _head, _body):
        """Read it and pass nothing on."""
        self._end(fault.rst)

    async def _do_cut_up(self, fault, head, body):
        await self._send_part(head + body, fault.at)
        self._end(fault.rst)

    async def _do_cut_down(self, fault, head, body):
        answer = await self._ask(head + body)
        self._say(answer[: _place(fault.at, answer)])
        if fault.rst:
            await asyncio.sleep(0.001)  # RST overtakes what was not read yet
        self._end(fault.rst)

    async def _do_stall_up(self, fault, head, body):
        await self._send_part(head + body, fault.at)
        await self._hang()

    async def _do_stall_down(self, fault, head, body):
        answer = await self._ask(head + body)
        self._say(answer[: _place(fault.at, answer)])
        await self._hang()

    async def _do_slice(self, _fault, head, body):
        for byte in await self._ask(head + body):
            if self._writer.is_closing() or self._reader.at_eof():
                break
            self._say(bytes([byte]))
            await asyncio.sleep(0)

    async def _do_latency(self, fault, head, body):
        await asyncio.sleep(fault.seconds)
        answer = await self._ask(head + body)
        await asyncio.sleep(fault.seconds)
        self._say(answer)

    async def _do_idle_close(self, fault, head, body):
        """Answer, then end the connection as its next request comes in."""
        self._say(await self._ask(head + body))
        await self._reader.read(1)
        self._end(fault.rst)

    async def _do_duplicate(self, _fault, head, body):
        answer = await self._ask(head + body)
        self._say(answer + answer)

    async def _do_stray(self, fault, head, body):
        """Answer, and say it again while nobody asks."""
        answer = await self._ask(head + body)
        self._say(answer)
        await asyncio.sleep(fault.seconds / 4)
        sock = self._writer.get_extra_info("socket")
        asked = self._reader._buffer or self._reader.at_eof()
        if not asked and not select.select([sock], [], [], 0)[0]:
            self._say(answer)

    async def _do_garbage(self, _fault, head, body):
        await self._ask(head + body)
        self._say(GARBAGE)
        raise _OverError

    async def _do_gateway(self, _fault, head, body):
        await self._ask(head + body)
        self._say(GATEWAY)

    async def _do_flip_up(self, fault, head, body):
        self._say(await self._ask(head + _flipped(body, fault.at)))

    async def _do_flip_down(self, fault, head, body):
        answer = await self._ask(head + body)
        head, _, body = answer.partition(HEAD_END)
        self._say(head + HEAD_END + _flipped(body, fault.at))

    async def _do_swap(self, _fault, head, body):
        self._say(await self._proxy.swap(await self._ask(head + body)))

    async def _do_down(self, fault, head, body):
        self._say(await self._ask(head + body))
        self._proxy.leave(fault.seconds)
        raise _OverError


def _place(at, data):
    return at if isinstance(at, int) else int(at * len(data))


def _flipped(body, at):
    # The high bit: no longer UTF-8, so it can be noticed. A flip that turns one letter
    # into another cannot, by anyone above TCP and TLS, whose checksums are for that.
    if not body:
        return body
    place = min(_place(at, body), len(body) - 1)
    return body[:place] + bytes([body[place] ^ 0x80]) + body[place + 1 :]
