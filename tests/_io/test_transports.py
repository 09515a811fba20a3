"""What both transports promise: every answer that is one, and the rules of sending."""

from __future__ import annotations

import asyncio
import traceback
import zlib

import pytest
from support.cases import check_all_at_once
from support.raw import envelope, hang, in_turn, message, raw, respond
from support.sessions import KEY
from support.transports import body_of, exchange, get, order, reply_to
from support.waiting import until

from apimodels_async._ports import Failure, File, Kind, Reply, Request, Sent

OK = b"HTTP/1.1 200 OK\r\n"
SAID = b'{"said": "so"}'
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

# --- answers ----------------------------------------------------------------------


def informational(*codes):
    """Return heads that announce an answer."""
    return b"".join(b"HTTP/1.1 %d Wait\r\nX-A: b\r\n\r\n" % code for code in codes)


KEPT = {
    "100": informational(100) + message(SAID),
    "102": informational(102) + message(SAID),
    "103": informational(103) + message(SAID),
    "all of them": informational(100, 102, 103) + message(SAID),
    "twenty": informational(*[103] * 20) + message(SAID),
    "HTTP/1.0, kept alive": (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 14\r\n\r\n"
        + SAID
    ),
    "chunked": CHUNKED
    + b"8\r\n"
    + SAID[:8]
    + b"\r\n6\r\n"
    + SAID[8:]
    + b"\r\n0\r\n\r\n",
    "chunks of a byte": CHUNKED
    + b"".join(b"1\r\n%c\r\n" % byte for byte in SAID)
    + b"0\r\n\r\n",
    "trailers and extensions": (
        CHUNKED + b"e;a=b;c\r\n" + SAID + b"\r\n0;d\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n"
    ),
    "Identity": message(SAID, Content_Encoding="Identity"),
    "a field of 60 KiB": message(SAID, X_Long="x" * 60_000),
    "120 fields": message(SAID, **{f"X_{number}": "y" for number in range(119)}),
}
"""Answers of 200 after which the connection is used again."""

LAST = {
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 14\r\n\r\n" + SAID,
    "HTTP/1.0 without length": b"HTTP/1.0 200 OK\r\n\r\n" + SAID,
    "without length": OK + b"\r\n" + SAID,
    "close": message(SAID, Connection="close"),
}
"""Those after which the server closes it."""


async def test_an_answer_of_any_form_is_read_and_its_connection_used_again(way):
    """Announced, chunked, with trailers or long fields: it is the same answer."""

    async def check(name):
        async with way.server(raw(KEPT[name])) as server, way.to(server) as transport:
            assert await body_of(transport) == SAID
            assert await body_of(transport) == SAID
            assert server.connections == 1

    await check_all_at_once(KEPT, check)


async def test_an_answer_may_end_with_its_connection(way):
    """Without length, or from an older server: read whole, the next one connects."""

    async def check(name):
        answer = raw(LAST[name], close=True)
        async with way.server(answer) as server, way.to(server) as transport:
            assert await body_of(transport) == SAID
            assert await body_of(transport) == SAID
            assert server.connections == 2

    await check_all_at_once(LAST, check)


async def test_an_answer_that_comes_in_pieces_is_put_together(way):
    """Byte by byte, each in a segment of its own, whatever its form."""

    async def check(name):
        async def drip(_request, peer):
            for byte in KEPT[name]:
                await peer.say(bytes([byte]))
                await asyncio.sleep(0)

        async with way.server(drip) as server, way.to(server) as transport:
            assert await body_of(transport) == SAID

    short = {name for name, data in KEPT.items() if len(data) < 500}
    await check_all_at_once(short, check)


async def test_an_answer_without_a_body_is_one(way):
    """A 204 or 304 is a reply with no bytes, and its connection is used again."""
    bare = [b"HTTP/1.1 204 No\r\n\r\n", b"HTTP/1.1 304 No\r\n\r\n", message(b"")]
    async with way.server(in_turn(*map(raw, bare))) as server:
        async with way.to(server) as transport:
            replies = [await reply_to(transport) for _ in bare]

        assert [(one.status, one.body) for one in replies] == [
            (204, b""),
            (304, b""),
            (200, b""),
        ]
        assert server.connections == 1


