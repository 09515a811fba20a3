"""
One paid call, one POST: whatever the network does, nothing is ordered twice.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
from pathlib import Path

import aiohttp
import pytest
from support.cases import check_all_at_once
from support.raw import (
    CREATED,
    CUTS,
    HEADLESS,
    PICTURE,
    REFUSALS,
    STATUS_OF,
    RawServer,
    accept_close,
    accept_reset,
    by_method,
    close,
    envelope,
    in_turn,
    respond,
)
from support.sessions import ENDLESS, patience

import apimodels_async
from apimodels_async import (
    ConnectionFailedError,
    OutcomeUnknownError,
    RateLimitError,
    Timeouts,
    TransportTimeoutError,
)

ORDERS = {
    "submit": lambda session: session.images.submit("a moose", model="gpt-image-2"),
    "generate": lambda session: session.images.generate("a red fox in snow"),
    "edit": lambda session: session.images.edit("dusk", images=["https://a.example/b"]),
}


async def error_of(order):
    """Return the error an order ends in."""
    with pytest.raises(apimodels_async.ApiModelsError) as caught:
        await order
    return caught.value


@pytest.mark.parametrize("kind", ["submit", "generate"])  # edit is sent as generate
async def test_an_order_of_unknown_fate_is_sent_once(connect, kind):
    """Dropped, hung, cut, garbled or answered by a gateway: one POST, fate unknown."""

    async def check(name):
        async with RawServer(CUTS[name]) as server:
            session = connect(server, timeouts=patience(name))
            error = await error_of(ORDERS[kind](session))

            shown = None if name in HEADLESS else STATUS_OF.get(name, 200)
            assert len(server.posts) == 1
            assert type(error) is OutcomeUnknownError
            assert error.charged is None
            assert error.status == shown
            assert error.request.method == "POST"
            assert error.request.sent_at is not None
            assert len(error.request.digest) == 16

    await check_all_at_once(CUTS.keys() - ENDLESS, check)
    await check_all_at_once(ENDLESS, check)  # alone: they are impatient


@pytest.mark.parametrize("greet", [accept_close, accept_reset])
async def test_a_connection_that_dies_at_once_leaves_the_fate_unknown(connect, greet):
    """If headers may have left, the order is not repeated, though nothing was read."""
    async with RawServer(greet=greet) as server:
        error = await error_of(ORDERS["submit"](connect(server)))

        assert server.connections == 1
        assert type(error) is OutcomeUnknownError


async def test_a_definite_refusal_is_typed_and_not_repeated(connect):
    """What the API refuses is not charged and not sent again."""

    async def check(kind, status):
        async with RawServer(respond(envelope(None, status), status)) as server:
            error = await error_of(ORDERS[kind](connect(server)))

            assert len(server.posts) == 1
            assert type(error).__name__ == REFUSALS[status]
            assert error.charged is False
            assert error.status == error.code == status
            assert "said so" in str(error)

    await check_all_at_once(itertools.product(ORDERS, REFUSALS), check)


async def test_a_refusal_may_hide_in_a_200(connect):
    """HTTP 200 with code 402 is a lack of credit, told with both numbers."""
    async with RawServer(respond(envelope(None, 402))) as server:
        error = await error_of(ORDERS["submit"](connect(server)))

        assert type(error) is apimodels_async.InsufficientCreditsError
        assert (error.status, error.code, error.charged) == (200, 402, False)
        assert len(server.posts) == 1


async def test_a_refused_rate_is_repeated_and_charged_once(emulator, connect):
    """After two 429 the order goes through, and one picture is paid for."""
    fault = emulator.fault("create", "rate_limit", times=2, retry_after=0)
    result = await connect(emulator).images.generate("a moose", model="gpt-image-2")

    assert fault.hits == 2
    assert len(emulator.tasks) == 1
    assert emulator.spent == result.credits


async def test_retry_after_is_waited_out(connect):
    """The pause a 429 asks for is made before the order is sent again."""
    answer = in_turn(respond(envelope(None, 429), 429, Retry_After="1"), respond())
    async with RawServer(answer) as server:
        loop = asyncio.get_running_loop()
        started = loop.time()
        await ORDERS["submit"](connect(server))

        assert loop.time() - started >= 1
        assert len(server.posts) == 2


async def test_a_long_retry_after_is_the_callers_decision(connect):
    """More than 120 s is an error at once, with the number."""
    answer = respond(envelope(None, 429), 429, Retry_After="3600")
    async with RawServer(answer) as server:
        error = await error_of(ORDERS["submit"](connect(server)))

        assert type(error) is RateLimitError
        assert error.retry_after == 3600
        assert error.charged is False
        assert len(server.posts) == 1


async def test_a_refused_connection_is_retried_and_costs_nothing(connect):
    """Nobody listens: the retries are made, and the error says uncharged."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening
        server = RawServer()
        server.base_url = f"http://127.0.0.1:{taken.getsockname()[1]}/api/v1"
        error = await error_of(ORDERS["generate"](connect(server)))

    assert type(error) is ConnectionFailedError
    assert error.charged is False
    assert error.request.sent_at is None
    assert "connecting" in str(error)
    assert "refused" in str(error)


