"""What both transports promise where the network or the server does not keep its."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest
import trustme
from support.cases import check_all, check_all_at_once
from support.raw import RawServer, hang, in_turn, message, respond, slowly
from support.transports import body_of, exchange, get, order, reply_to, stuck
from support.waiting import until

from apimodels_async import Timeouts
from apimodels_async._ports import Failure, File, Kind, Phase, Reply, Request

OK = b"HTTP/1.1 200 OK\r\n"
SAID = b'{"said": "so"}'
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
HALVES = b"7\r\n" + SAID[:7] + b"\r\n7\r\n" + SAID[7:] + b"\r\n0\r\n\r\n"
FILE = File("a.png", "image/png", b"\x89PNG")
UPLOAD = Request(method="POST", path="files", kind=Kind.UPLOAD, file=FILE)
LARGE = b"x" * (900 << 10)

# --- an answer that is cut --------------------------------------------------------


def cuts(answer, *, closed=True):
    """Return, for each byte, what cuts *answer* there, and how."""
    ways = ("close", "reset") if closed else ("reset",)
    return [(at, how) for at in range(len(answer)) for how in ways]


async def failure_at(transport, at, how):
    """Send an order that is cut; return the failure, which must be one."""
    failure, sent = await exchange(transport, order(f"{at} {how}".encode()))
    assert isinstance(failure, Failure), failure
    assert failure.sent
    assert sent.at is not None
    assert not failure.timed_out
    return failure


def cutting(answer):
    """Answer with as many bytes as the request says."""

    async def cut(request, peer):
        at, how = request.body.decode().split()
        await peer.say(answer[: int(at)])
        if how == "reset":
            await asyncio.sleep(0.02)  # or it overtakes what was said
            peer.reset()
        else:
            peer.close()

    return cut


async def test_an_answer_that_is_cut_at_any_byte_is_a_failure(way):
    """It says how far it came: the status with the head, and the start of the body."""
    whole = message(SAID)
    head = len(whole) - len(SAID)

    async def check(at, how):
        failure = await failure_at(transport, at, how)
        told = at >= head
        assert failure.status == (200 if told else None)
        assert failure.phase is (Phase.BODY if told else Phase.ANSWER)
        assert failure.body == whole[head : max(at, head)]

    async with (
        way.server(cutting(whole)) as server,
        way.to(server, most=16) as transport,
    ):
        await check_all_at_once(cuts(whole), check)
        assert transport.connections == 0


@pytest.mark.parametrize("whole", [CHUNKED + HALVES, OK + b"\r\n" + SAID])
async def test_an_answer_without_length_that_is_cut_is_a_failure(way, whole):
    """In chunks, at any byte; ended by its connection, wherever that was reset."""
    chunked = HALVES in whole

    async def check(at, how):
        failure = await failure_at(transport, at, how)
        assert SAID.startswith(failure.body)

    async with (
        way.server(cutting(whole)) as server,
        way.to(server, most=16) as transport,
    ):
        cases = cuts(whole, closed=chunked)
        if not chunked:
            cases.append((len(whole), "reset"))
        await check_all_at_once(cases, check)


async def test_a_broken_chunk_is_told_at_once(way):
    """Also where the head and a good chunk came before it: no time-out is awaited."""

    async def answer(_request, peer):
        await peer.say(CHUNKED + b"7\r\n" + SAID[:7] + b"\r\n")
        await asyncio.sleep(0.02)
        await peer.say(b"ZZ\r\nnull\r\n")
        await asyncio.Event().wait()

    async with way.server(answer) as server, way.to(server) as transport:
        for request in (get(), order()):
            failure, _ = await exchange(transport, request)
            assert isinstance(failure, Failure)
            assert (failure.status, failure.body) == (200, SAID[:7])
            assert not failure.timed_out


async def test_a_whole_answer_counts_whatever_comes_after(way):
    """A FIN or reset behind the last byte takes nothing away."""

    async def check(ending):
        async def answer(_request, peer):
            await peer.say(message(SAID))
            await asyncio.sleep(0.02)
            peer.close() if ending == "close" else peer.reset()

        async with way.server(answer) as server, way.to(server) as transport:
            for _ in range(3):
                assert await body_of(transport) == SAID
                await until(lambda: transport.connections == 0)
            assert server.connections == 3

    await check_all_at_once(["close", "reset"], check)


async def test_a_server_may_stop_sending_before_it_stops_reading(way):
    """A half-closed connection is over: before the answer it is a failure."""
    if way.tls:
        pytest.skip("TLS knows no half-closed connection")

    async def nothing(_request, peer):
        peer.writer.write_eof()
        await asyncio.Event().wait()

    async def all_of_it(_request, peer):
        await peer.say(message(SAID))
        peer.writer.write_eof()
        await asyncio.Event().wait()

    answers = in_turn(nothing, all_of_it, respond(SAID))
    async with way.server(answers) as server, way.to(server) as transport:
        failure, _ = await exchange(transport, order())
        assert isinstance(failure, Failure)
        assert (failure.sent, failure.phase) == (True, Phase.ANSWER)
        assert await body_of(transport) == SAID
        await until(lambda: transport.connections == 0)
        assert await body_of(transport) == SAID
        assert server.connections == 3


# --- connections that are not what they seem --------------------------------------


async def test_a_connection_that_was_closed_while_idle_is_not_used(way):
    """Nor one that was reset: the next order goes over a new one, and once."""

    async def check(ending):
        peers = []

        async def answer(request, peer):
            peers.append(peer)
            await respond(SAID)(request, peer)

        async with way.server(answer) as server, way.to(server) as transport:
            await body_of(transport)
            # Nobody has heard of it when the next request is written.
            if ending == "close":
                peers[0].writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
            else:
                peers[0].reset()
                await asyncio.sleep(0)
            assert await body_of(transport) == SAID
            assert len(server.posts) == 2

    await check_all_at_once(["close", "reset"], check)


STRAYS = {
    "an answer": message(b'{"stray": 1}'),
    "a head": OK,
    "half a status line": b"HTTP/1.1 2",
    "no HTTP": b"hello",
    "line breaks": b"\r\n\r\n",
}


async def test_what_nobody_asked_for_is_nobodys_answer(way):
    """Bytes behind an answer, with it or later, are not the answer to the next."""

    async def check(name, pause):
        async def answer(request, peer):
            body = request.body
            data = message(body)
            if not pause:
                await peer.say(data + STRAYS[name])
                return
            await peer.say(data)
            await asyncio.sleep(0.02)
            await peer.say(STRAYS[name])

        async with way.server(answer) as server, way.to(server, most=1) as transport:
            for number in range(4):
                body = b'{"n": %d}' % number
                assert await body_of(transport, order(body)) == body
                if pause:
                    await asyncio.sleep(0.04)

    # Junk in one piece with an answer spoils that one: aiohttp's parser gives up both.
    cases = [(name, True) for name in STRAYS]
    cases += [(name, False) for name in STRAYS if name != "no HTTP"]
    await check_all_at_once(cases, check)


async def test_an_answer_that_overtakes_a_large_body_is_the_last(way):
    """A server that refuses a body unread is believed; nothing queues behind that."""
    refusal = respond(b"too large", 413)
    async with (
        way.server(refusal, unread=True) as server,
        way.to(server, most=1) as transport,
    ):
        for _ in range(2):
            reply = await reply_to(transport, order(LARGE))
            assert (reply.status, reply.body) == (413, b"too large")
        server.unread, server.answer = False, respond(SAID)
        assert await body_of(transport) == SAID
        numbers = [one.connection for one in server.received]
        assert numbers == [1, 2, 3]
        await until(lambda: transport.connections <= 1)


async def test_a_body_that_nobody_reads_ends_with_its_time(way):
    """A server that neither reads nor answers costs the time-out and no connection."""
    short = Timeouts(connect=20, read=1, generate=1, download=20)

    async with (
        way.server(stuck, unread=True) as server,
        way.to(server, timeouts=short) as transport,
    ):
        for size in (len(LARGE), 8 << 20):
            request = order(b"x" * size, Kind.GENERATE)
            failure, _ = await exchange(transport, request)
            assert isinstance(failure, Failure)
            assert (failure.sent, failure.timed_out) == (True, True)
        await until(lambda: transport.connections == 0)


# --- no connection ----------------------------------------------------------------


async def test_a_refused_connection_is_told(way):
    """Nothing listens: nothing was sent, and trying again may help."""
    async with way.server() as server:
        base_url = server.base_url
    async with way.to(base_url) as transport:
        failure, sent = await exchange(transport, order())
        assert isinstance(failure, Failure)
        assert (failure.sent, sent.at, failure.retryable) == (False, None, True)
        assert failure.phase is Phase.CONNECT
        assert "Connection refused at 127.0.0.1:" in failure.reason


async def test_a_connection_that_takes_too_long_is_told(way):
    """A server that never says hello got nothing, and trying again may help."""

    async def greet(_peer):
        await asyncio.Event().wait()

    async with RawServer(greet=greet) as server:
        url = server.base_url.replace("http:", "https:")
        async with way.to(url, timeouts=Timeouts(connect=1)) as transport:
            failure, sent = await exchange(transport, order())
            assert isinstance(failure, Failure)
            assert (failure.sent, sent.at, failure.retryable) == (False, None, True)
            assert (failure.phase, failure.timed_out) == (Phase.CONNECT, True)
            assert "at 127.0.0.1:" in failure.reason


async def test_a_name_without_address_is_told(way):
    """It was never sent to, in words and with the name."""
    async with way.to("https://no-such-host.invalid/v1") as transport:
        failure, _ = await exchange(transport, order())
        assert isinstance(failure, Failure)
        assert (failure.sent, failure.phase) == (False, Phase.CONNECT)
        assert "no-such-host.invalid" in failure.reason


async def test_who_is_not_trusted_gets_nothing(way):
    """A certificate of another authority ends it, and no other try is made."""
    if not way.tls:
        pytest.skip("there is no certificate")
    stranger = trustme.CA()
    async with way.server() as server, way.to(server, trust=stranger) as transport:
        failure, sent = await exchange(transport, order())
        assert isinstance(failure, Failure)
        assert (failure.sent, sent.at) == (False, None)
        assert (failure.phase, failure.retryable) == (Phase.TLS, False)
        assert "is not trusted" in failure.reason
        assert server.received == []


async def test_a_server_without_tls_gets_nothing(way):
    """Where TLS is to be spoken and is not, nothing is sent."""
    if not way.tls:
        pytest.skip("none is to be spoken")

    async def greet(peer):
        await peer.say(b"HTTP/1.1 400 This is plain HTTP\r\n\r\n")
        peer.close()
        return True

    async with RawServer(greet=greet) as server:
        url = server.base_url.replace("http:", "https:")
        async with way.to(url) as transport:
            failure, sent = await exchange(transport, order())
        assert isinstance(failure, Failure)
        assert (failure.sent, sent.at) == (False, None)
        assert server.received == []


# --- time -------------------------------------------------------------------------

KINDS = {
    Kind.FREE: get(),
    Kind.CREATE: order(),
    Kind.GENERATE: order(kind=Kind.GENERATE),
    Kind.UPLOAD: UPLOAD,
}


async def test_each_kind_has_its_time(way):
    """A silent server: polls, tasks and files end by *read*, pictures by *generate*."""
    quick = Timeouts(connect=20, read=0.2, generate=30, download=30)
    slow = Timeouts(connect=20, read=30, generate=0.2, download=30)
    async with (
        way.server(hang) as server,
        way.to(server, timeouts=quick) as short,
        way.to(server, timeouts=slow) as long,
    ):
        sends = [(long if kind is Kind.GENERATE else short, kind) for kind in KINDS]
        patient = asyncio.create_task(exchange(short, KINDS[Kind.GENERATE]))
        ended = await asyncio.gather(
            *(exchange(transport, KINDS[kind]) for transport, kind in sends)
        )
        assert not patient.done()
        patient.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await patient

    def check(failure, sent):
        assert isinstance(failure, Failure)
        assert (failure.timed_out, failure.phase) == (True, Phase.ANSWER)

    check_all(ended, check)
    assert [failure.sent for failure, _ in ended[1:]] == [True] * 3


async def test_a_trickle_ends_with_the_time(way):
    """A head or body that comes a byte at a time is never silent, and ends."""
    short = Timeouts(connect=3, read=2, generate=2, download=20)
    head, body = message(SAID, X_Long="x" * 400), message(SAID * 30)
    trickles = {
        "head": slowly(head, first=12, pause=0.03),
        "body": slowly(body, first=len(body) - len(SAID * 30), pause=0.03),
    }

    async def check(name, kind):
        async with (
            way.server(trickles[name]) as server,
            way.to(server, timeouts=short) as transport,
        ):
            failure, _ = await exchange(transport, KINDS[kind])
        assert isinstance(failure, Failure)
        assert failure.timed_out
        assert failure.status == (200 if name == "body" else None)
        assert (SAID * 30).startswith(failure.body)

    kinds = (Kind.FREE, Kind.CREATE, Kind.GENERATE)
    await check_all_at_once(
        [(name, kind) for name in trickles for kind in kinds], check
    )


async def test_an_answer_without_length_does_not_end_with_the_time(way):
    """What we cut ourselves is not taken for whole."""
    short = Timeouts(connect=20, read=1, generate=1, download=20)

    async def halve(request, peer):
        await peer.say(OK + b"\r\n" + SAID[:7])
        await hang(request, peer)

    async with way.server(halve) as server, way.to(server, timeouts=short) as transport:
        for request in (get(), order(kind=Kind.GENERATE)):
            failure, _ = await exchange(transport, request)
            assert isinstance(failure, Failure)
            assert failure.timed_out
            assert (failure.status, failure.body) == (200, SAID[:7])


async def test_silence_after_an_announcement_is_silence(way):
    """A server that says 103 and then nothing is not waited for longer."""
    if not way.wire:
        pytest.skip("aiohttp's client waits until the total time-out")
    short = Timeouts(connect=20, read=0.2, generate=30, download=30)

    async def answer(_request, peer):
        await peer.say(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await asyncio.Event().wait()

    async with (
        way.server(answer) as server,
        way.to(server, timeouts=short) as transport,
    ):
        failure, _ = await exchange(transport, order())

    assert isinstance(failure, Failure)
    assert failure.timed_out


async def test_a_time_that_is_over_touches_no_later_request(way):
    """Its connection may be another's by then: of that one nothing is cut."""
    short = Timeouts(connect=20, read=0.3, generate=20, download=20)

    async def answer(request, peer):
        if request.method == "POST":
            await asyncio.sleep(0.8)
        await respond(request.target.encode())(request, peer)

    async with (
        way.server(answer) as server,
        way.to(server, most=1, timeouts=short) as transport,
    ):
        assert await body_of(transport, get()) == b"/api/v1/status"
        reply, _ = await exchange(transport, order(kind=Kind.GENERATE))
        assert isinstance(reply, Reply)
        assert server.connections == 1
