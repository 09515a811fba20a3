"""
Deliveries from anyone, over real sockets and as plain calls: what each is answered.
"""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest
from support.serving import receiving
from support.virtual_time import run_virtual

from apimodels_async.webhooks import Callback, Hint, Receiver

SECRET = "a secret that all processes of this test share"
BODY = json.dumps({"code": 200, "data": {"taskId": "clx1"}}).encode()


class Taker:
    """Stands for a session that knows some orders."""

    def __init__(self, *, knows=True):
        self.knows = knows
        self.hints = []

    def __call__(self, hint):
        """Take a hint."""
        self.hints.append(hint)
        return self.knows


@pytest.fixture
def callback():
    """Return a callback with sessions to come."""
    return Callback("https://app.example/hooks", secret=SECRET)


@pytest.fixture
async def taker(callback):
    """Listen to the relay, as a session does."""
    taker = Taker()
    async with callback.relay.listening(taker):
        yield taker


@pytest.fixture
def nonce(callback):
    """Return the nonce of an order."""
    return callback.new_nonce()


@pytest.fixture
def path(callback, nonce):
    """Return the path that the API would call."""
    return callback.address(nonce).removeprefix("https://app.example")


async def test_a_delivery_becomes_a_hint(callback, taker, nonce, path):
    """Nonce and task id reach the session, and 200 says so."""
    for where in (path, f"{path}/"):
        assert await Receiver(callback).deliver(where, BODY) == 200
    assert taker.hints == [Hint(nonce, "clx1")] * 2


async def test_a_strange_path_is_absent(callback, taker, path):
    """Whoever calls deliver() is told 404 for an address that is not ours."""
    assert await Receiver(callback).deliver(path + "x", BODY) == 404
    assert await Receiver(callback).deliver("", BODY) == 404
    assert taker.hints == []


async def test_what_no_session_knows_may_come_again(callback, taker, path):
    """503 makes the API keep a callback until whoever ordered is back."""
    taker.knows = False
    assert await Receiver(callback).deliver(path, BODY) == 503


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b'{"data": {"taskId": "../etc"}}', 400),
        (b" " * 65_536, 400),
        (b" " * 65_537, 413),
    ],
)
async def test_what_the_api_would_not_send_is_refused(
    callback, taker, path, body, status
):
    """A body without a task id, or too large, tells no session anything."""
    assert await Receiver(callback).deliver(path, body) == status
    assert taker.hints == []


@pytest.fixture
async def url(callback):
    """Serve the receiver as an aiohttp application, below /hooks."""
    async with receiving(callback, lingering_time=0) as url:
        yield url


async def ask(url, method="POST", data=BODY, **options):
    """Return status, headers and body of an answer."""
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, url, data=data, **options) as reply,
    ):
        headers = {k: v for k, v in reply.headers.items() if k != "Date"}
        return reply.status, headers, await reply.read()


async def test_aiohttp_serves_it(url, taker, path):
    """Mounted in an aiohttp application, it takes what the API sends."""
    status, _, body = await ask(url + path)
    assert (status, body) == (200, b"")
    assert len(taker.hints) == 1


async def test_every_wrong_address_looks_the_same(url, callback, taker, path):
    """Method, prefix, length and secret: one empty 404, whatever is wrong."""
    foreign = Callback("https://app.example/hooks").address(callback.new_nonce())
    wrong = [
        ("GET", path),
        ("PUT", path),
        ("DELETE", path),
        ("POST", path[:-1]),
        ("POST", path + "A"),
        ("POST", "/hooks/"),
        ("POST", "/hooks/" + "A" * 43),
        ("POST", foreign.removeprefix("https://app.example")),
        ("GET", "/hooks/favicon.ico"),
    ]
    answers = [await ask(url + where, method) for method, where in wrong]
    assert answers == [answers[0]] * len(wrong)
    assert answers[0][0] == 404
    assert answers[0][2] == b""
    assert taker.hints == []


