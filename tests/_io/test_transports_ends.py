"""What both transports promise to who is cancelled, and when they are closed."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from support.raw import hang, message, raw, respond
from support.transports import body_of, exchange, get, order, stuck
from support.waiting import until

from apimodels_async._ports import Failure, Kind, Phase, Reply, Request, Sent

SAID = b'{"said": "so"}'
TURNS = range(31)


async def echo(request, peer):
    """Answer with what was asked, so that a wrong answer is seen."""
    await respond(request.target.encode())(request, peer)


def asked(name, body=b"{}"):
    """Return an order, and what its answer says."""
    request = Request(method="POST", path=name, kind=Kind.CREATE, body=body)
    return request, f"/api/v1/{name}".encode()


# --- cancellation -----------------------------------------------------------------


async def cut_after(turns, transport, request):
    """Send *request* and cancel it after some turns of the loop; return its fate."""
    sent = Sent()
    call = asyncio.create_task(transport.send(request, sent))
    for _ in range(turns):
        await asyncio.sleep(0)
    call.cancel()
    try:
        return await call, sent
    except asyncio.CancelledError:
        return None, sent


async def cut_at_every_turn(way, server, transport, name, body=b"{}"):
    """Cancel an order after each number of turns; return the names of those sent."""
    sent_names = set()
    for turns in TURNS:
        request, right = asked(f"{name}{turns}", body)
        answer, sent = await cut_after(turns, transport, request)
        assert answer is None or answer.body == right, answer
        if sent.at is not None:
            sent_names.add(request.path)
        follows, right = asked(f"{name}{turns}-next")
        assert await body_of(transport, follows) == right
        sent_names.add(follows.path)
        await until(lambda: transport.connections <= 1)
    return sent_names


@pytest.mark.parametrize("size", [2, 200 << 10])
@pytest.mark.parametrize("fresh", [False, True])
async def test_a_cancellation_at_any_turn_leaves_all_in_order(way, fresh, size):
    """
    One place is enough for all who come after, and who was sent to is known: over an
    idle connection, or a new one.
    """
    async with way.server(echo) as server:
        async with way.to(server, most=1, fresh=fresh) as transport:
            sent = await cut_at_every_turn(way, server, transport, "o", b"x" * size)
        await until(lambda: server.open_now == 0)

        arrived = {one.target.removeprefix("/api/v1/") for one in server.received}
        assert arrived <= sent
        assert transport.connections == 0


async def test_a_cancellation_while_an_answer_is_on_its_way_leaves_all_in_order(way):
    """An answer that was half read is nobody's, and its connection is gone."""

    async def halting(request, peer):
        data = message(request.target.encode())
        if request.target.endswith("-next"):
            await peer.say(data)
            return
        for at in range(0, len(data), 5):
            await peer.say(data[at : at + 5])
            await asyncio.sleep(0)

    async with way.server(halting) as server, way.to(server, most=1) as transport:
        await cut_at_every_turn(way, server, transport, "o")
        assert transport.connections == 1


async def test_a_cancelled_order_sends_no_more_of_itself(way):
    """Its connection is cut, though the server reads none of its body."""

    async with (
        way.server(stuck, unread=True) as server,
        way.to(server) as transport,
    ):
        for size in (900 << 10, 8 << 20):
            server.arrived.clear()
            sent = Sent()
            call = asyncio.create_task(transport.send(order(b"x" * size), sent))
            await server.arrived.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert sent.at is not None
            await until(lambda: transport.connections == 0)


async def test_who_is_cancelled_in_the_queue_takes_nothing(way):
    """Nor does it hold up who waits behind."""
    free = asyncio.Event()

    async def later(request, peer):
        await free.wait()
        await echo(request, peer)

    async with way.server(later) as server, way.to(server, most=1) as transport:
        first, right = asked("first")
        calls = [asyncio.create_task(body_of(transport, first))]
        await server.arrived.wait()
        for name in ("second", "third"):
            calls.append(asyncio.create_task(body_of(transport, asked(name)[0])))
            await asyncio.sleep(0)
        calls[1].cancel()
        free.set()
        ended = await asyncio.gather(*calls, return_exceptions=True)

        assert ended[0] == right
        assert isinstance(ended[1], asyncio.CancelledError)
        assert ended[2] == asked("third")[1]
        assert [one.target for one in server.posts] == [
            "/api/v1/first",
            "/api/v1/third",
        ]


# --- closing ----------------------------------------------------------------------


def check_closed(failure, *, sent):
    """Check that *failure* says that no request will get through any more."""
    assert isinstance(failure, Failure), failure
    assert failure.closed
    assert not failure.retryable
    assert failure.sent is sent


