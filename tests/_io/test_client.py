"""What goes over the wire: headers, connections, limits, a lent aiohttp session."""

from __future__ import annotations

import asyncio
import sys
import time

import aiohttp
import pytest
from support.raw import (
    CREATED,
    PICTURE,
    RawServer,
    by_method,
    envelope,
    hang,
    message,
    raw,
    respond,
)
from support.sessions import KEY
from support.waiting import until
from yarl import URL

import apimodels_async
from apimodels_async import (
    ConfigurationError,
    ConnectionFailedError,
    OutcomeUnknownError,
    RetryPolicy,
    Session,
    Timeouts,
)
from apimodels_async._io.client import AiohttpTransport
from apimodels_async._io.http.connector import Pool
from apimodels_async._io.http.places import ConnectionPlaces
from apimodels_async._secret import Secret

TASK = {"model": "gpt-image-2"}
ONCE = RetryPolicy(attempts=1)
BALANCE = envelope({"balance": "5"})


async def test_the_headers_are_few_and_known(connect):
    """Each request says who asks, wants no encoding, and carries key and type."""
    answer = by_method(POST=respond(PICTURE), GET=respond(BALANCE))
    async with RawServer(answer) as server:
        session = connect(server)
        await session.balance()
        await session.images.generate("a fox — ☃")
        got, post = server.received

        assert set(got.headers) == {
            "host",
            "authorization",
            "user-agent",
            "accept",
            "accept-encoding",
        }
        assert set(post.headers) - set(got.headers) == {
            "content-type",
            "content-length",
        }
        for request in (got, post):
            assert request.headers["authorization"] == f"Bearer {KEY}"
            assert request.headers["accept-encoding"] == "identity"
            agent = request.headers["user-agent"]
            assert agent.startswith(
                f"apimodels-async-python/{apimodels_async.__version__} "
            )
            assert f"aiohttp/{aiohttp.__version__}" in agent
            assert f"python/{sys.version_info[0]}.{sys.version_info[1]}" in agent
        assert post.headers["content-type"] == "application/json"
        assert "a fox — ☃".encode() in post.body
        assert post.target == "/api/v1/images/generations-sync"


# --- limits -----------------------------------------------------------------------


async def test_connections_are_never_more_than_allowed(connect):
    """Forty calls at once share five sockets."""

    async def later(request, peer):
        await asyncio.sleep(0.01)
        body = PICTURE if request.method == "POST" else BALANCE
        await respond(body)(request, peer)

    async with RawServer(later) as server:
        patient = apimodels_async.Timeouts(connect=5)
        session = connect(server, max_connections=5, timeouts=patient)
        calls = [session.balance() for _ in range(20)]
        calls += [session.images.generate("a fox") for _ in range(20)]
        await asyncio.gather(*calls)

        assert server.most_open == 5
        assert session.stats().connections == 5


async def test_polls_leave_room_for_paid_requests(connect):
    """With every poll hanging, an order still gets a connection at once."""
    answer = by_method(GET=hang, POST=respond(PICTURE))
    async with RawServer(answer) as server:
        session = connect(
            server,
            max_connections=6,
            max_polls=64,
            timeouts=apimodels_async.Timeouts(connect=1, read=20),
        )
        for number in range(20):
            session.images.attach(f"cl{number}")
        await until(lambda: not (server.in_hand < 4))
        result = await session.images.generate("a fox")

        assert result.url
        assert server.in_hand == 4


async def test_one_connection_is_enough(emulator, connect):
    """Even a session of one socket works."""
    patient = apimodels_async.Timeouts(connect=5)
    session = connect(emulator, max_connections=1, timeouts=patient)
    handles = [await session.images.submit(f"{n}", **TASK) for n in range(3)]

    assert len(await asyncio.gather(*handles)) == 3
    assert emulator.peak_connections == 1


# --- large answers ----------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        respond(b"[" + b" " * (2 << 20) + b"]"),
        raw(b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (2 << 20), close=True),
        raw(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"10000\r\n%s\r\n" % (b" " * 65_536) * 20
        ),
    ],
    ids=["length", "none", "chunked"],
)
async def test_an_answer_without_end_is_cut(connect, answer):
    """More than 1 MiB of status or balance is not read."""
    async with RawServer(answer) as server:
        with pytest.raises(ConnectionFailedError, match="larger than"):
            await connect(server).balance()

        assert len(server.received) == 1


async def test_a_chunked_answer_is_an_answer(connect):
    """Chunks without a length are put together."""
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in BALANCE) + b"0\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with RawServer(raw(head + chunks)) as server:
        assert (await connect(server).balance()).balance == 5