async def test_a_large_body_is_not_read_to_its_end(url, taker, path):
    """Of a hundred megabytes the first 64 KiB are read; then it is refused."""

    async def endless():
        while True:
            yield b" " * 65_536

    try:
        status, *_ = await ask(url + path, data=endless())
    except aiohttp.ClientConnectionError:
        return  # it hung up while we were still sending: just as well
    assert status == 413
    assert taker.hints == []


async def test_half_a_body_is_no_fault_of_ours(url, taker, path, caplog):
    """Whoever hangs up within a body or garbles it gets 400, and no traceback."""
    port = int(url.rpartition(":")[2])
    for headers, body in (
        ("Content-Length: 100", BODY),
        ("Transfer-Encoding: chunked", b"99\r\n" + BODY),
    ):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n".encode())
        writer.write(body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    status, *_ = await ask(url + path, headers={"Content-Encoding": "gzip"})

    assert status == 400
    assert taker.hints == []
    assert "Error handling request" not in caplog.text


def scope(path, method="POST", kind="http"):
    """Return what an ASGI server says about a request."""
    return {"type": kind, "method": method, "path": path, "headers": []}


class Server:
    """The server's side of ASGI: gives messages, keeps what comes back."""

    def __init__(self, *messages):
        self.messages = [*messages]
        self.sent = []

    async def receive(self):
        """Give the next message; then nothing comes any more."""
        if self.messages:
            return self.messages.pop(0)
        return await asyncio.get_running_loop().create_future()

    async def send(self, message):
        """Keep a message."""
        self.sent.append(message)

    async def run(self, app, scope):
        """Run *app* for one scope; return the status."""
        await app(scope, self.receive, self.send)
        return self.sent[0].get("status")


def chunk(body, *, more=False):
    """Return a piece of a request's body."""
    return {"type": "http.request", "body": body, "more_body": more}


async def test_asgi_serves_it(callback, taker, path):
    """As an ASGI app it reads a body in pieces and answers without one."""
    server = Server(chunk(BODY[:9], more=True), chunk(BODY[9:]))
    assert await server.run(Receiver(callback), scope(path)) == 200
    start, body = server.sent
    assert start["headers"] == [(b"content-length", b"0")]
    assert body["body"] == b""
    assert len(taker.hints) == 1


async def test_a_stranger_is_not_read(callback, taker, path):
    """For a wrong address or method not one byte of the body is asked for."""
    for where in (scope("/hooks/x"), scope(path, "GET")):
        assert await Server().run(Receiver(callback), where) == 404


async def test_a_large_body_is_refused_in_asgi(callback, taker, path):
    """A body over 64 KiB is refused as soon as it is."""
    pieces = [chunk(b" " * 40_000, more=True)] * 3
    assert await Server(*pieces).run(Receiver(callback), scope(path)) == 413


def test_a_slow_body_is_given_up(callback, path):
    """A sender that stops in the middle is answered 408 after 5 seconds."""

    async def play():
        server = Server(chunk(b"{", more=True))
        status = await server.run(Receiver(callback), scope(path))
        return status, asyncio.get_running_loop().time()

    status, seconds = run_virtual(play)
    assert status == 408
    assert 5 <= seconds < 6


async def test_a_sender_that_hangs_up_said_nothing(callback, taker, path):
    """Half a body tells no session anything, nor a whole one that was to go on."""
    for piece in (BODY[:9], BODY):
        server = Server(chunk(piece, more=True), {"type": "http.disconnect"})
        assert await server.run(Receiver(callback), scope(path)) == 400
    assert taker.hints == []


async def test_it_runs_on_its_own(callback):
    """As the only app of a server it joins in the lifespan, and has no websockets."""
    server = Server({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    await server.run(Receiver(callback), {"type": "lifespan"})
    assert [each["type"] for each in server.sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    server = Server()
    await server.run(Receiver(callback), scope("/hooks", kind="websocket"))
    assert [each["type"] for each in server.sent] == ["websocket.close"]