@pytest.mark.parametrize("fresh", [False, True])
async def test_closing_tells_all_who_wait(way, fresh):
    """For an answer or for a connection: a typed failure, and nobody is cancelled."""
    async with way.server(hang) as server:
        async with way.to(server, most=2, fresh=fresh) as transport:
            calls = [
                asyncio.create_task(exchange(transport, order(b"%d" % number)))
                for number in range(4)
            ]
            calls.append(asyncio.create_task(exchange(transport, get())))
            await until(lambda: server.in_hand == 2)
        ended = await asyncio.gather(*calls)

        for failure, sent in ended[:4]:
            check_closed(failure, sent=sent.at is not None)
        check_closed(ended[4][0], sent=way.wire)
        assert sum(sent.at is not None for _, sent in ended[:4]) == 1
        assert len(server.received) == 2
        assert transport.connections == 0


PARTS = {
    "length": message(SAID)[:-5],
    "chunked": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n" + SAID[:9]
    ),
    "none": b"HTTP/1.1 200 OK\r\n\r\n" + SAID[:9],
}


@pytest.mark.parametrize("form", PARTS)
async def test_closing_tells_who_reads(way, form):
    """Half a body is a failure that has it, at once, also where no length was told."""

    async def halve(request, peer):
        await peer.say(PARTS[form])
        await hang(request, peer)

    async with way.server(halve) as server:
        async with way.to(server) as transport:
            calls = [
                asyncio.create_task(exchange(transport, each))
                for each in (order(), get())
            ]
            await until(lambda: server.in_hand == 2)
            for _ in range(20):
                await asyncio.sleep(0.002)
        for failure, _ in await asyncio.gather(*calls):
            check_closed(failure, sent=failure.sent)
            assert (failure.status, failure.phase) == (200, Phase.BODY)
            assert failure.body == SAID[:9]


async def test_closing_waits_for_no_server(way):
    """Neither for one that reads none of a body, nor for a goodbye."""

    async with way.server(stuck, unread=True) as server:
        async with way.to(server) as transport:
            large = order(b"x" * (900 << 10))
            calls = [asyncio.create_task(exchange(transport, large)) for _ in range(2)]
            await until(lambda: server.in_hand == 2)
        for failure, _ in await asyncio.gather(*calls):
            check_closed(failure, sent=True)
        assert transport.connections == 0


async def test_closing_cuts_what_junk_had_closed(way):
    """Behind an answer longer than it said, aiohttp closes a connection twice."""
    large = b"x" * 300_000

    peers = []

    async def answer(_request, peer):
        peers.append(peer)
        await peer.say(message(large) + b"junk")
        peer.writer.transport.pause_reading()  # it hears no goodbye
        await asyncio.Event().wait()

    async with way.server(answer) as server:
        async with way.to(server) as transport:
            assert await body_of(transport) == large
        await until(lambda: transport.connections == 0)
        for peer in peers:
            peer.writer.transport.abort()


async def test_what_is_closed_connects_no_more(way):
    """Every later request is a failure, and the server hears of none."""
    async with way.server(echo) as server:
        async with way.to(server) as transport:
            await body_of(transport)
        for request in (get(), order(), order(b"x" * (2 << 20))):
            failure, sent = await exchange(transport, request)
            check_closed(failure, sent=False)
            assert sent.at is None
        await transport.aclose()

        assert server.connections == 1


async def test_closing_while_it_connects_is_told(way):
    """A connection that comes too late carries nothing."""
    async with way.server(echo) as server:
        async with contextlib.AsyncExitStack() as stack:
            transport = await stack.enter_async_context(way.to(server))
            call = asyncio.create_task(exchange(transport, order()))
            for _ in range(3):
                await asyncio.sleep(0)
        failure, sent = await call

        if sent.at is None:
            check_closed(failure, sent=False)
        assert len(server.received) == (sent.at is not None)


async def test_closing_while_a_name_is_looked_up_is_told(way):
    """aiohttp cancels who waits for the address; he gets a typed failure instead."""
    async with way.to("https://no-such-host.invalid/v1") as transport:
        call = asyncio.create_task(exchange(transport, order()))
        for _ in range(2):
            await asyncio.sleep(0)
    failure, _ = await call

    # Where names are looked up on this machine, the answer can be faster.
    if "does not resolve" not in failure.reason:
        check_closed(failure, sent=False)


async def test_idle_connections_end_with_the_transport(way):
    """None is open when the closing has ended, whatever each had served."""
    async with way.server(raw(message(SAID))) as server:
        async with way.to(server, fresh=True) as transport:
            replies = await asyncio.gather(
                *(exchange(transport, each) for each in [get(), order()] * 3)
            )
            assert all(isinstance(reply, Reply) for reply, _ in replies)
        assert transport.connections == 0
        await until(lambda: server.open_now == 0)
