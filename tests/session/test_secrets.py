"""
The key is in no text that leaves the library, and goes to no other origin.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle

import pytest
from soak.campaign import error_texts
from soak.checker import leaks
from support.cases import check_all, check_all_at_once
from support.raw import CUTS, REFUSALS, RawServer, envelope, respond
from support.sessions import KEY, patience

from apimodels_async import ApiModelsError, RetryPolicy

PROMPT = "moonlit-canary-prompt"
ONCE = RetryPolicy(attempts=1)
FAULTS = CUTS | {
    str(status): respond(envelope(None, status), status) for status in REFUSALS
}
# aiohttp logs nothing with headers, but a future version might.
LOGGERS = ("apimodels_async", "aiohttp", "asyncio")


def texts(error, *, local=True):
    """Return everything an error can be turned into, local variables on demand."""
    return [*error_texts(error, local=local), repr(error.args)]


async def test_no_error_shows_the_key_or_the_prompt(connect, caplog):
    """Whatever goes wrong: not in error, chain, traceback, locals, pickle or log."""
    caplog.set_level(logging.DEBUG)
    for logger in LOGGERS:
        caplog.set_level(logging.DEBUG, logger)

    errors = []

    async def check(name, answer):
        async with RawServer(answer) as server:
            session = connect(server, timeouts=patience(name), retry=ONCE)
            handle = session.images.attach("clx1")
            calls = (
                session.images.submit(PROMPT, model="x"),
                session.images.generate(PROMPT),
                session.balance(),
                handle.result(timeout=0.1),
            )
            ended = await asyncio.gather(*calls, return_exceptions=True)
            await session.aclose()
            assert all(KEY in one.headers["authorization"] for one in server.received)
        found = [(name, one) for one in ended if isinstance(one, BaseException)]
        assert found
        errors.extend(found)

    def shows_nothing(_name, error):
        assert isinstance(error, ApiModelsError)
        assert error.__cause__ is None
        assert error.__context__ is None
        assert leaks(texts(error), KEY) == []
        assert leaks(texts(error, local=False), PROMPT) == []
        assert KEY not in pickle.dumps(error).decode("latin-1")

    await check_all_at_once(FAULTS.items(), check)
    check_all(errors, shows_nothing)  # slow, and nothing waits for it
    logged = "".join(repr(vars(record)) for record in caplog.records)
    assert KEY not in caplog.text + logged
    assert PROMPT not in caplog.text + logged


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