async def test_a_server_that_comes_up_is_reached(connect):
    """A connection refused at first is made by a retry, and the order is sent once."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        server = RawServer()
        server.base_url = f"http://127.0.0.1:{port}/api/v1"
        slow = apimodels_async.RetryPolicy(attempts=10, base=0.2)
        session = connect(server, retry=slow)
        order = asyncio.create_task(ORDERS["submit"](session))
        await asyncio.sleep(0.05)
        taken.listen(8)
        taken.setblocking(False)  # noqa: FBT003  the socket module's own
        loop = asyncio.get_running_loop()
        peer, _ = await loop.sock_accept(taken)
        with peer:
            await loop.sock_recv(peer, 65_536)
            body = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(CREATED)
            await loop.sock_sendall(peer, body + CREATED)
            handle = await order
            assert handle.task_id == "clraw1"
            await session.aclose()


async def test_a_host_without_address_is_told(connect):
    """A name that does not resolve is never sent to, and costs nothing."""
    server = RawServer()
    server.base_url = "https://no-such-host.invalid/api/v1"
    error = await error_of(ORDERS["generate"](connect(server)))

    assert isinstance(error, ConnectionFailedError | TransportTimeoutError)
    assert error.charged is False


async def test_a_pool_that_others_fill_costs_nothing(connect):
    """An order that got no connection of a lent pool in time was not sent."""

    async def stall(_request, peer):
        await asyncio.sleep(0.8)
        await peer.say(b"HTTP/1.1 500 Late\r\nContent-Length: 0\r\n\r\n")

    async def hold(http, url):
        async with http.get(url) as response:
            await response.read()

    async with (
        RawServer(stall) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as http,
    ):
        session = connect(server, http=http, timeouts=Timeouts(connect=0.05))
        other = asyncio.create_task(hold(http, server.base_url))
        await server.arrived.wait()
        error = await error_of(ORDERS["generate"](session))
        await other

        assert type(error) is TransportTimeoutError
        assert error.charged is False
        assert server.posts == []


@pytest.mark.parametrize("where", ["create", "sync", "edit"])
@pytest.mark.parametrize(
    "kind", ["reset", "drop", "truncated", "garbage", "bad_json", "html", "empty"]
)
async def test_what_was_charged_is_of_unknown_fate(emulator, connect, where, kind):
    """The emulator takes the order and spoils its answer: one charge, and no claim."""
    fault = emulator.fault(where, kind, times=None, after=True)
    name = {"create": "submit", "sync": "generate", "edit": "edit"}[where]
    image = f"{emulator.origin}/files/none.png"
    order = ORDERS[name]
    session = connect(emulator)
    if name == "edit":
        error = await error_of(session.images.edit("dusk", images=[image]))
    else:
        error = await error_of(order(session))
    emulator.advance(100)
    await asyncio.sleep(0.05)

    made = {**emulator.tasks, **emulator.generations}
    assert type(error) is OutcomeUnknownError
    assert error.charged is None
    assert fault.hits == 1
    assert len(made) == 1
    assert session.stats().unknown == 1


async def test_a_task_shown_by_half_an_answer_can_be_attached(connect):
    """If a broken answer still shows the task's id, the error carries it."""
    done = {"taskId": "clraw1", "state": "completed", "resultUrls": ["https://a.b/c"]}
    answer = by_method(POST=CUTS["half json"], GET=respond(envelope(done)))
    async with RawServer(answer) as server:
        session = connect(server)
        error = await error_of(ORDERS["submit"](session))
        result = await session.images.attach(error.task_id)

        assert "attach('clraw1')" in str(error)
        assert result.url == "https://a.b/c"
        assert len(server.posts) == 1


