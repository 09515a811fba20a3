"""Addresses of Redis servers, connections to them, and errors that pass."""

from __future__ import annotations

import asyncio
import traceback
from contextlib import asynccontextmanager
from functools import partial

import pytest
from redis import exceptions
from support.cases import check_all

from apimodels_async import ConfigurationError, Session
from apimodels_async._io.redis import Server, in_words, is_passing
from apimodels_async._secret import Secret
from apimodels_async.integrations.redis import RedisLimit, RedisRelay
from apimodels_async.stores import RedisStore, find_order, forget_order
from apimodels_async.stores.places import store_at
from apimodels_async.sync import Session as SyncSession

PASSWORD = "canary-secret"
API_KEY = "another-canary"


def test_what_is_no_address_is_refused_and_its_password_shown_nowhere():
    """Neither in words nor in a traceback with the locals of our frames."""
    bad = (
        *("http://localhost", f"redis://me:{PASSWORD}", f"redis://:{PASSWORD}@[::1/0"),
        *(f"redis://me:{PASSWORD}@host:port", f"redis://:{PASSWORD}@host?db=x", 7),
    )

    def check(make, name, url):
        with pytest.raises(ConfigurationError, match="no address of a Redis") as raised:
            make(**{name: url}).send(None)  # of a coroutine
        error = raised.value
        ours = error.__traceback__.tb_next
        told = traceback.TracebackException(
            type(error), error, ours, capture_locals=True
        )
        text = "".join(told.format())
        assert "place = " in text
        assert not any(each in text for each in (PASSWORD, API_KEY))
        assert "repr() failed" not in text

    takers = [(make, "url", bad) for make in (RedisStore, RedisLimit, RedisRelay)]
    sessions = (partial(kind, API_KEY) for kind in (Session, SyncSession))
    takers += [(make, "store", bad[:-1]) for make in sessions]
    takers.append((store_at, "place", bad[:-1]))
    asking = (partial(ask, idempotency_key="k") for ask in (find_order, forget_order))
    takers += [(ask, "store", bad[:-1]) for ask in asking]
    check_all([(*taker, url) for *taker, urls in takers for url in urls], check)


def test_what_passes_is_told_from_what_is_for_good():
    """A server that is away or fails over is asked again, one that refuses is not."""
    refused = exceptions.AuthenticationError("denied")
    cases = [
        *((exceptions.ConnectionError("cut"), True), (OSError(), True)),
        *((exceptions.TimeoutError(), True), (exceptions.ReadOnlyError(), True)),
        *((exceptions.BusyLoadingError(), True), (exceptions.TryAgainError(), True)),
        *(
            (exceptions.MasterDownError("MASTERDOWN"), True),
            (exceptions.NoScriptError(), True),
        ),
        *((refused, False), (exceptions.AuthorizationError(), False)),
        *((exceptions.ResponseError("ERR"), False), ("OK", False), (None, False)),
        (caused_by(OSError()), True),
        (caused_by(refused), False),  # while connecting
    ]

    def check(answer, passes):
        assert is_passing(answer) is passes

    check_all(cases, check)
    assert in_words(refused) == "denied"
    assert in_words(OSError()) == "OSError"


def caused_by(cause):
    """Return a connection that failed because of *cause*."""
    error = exceptions.ConnectionError("no connection")
    error.__cause__ = cause
    return error


@asynccontextmanager
async def server_that(*, cuts):
    """Have a server that answers no write, and *cuts* its connection, or is silent."""
    heard = []

    async def serve(reader, writer):
        while data := await reader.read(4096):
            heard.append(data.split()[2])
            if b"INCRBY" not in data:
                writer.write(b"+OK\r\n")
            elif cuts:
                break
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = Server(Secret(f"redis://127.0.0.1:{port}"), "{a}").connect(0.2)
        async with client:
            yield client, heard


async def test_a_write_without_an_answer_is_sent_once():
    """
    Whether it was cut off or nothing came in time: its sender decides, not we. Before
    it a new connection asks for nothing but its name.
    """
    for cuts in (True, False):
        async with server_that(cuts=cuts) as (client, heard):
            error = exceptions.ConnectionError if cuts else exceptions.TimeoutError
            with pytest.raises(error):
                await client.incr("a")
        assert heard == [b"CLIENT", b"INCRBY"]