async def test_a_large_order_arrives_whole(connect):
    """A body of 3 MiB, as base64 inputs make it, is sent without a warning."""
    async with RawServer(respond(CREATED)) as server:
        picture = "data:image/png;base64," + "A" * (3 << 20)
        await connect(server).images.submit("a", image_url=picture, **TASK)

        [post] = server.posts
        assert picture.encode() in post.body


# --- a lent session ---------------------------------------------------------------


async def test_a_lent_session_shares_its_pool_and_nothing_else(connect):
    """Its connector is used; its headers, cookies and auth are not; it stays open."""
    answer = by_method(GET=respond(BALANCE), POST=respond(PICTURE))
    async with (
        RawServer(answer) as server,
        aiohttp.ClientSession(
            headers={"X-Mine": "secret", "Authorization": "Basic mine"},
            cookies={"mine": "secret"},
        ) as http,
    ):
        async with http.get(server.origin) as reply:
            await reply.read()
        session = connect(server, http=http)
        await session.balance()
        await session.images.generate("a fox")
        await session.aclose()

        assert server.connections == 1
        assert not http.closed
        assert not http.connector.closed
        for request in server.received[1:]:
            assert "x-mine" not in request.headers
            assert "cookie" not in request.headers
            assert request.headers["authorization"].startswith("Bearer ")
        assert session.stats().connections is None
        assert "0/68" in repr(session)  # of 100, files may have 16 each way
        async with http.get(server.origin) as reply:
            assert reply.status == 200


async def test_a_lent_sessions_traces_see_the_requests(connect):
    """Trace configs of the lent session go on working, for free and paid requests."""
    seen = []
    trace = aiohttp.TraceConfig()

    async def note(_session, _context, params):
        seen.append(params.method)

    trace.on_request_start.append(note)
    answer = by_method(GET=respond(BALANCE), POST=respond(PICTURE))
    async with (
        RawServer(answer) as server,
        aiohttp.ClientSession(trace_configs=[trace]) as http,
    ):
        session = connect(server, http=http)
        await session.balance()
        await session.images.generate("a fox")
        await session.aclose()

    assert seen == ["GET", "POST"]


@pytest.mark.parametrize(
    ("where", "kind", "sent", "charged"),
    [
        ("on_request_start", ConnectionFailedError, 0, False),
        ("on_request_headers_sent", ConnectionFailedError, 0, False),
        ("on_request_chunk_sent", OutcomeUnknownError, 0, None),
        ("on_request_end", OutcomeUnknownError, 1, None),
    ],
)
async def test_a_hook_that_raises_ends_its_order_in_words(
    connect, where, kind, sent, charged
):
    """A bug in a lent session's hook is named in a typed error, without the key."""
    trace = aiohttp.TraceConfig()

    async def fail(_session, _context, params):
        if getattr(params, "method", "POST") == "POST":
            msg = f"no metric for {KEY}"
            raise KeyError(msg)

    getattr(trace, where).append(fail)
    async with (
        RawServer(by_method(GET=respond(BALANCE), POST=respond(PICTURE))) as server,
        aiohttp.ClientSession(trace_configs=[trace]) as http,
    ):
        session = connect(server, http=http)
        with pytest.raises(kind, match="KeyError: 'no metric for") as caught:
            await session.images.generate("a fox")

        error = caught.value
        assert error.charged is charged
        assert KEY not in str(error)
        assert (error.__cause__, error.__context__) == (None, None)
        assert len(server.posts) == sent
        assert (await session.balance()).balance == 5


async def test_a_hook_that_raises_in_a_poll_ends_no_task(connect):
    """A bug in a lent session's hook is a failed poll, and the next one succeeds."""
    seen = []
    trace = aiohttp.TraceConfig()

    async def fail_once(_session, _context, params):
        seen.append(params.method)
        if seen.count("GET") == 1 and params.method == "GET":
            raise LookupError

    trace.on_request_end.append(fail_once)
    urls = ["https://a.b/c.png"]
    done = {"taskId": "clraw1", "state": "completed", "resultUrls": urls}
    answer = by_method(GET=respond(envelope(done)), POST=respond(CREATED))
    async with (
        RawServer(answer) as server,
        aiohttp.ClientSession(trace_configs=[trace]) as http,
    ):
        session = connect(server, http=http)
        handle = await session.images.submit("a fox", **TASK)

        assert (await handle.result(timeout=10)).url == "https://a.b/c.png"
        assert seen == ["POST", "GET", "GET"]