@pytest.mark.parametrize("fields", [b"", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"])
async def test_a_switch_of_protocols_ends_the_connection(way, fields):
    """A 101 is a reply, and nothing else is sent where no more HTTP is spoken."""
    switch = b"HTTP/1.1 101 Switching\r\n" + fields + b"\r\n"
    answers = in_turn(raw(switch), respond(SAID))
    async with way.server(answers) as server, way.to(server) as transport:
        assert (await reply_to(transport)).status == 101
        assert await body_of(transport) == SAID
        assert server.connections == 2


async def test_nothing_is_unpacked(way):
    """An encoded body comes as it is, under its name."""
    packed = zlib.compress(SAID, wbits=31)
    answer = respond(packed, Content_Encoding="gzip")
    async with way.server(answer) as server, way.to(server) as transport:
        reply = await reply_to(transport)

    assert reply.body == packed
    assert reply.headers["content-encoding"] == "gzip"


async def test_a_redirect_is_an_answer(way):
    """Nothing goes where it points."""
    answer = respond(b"", 307, Location="/elsewhere")
    async with way.server(answer) as server, way.to(server) as transport:
        assert (await reply_to(transport)).status == 307
        assert len(server.received) == 1


# --- what is too much -------------------------------------------------------------

MUCH = b" " * 300_000
TOO_LARGE = {
    "length": message(MUCH),
    "none": OK + b"\r\n" + MUCH,
    "chunked": CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(MUCH), MUCH),
    "small": message(b" " * 2001),
}


async def test_an_answer_beyond_its_limit_is_not_read_to_its_end(way):
    """Told by a length or not, it is a failure that keeps what had come."""

    async def check(name):
        answer = raw(TOO_LARGE[name], close=name == "none")
        async with way.server(answer) as server, way.to(server) as transport:
            limit = 2000 if "small" in name else 100_000
            failure, _ = await exchange(transport, order(reply_bytes_max=limit))
            assert "larger than" in failure.reason
            assert (failure.sent, failure.status) == (True, 200)
            assert len(failure.body) > limit

    await check_all_at_once(TOO_LARGE, check)


async def test_a_head_beyond_its_limits_is_a_failure(way):
    """A field above 64 KiB, or more than 128 fields: sent, and no answer."""

    async def check(fields):
        answer = respond(SAID, **fields)
        async with way.server(answer) as server, way.to(server) as transport:
            failure, _ = await exchange(transport, order())
            assert isinstance(failure, Failure)
            assert (failure.sent, failure.status) == (True, None)
            assert failure.reason.endswith("the answer is not HTTP")

    long = {"X_Long": "x" * 66_000}
    many = {f"X_{number}": "y" for number in range(200)}
    await check_all_at_once([(long,), (many,)], check)


# --- requests ---------------------------------------------------------------------


async def test_a_large_body_arrives_whole_at_a_server_that_reads_slowly(way):
    """Three MiB and 900 KiB, of which the server takes a little at a time."""
    took = []

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        body = bytearray()
        while len(body) < size:
            body += await reader.read(20_000)
            await asyncio.sleep(0)
        took.append(bytes(body))
        writer.write(message(SAID))
        await writer.drain()
        writer.close()

    async with way.server() as server:
        slow = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server.ssl)
        port = slow.sockets[0].getsockname()[1]
        scheme = "https" if way.tls else "http"
        bodies = [bytes(range(256)) * 4096 * 3, bytes(range(256)) * 3600]
        async with way.to(f"{scheme}://127.0.0.1:{port}/v1") as transport:
            for body in bodies:
                assert await body_of(transport, order(body)) == SAID
        slow.close()
        await slow.wait_closed()

    assert took == bodies


async def test_a_file_arrives_in_a_form(way):
    """An upload is sent once, as multipart, with its name and type."""
    async with way.server(respond(SAID)) as server, way.to(server) as transport:
        file = File("a fox.png", "image/png", b"\x89PNG" * 100)
        upload = Request(method="POST", path="files", kind=Kind.UPLOAD, file=file)
        assert await body_of(transport, upload) == SAID
        [post] = server.posts
        assert file.data in post.body
        assert b'filename="a fox.png"' in post.body