async def test_a_reused_connection_that_closes_is_no_reason_to_repeat(connect):
    """An idle connection that ends under an order leaves one POST, not two."""
    answer = by_method(GET=respond(envelope({"balance": 1})), POST=close)
    async with RawServer(answer) as server:
        session = connect(server)
        await session.balance()
        error = await error_of(ORDERS["submit"](session))

        assert server.connections == 1
        assert len(server.posts) == 1
        assert type(error) is OutcomeUnknownError


async def test_fresh_connections_give_each_order_its_own(connect):
    """With fresh_connections no paid request uses a connection twice."""
    async with RawServer(respond(PICTURE)) as server:
        session = connect(server, fresh_connections=True)
        for _ in range(3):
            await session.images.generate("a fox")

        assert len({post.connection for post in server.posts}) == 3


async def test_an_answer_without_order_is_given_to_nobody(connect):
    """An unsolicited answer on an idle connection never becomes an order's result."""
    stray = respond(envelope({"taskId": "clstray", "state": "pending"}))

    async def twice(request, peer):
        await respond()(request, peer)
        await asyncio.sleep(0.02)
        await stray(request, peer)

    async with RawServer(twice) as server:
        session = connect(server, fresh_connections=True)
        first = await ORDERS["submit"](session)
        await asyncio.sleep(0.05)
        error = await error_of(ORDERS["submit"](session))

        assert first.task_id == "clraw1"
        assert type(error) is OutcomeUnknownError  # the server gave the same id twice
        assert error.task_id is None  # that task is the first order's
        assert len(server.posts) == 2


async def test_a_second_order_never_gets_the_task_of_the_first(connect):
    """An id that is already tracked is no answer to another order."""
    async with RawServer(respond()) as server:
        session = connect(server)
        handle = await ORDERS["submit"](session)
        error = await error_of(ORDERS["submit"](session))

        assert handle.task_id == "clraw1"
        assert type(error) is OutcomeUnknownError
        assert "second order" in str(error)
        assert session.stats().submitted == 1


# --- TLS --------------------------------------------------------------------------

CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgOE9JwGbvqIJYBMHs
uiVRGeTNUQ8I05Y6MDqsn5LhurShRANCAATmnN9wFZ6GEr3058rAk9rQZwlrcvE3
6sn7nTPfs1utN7Jmoda8h8rvAo0kqEPWlIHRlxutr2M8tso21V7d0Tfc
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIUVpsIk5MLhkMjdyvGpylv/M4h6PEwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMzA3MjEwN1oYDzIxMjYxMDMw
MDcyMTA3WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATmnN9wFZ6GEr3058rAk9rQZwlrcvE36sn7nTPfs1utN7Jmoda8h8rv
Ao0kqEPWlIHRlxutr2M8tso21V7d0Tfco28wbTAdBgNVHQ4EFgQU3mMQqqJrCOTw
x7VYQQ+mpQ9zYbcwHwYDVR0jBBgwFoAU3mMQqqJrCOTwx7VYQQ+mpQ9zYbcwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSAAwRQIhAOlbFVKHQcb7rZrZItPbnNBRzjBIVQnTvUmr7lqTk/oDAiA/
QMC8uyzlJNLRGpaItfRHW95YAmB3TrCeDJYrVb49zg==
-----END CERTIFICATE-----
"""
"""Self-signed, for localhost; protects nothing."""


@pytest.fixture
def untrusted(tmp_path):
    """Return the TLS settings of a server nobody vouches for."""
    path = Path(tmp_path) / "server.pem"
    path.write_text(CERTIFICATE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


async def test_an_untrusted_certificate_is_final(connect, untrusted):
    """A certificate nobody vouches for is not tried twice, and nothing is sent."""
    async with RawServer(ssl=untrusted) as server:
        error = await error_of(ORDERS["generate"](connect(server)))
        await asyncio.sleep(0.05)

        assert type(error) is ConnectionFailedError
        assert "not trusted" in str(error)
        assert "checking the certificate" in str(error)
        assert error.charged is False
        assert server.received == []


async def test_a_peer_that_does_not_speak_tls_is_retried(connect):
    """A handshake that fails is a connection that failed: never sent, uncharged."""
    greeted = []

    async def greet(peer):
        greeted.append(peer.number)
        await peer.say(b"HTTP/1.1 400 Plain\r\n\r\n")
        return True

    async with RawServer(greet=greet) as server:
        server.base_url = server.base_url.replace("http:", "https:")
        error = await error_of(ORDERS["generate"](connect(server)))

        assert type(error) is ConnectionFailedError
        assert error.charged is False
        assert len(greeted) == 4