async def test_a_lent_session_still_tells_what_was_sent(connect):
    """An order cut over a lent pool is of unknown fate too, and sent once."""
    async with (
        RawServer(raw(b"", close=True)) as server,
        aiohttp.ClientSession() as http,
    ):
        session = connect(server, http=http)
        with pytest.raises(OutcomeUnknownError):
            await session.images.generate("a fox")
        await session.aclose()

        assert len(server.posts) == 1


async def test_a_lent_session_makes_fresh_connections_if_its_connector_does(connect):
    """fresh_connections with http= is refused with what to do, and that does it."""
    connector = aiohttp.TCPConnector(force_close=True)
    async with (
        RawServer(respond(PICTURE)) as server,
        aiohttp.ClientSession(connector=connector) as http,
    ):
        with pytest.raises(ConfigurationError, match="force_close=True"):
            connect(server, http=http, fresh_connections=True)
        session = connect(server, http=http)
        await session.images.generate("a fox")
        await session.images.generate("a fox")
        await session.aclose()

        assert server.connections == 2
        assert not http.connector.closed


async def test_a_closed_session_is_not_borrowed():
    """A closed aiohttp session is refused when it is given, not when it is used."""
    http = aiohttp.ClientSession()
    await http.close()
    with pytest.raises(ConfigurationError, match="closed"):
        Session("sk_x", http=http)


async def test_a_pool_closed_by_its_owner_is_told(connect):
    """If the lender closes the pool, calls that queue for it get a typed error."""
    async with RawServer(hang) as server:
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(connector=connector) as http:
            session = connect(
                server, http=http, timeouts=apimodels_async.Timeouts(generate=5)
            )
            first = asyncio.create_task(session.images.generate("a fox"))
            await server.arrived.wait()
            second = asyncio.create_task(session.images.generate("an elk"))
            third = asyncio.create_task(session.balance())
            await asyncio.sleep(0.02)
        ended = await asyncio.gather(first, second, third, return_exceptions=True)
        with pytest.raises(ConnectionFailedError) as caught:
            await session.balance()
        await session.aclose()

        assert [type(error) for error in ended] == [
            OutcomeUnknownError,
            ConnectionFailedError,
            ConnectionFailedError,
        ]
        assert caught.value.charged is False
        assert len(server.received) == 1


async def test_an_answer_left_on_an_idle_connection_is_nobodys(connect):
    """Bytes nobody asked for are not taken for the next answer."""
    stray = message(envelope({"balance": "666"}))
    async with RawServer(raw(message(BALANCE) + stray)) as server:
        session = connect(server)
        await session.balance()
        await asyncio.sleep(0.05)

        assert (await session.balance()).balance == 5


async def test_the_key_is_for_one_origin():
    """A request to any other origin would go out without the key."""
    base_url = "http://127.0.0.1:1/api/v1"
    pool = Pool(1, fresh=False)
    transport = AiohttpTransport(
        base_url, Secret(KEY), Timeouts(), pool, ConnectionPlaces(1)
    )
    assert "Authorization" in transport._authorization(URL("http://127.0.0.1:1/x"))
    for other in ("http://127.0.0.1:2/x", "https://127.0.0.1:1/x", "http://[::1]:1/"):
        assert transport._authorization(URL(other)) == {}
    await transport.aclose()


async def test_more_orders_than_connections_wait_without_a_timeout(emulator, connect):
    """Orders beyond the pool wait for their turn; that wait is no connect timeout."""
    emulator.fault("sync", "slow", times=None, seconds=0.2)
    session = connect(
        emulator,
        max_connections=2,
        timeouts=Timeouts(connect=0.3),
        retry=RetryPolicy(attempts=1),
    )
    results = await asyncio.gather(
        *(session.images.generate(f"fox {number}") for number in range(8))
    )

    assert len({result.url for result in results}) == 8


async def test_a_cancellation_at_the_end_of_patience_is_not_swallowed(connect):
    """Whoever is cancelled in the very turn of the loop of a time-out is cancelled."""
    loop, patience = asyncio.get_running_loop(), 0.3
    async with RawServer(hang) as server:
        session = connect(server, timeouts=Timeouts(read=patience), retry=ONCE)
        ends = loop.time() + patience
        calls = [asyncio.create_task(session.balance()) for _ in range(20)]
        for call in calls:
            loop.call_at(ends, call.cancel)
        # A loop that is busy for a moment finds all these timers due in one turn.
        loop.call_at(ends - 0.01, time.sleep, 0.6)
        await asyncio.wait(calls)

    assert all(call.cancelled() for call in calls)