async def test_what_was_not_let_go_is_not_sent(way):
    """Without its leave not a byte arrives, and its connection does not come back."""

    class Leave:
        held = False

    async with way.server(respond(SAID)) as server, way.to(server) as transport:
        leave = Leave()
        sent = Sent(leave=leave)
        failure = await transport.send(order(), sent)
        assert (failure.sent, sent.at) == (False, None)
        leave.held = True
        reply = await transport.send(order(), sent)

        assert isinstance(reply, Reply)
        assert sent.at is not None
        assert len(server.received) == 1


async def test_connections_are_never_more_than_allowed(way):
    """Forty requests share four connections, and those are all there are."""
    async with way.server(respond(SAID)) as server, way.to(server) as transport:
        calls = [body_of(transport, get() if n % 2 else order()) for n in range(40)]
        assert set(await asyncio.gather(*calls)) == {SAID}
        assert server.most_open <= 4
        assert transport.connections == server.open_now


async def test_what_queued_for_a_place_gets_its_connection_as_well(way):
    """A large body that waited while all were taken goes by the one left idle."""
    let_go = asyncio.Event()

    async def answer(_request, peer):
        await let_go.wait()
        await peer.say(message(SAID))

    async with way.server(answer) as server, way.to(server, most=2) as transport:
        large = order(bytes(2 << 20))
        calls = [body_of(transport, each) for each in (order(), get(), large, large)]
        all_of_them = asyncio.gather(*calls)
        await until(lambda: server.in_hand == 2)
        let_go.set()
        assert await all_of_them == [SAID] * 4
        assert server.connections == 2


async def test_a_fresh_connection_serves_one_order(way):
    """Each order has its own, closed after it; polls go on sharing one."""
    async with way.server(respond(SAID)) as server:
        async with way.to(server, fresh=True) as transport:
            for _ in range(3):
                await body_of(transport, order())
                await body_of(transport, get())
            await until(lambda: transport.connections == 1)
            posts = {one.connection for one in server.posts}
            polls = {one.connection for one in server.received} - posts

        assert (len(posts), len(polls)) == (3, 1)


# --- the key ----------------------------------------------------------------------


def shown(error):
    """Return all that an exception can be made to show, but for frames of tests."""
    texts = []
    while error is not None:
        texts += [repr(error), repr(vars(error))]
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if "/tests/" not in frame.f_code.co_filename:
                texts += map(repr, frame.f_locals.values())
        error = error.__cause__ or error.__context__
    return " ".join(texts)


async def test_an_answer_that_repeats_the_key_is_masked(way):
    """In the body of a reply and of a failure; no repr shows it in a header."""
    echo = envelope({"you sent": KEY})
    whole = respond(echo, X_Echo=KEY)
    half = raw(message(echo, X_Echo=KEY)[:-2], close=True)
    async with (
        way.server(in_turn(whole, half)) as server,
        way.to(server) as transport,
    ):
        reply, _ = await exchange(transport, order())
        failure, _ = await exchange(transport, order())

    assert isinstance(failure, Failure)
    for answer in (reply, failure):
        assert b"***" in answer.body
        assert KEY.encode() not in answer.body
        assert KEY not in repr(answer)


@pytest.mark.parametrize("half", [b"", message(KEY.encode() * 9, X_Echo=KEY)[:-20]])
async def test_a_cancellation_shows_no_key(way, half):
    """Nor any frame of it, while the head is awaited or the body is read."""

    async def stall(request, peer):
        await peer.say(half)
        await hang(request, peer)

    async with way.server(stall) as server, way.to(server) as transport:
        for request in (get(), order(), order(b"x" * (2 << 20))):
            server.arrived.clear()
            call = asyncio.create_task(transport.send(request, Sent()))
            await server.arrived.wait()
            for _ in range(20):
                await asyncio.sleep(0.001)
            call.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await call
            assert KEY not in shown(caught.value)
            assert KEY not in repr(call)
            del caught


async def test_the_words_of_a_failure_show_no_key(way):
    """Not even where what broke would name it."""
    junk = raw(f"HTTP/1.1 {KEY}\r\n{KEY}\r\n\r\n".encode(), close=True)
    async with way.server(junk) as server, way.to(server) as transport:
        failure, _ = await exchange(transport, order())

    assert isinstance(failure, Failure)
    assert KEY not in f"{failure!r} {failure.reason}"
