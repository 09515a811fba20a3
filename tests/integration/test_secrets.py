"""
The key is in no text that leaves the library, and goes to no other origin.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
import traceback

import pytest
from integration.conftest import KEY
from integration.raw import CUTS, REFUSALS, RawServer, envelope, respond

from apimodels_async import ApiModelsError

SLOW = {"slow head", "slow body"}  # like "hang", and take 2 s each
FAULTS = {name: fault for name, fault in CUTS.items() if name not in SLOW} | {
    str(status): respond(envelope(None, status), status) for status in REFUSALS
}
# aiohttp logs nothing with headers, but a future version might.
LOGGERS = ("apimodels_async", "aiohttp", "asyncio")


def chain(error):
    """Return an error and all it was raised from or during."""
    found, waiting = [], [error]
    while waiting:
        one = waiting.pop()
        if one is not None and one not in found:
            found.append(one)
            waiting += [one.__cause__, one.__context__]
            waiting += getattr(one, "exceptions", ())
    return found


def texts(error):
    """Return everything an error can be turned into."""
    for one in chain(error):
        yield from (str(one), repr(one), repr(vars(one)), repr(one.args))
    for locals_too in (False, True):
        shown = traceback.TracebackException.from_exception(
            error, capture_locals=locals_too
        )
        yield "".join(shown.format())


@pytest.mark.parametrize("name", FAULTS)
async def test_no_error_shows_the_key(connect, caplog, name):
    """Whatever goes wrong, neither error, traceback, locals nor log hold the key."""
    caplog.set_level(logging.DEBUG)
    for logger in LOGGERS:
        caplog.set_level(logging.DEBUG, logger)
    async with RawServer(FAULTS[name]) as server:
        session = connect(server)
        handle = session.images.attach("clx1")
        calls = (
            session.images.submit("a", model="x"),
            session.images.generate("a"),
            session.balance(),
            handle.result(timeout=0.1),
        )
        ended = await asyncio.gather(*calls, return_exceptions=True)
        await session.aclose()

        assert KEY in server.received[0].headers["authorization"]
    errors = [error for error in ended if isinstance(error, BaseException)]
    assert errors
    for error in errors:
        assert isinstance(error, ApiModelsError)
        for text in texts(error):
            assert KEY not in text
        assert KEY not in repr(pickle.loads(pickle.dumps(error)).args)  # noqa: S301
    assert KEY not in caplog.text
    assert KEY not in "".join(repr(vars(record)) for record in caplog.records)


async def test_no_object_shows_the_key(connect):
    """Neither the session nor anything it hands out prints the key."""
    async with RawServer(respond(envelope({"balance": 1}))) as server:
        session = connect(server)
        await session.balance()
        runtime = session._runtime
        shown = [session, session.images, session.stats(), session.images.attach("c")]
        shown += [runtime, runtime.options, runtime.options.key, runtime.parts]
        shown += [runtime.parts.transport, runtime.parts.sender, runtime.parts.tracker]

        for one in shown:
            assert KEY not in repr(one)
            assert KEY not in str(one)
            assert KEY not in repr(getattr(one, "__dict__", ""))
        with pytest.raises(TypeError):
            copy.deepcopy(runtime.options.key)
        with pytest.raises(TypeError):
            pickle.dumps(runtime.options.key)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_the_key_goes_to_no_other_origin(connect, status):
    """A redirect of an order, a poll or a question is not followed anywhere."""
    async with RawServer() as other:
        away = respond(b"", status, Location=f"{other.origin}/api/v1/images")
        async with RawServer(away) as server:
            session = connect(server)
            for call in (
                session.images.generate("a"),
                session.balance(),
                session.images.attach("clx1").result(timeout=0.1),
            ):
                with pytest.raises(ApiModelsError):
                    await call

        assert other.connections == 0
