"""One paid call, one POST: whatever the network does, nothing is ordered twice."""

from __future__ import annotations

import asyncio
import itertools
import socket

import aiohttp
import pytest
from support.batches import prompts_ordered
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

TASK = {"model": "gpt-image-2"}
ORDERS = {
    "submit": lambda session: session.images.submit("a moose", **TASK),
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
        session = connect(server, http=http, timeouts=Timeouts(generate=0.05))
        other = asyncio.create_task(hold(http, server.base_url))
        await server.arrived.wait()
        error = await error_of(ORDERS["generate"](session))
        await other

        assert type(error) is TransportTimeoutError
        assert error.charged is False
        assert server.posts == []


SPOILED = ("reset", "drop", "truncated", "garbage", "bad_json", "html", "empty")


async def test_what_was_charged_is_of_unknown_fate(emulator, connect):
    """The emulator takes the order and spoils its answer: one charge, and no claim."""

    async def check(where, kind):
        prompt = f"<{where} {kind}>"
        fault = emulator.fault(where, kind, times=None, after=True, match=prompt)
        session = connect(emulator)
        order = {
            "create": lambda: session.images.submit(prompt, **TASK),
            "sync": lambda: session.images.generate(prompt),
            "edit": lambda: session.images.edit(prompt, images=["https://a.b/c.png"]),
        }
        error = await error_of(order[where]())
        await session.aclose()

        assert type(error) is OutcomeUnknownError
        assert error.charged is None
        assert fault.hits == 1
        assert prompts_ordered(emulator)[prompt] == 1
        assert session.stats().unknown == 1

    await check_all_at_once(
        itertools.product(("create", "sync", "edit"), SPOILED), check
    )


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


@pytest.mark.parametrize("fresh", [True, False])
async def test_fresh_connections_give_each_order_its_own(connect, fresh):
    """With fresh_connections every paid POST comes over a new connection."""
    async with RawServer(respond(PICTURE)) as server:
        session = connect(server, fresh_connections=fresh)
        for _ in range(5):
            await session.images.generate("a moose")
        used = [request.connection for request in server.posts]
        assert len(used) == 5
        assert (5 if fresh else 1) == len(set(used)) == server.connections
        await session.aclose()


async def test_fresh_connections_hold_in_a_batch(connect):
    """Also with many orders at once."""
    async with RawServer(respond(PICTURE)) as server:
        session = connect(server, fresh_connections=True)
        async with session.images.batch(["m"] * 20, max_pending=5) as outcomes:
            assert len([outcome async for outcome in outcomes]) == 20
        assert len({request.connection for request in server.posts}) == 20
        await session.aclose()


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
