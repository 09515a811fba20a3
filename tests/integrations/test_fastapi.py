"""FastAPI applications with the packaged session, under uvicorn."""

from contextlib import asynccontextmanager
from functools import partial

import aiohttp
import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from starlette.requests import HTTPConnection
from support.serving import serving
from support.sessions import make_session

from apimodels_async import ConfigurationError, InvalidRequestError
from apimodels_async.integrations.fastapi import (
    IdempotencyKey,
    SessionDep,
    answer_error,
    exception_handlers,
    get_session,
    lifespan,
)

# No `from __future__ import annotations`: FastAPI reads those of functions in tests.


def make_app(opened):
    """Return an application that draws, also in a part of it."""
    app = FastAPI(lifespan=opened, exception_handlers=exception_handlers)
    router, part = APIRouter(), FastAPI(exception_handlers=exception_handlers)

    @router.post("/draw")
    async def draw(prompt: str, session: SessionDep, key: IdempotencyKey = None) -> str:
        return (await session.images.generate(prompt, idempotency_key=key)).url

    app.include_router(router)
    part.include_router(router)
    app.mount("/part", part)
    return app


async def test_one_session_draws_for_the_whole_application(emulator, tmp_path):
    """Injected into routers and parts; under a key it is bought once."""
    made = []

    def make():
        made.append(make_session(emulator, store=tmp_path / "orders.sqlite"))
        return made[-1]

    app = make_app(lifespan(make, recover=True))
    async with serving(app) as url, aiohttp.ClientSession() as client:
        draw = partial(
            client.post,
            params={"prompt": "a fox"},
            headers={"Idempotency-Key": "k"},
        )
        urls = set()
        for place in ("/draw", "/part/draw", "/draw"):
            async with draw(url + place) as answer:
                assert answer.status == 200
                urls.add(await answer.json())
    assert len(urls) == 1
    assert [session.stats().submitted for session in made] == [1]


async def test_errors_are_answered(emulator):
    """Refused input, no credit, a rate limit and an unknown outcome: all are told."""
    faults = [
        (None, "  ", 400, None, False),
        (("status", {"status": 402}), "a fox", 402, "300", False),
        (("rate_limit", {"retry_after": 300}), "a fox", 429, "300", False),
        (("reset", {"after": True}), "a fox", 502, None, None),
    ]
    for fault, prompt, status, wait, charged in faults:
        app = make_app(lifespan(lambda: make_session(emulator)))
        async with serving(app) as url, aiohttp.ClientSession() as client:
            if fault is not None:
                emulator.fault("sync", fault[0], **fault[1])
            async with client.post(f"{url}/draw", params={"prompt": prompt}) as answer:
                body = await answer.json()
        assert (answer.status, answer.headers.get("Retry-After")) == (status, wait)
        assert body["charged"] is charged
        assert emulator.api_key not in str(body)


async def test_a_lifespan_of_ones_own_goes_around_it(emulator):
    """What else the application opens is yielded beside the session."""
    inner = lifespan(lambda: make_session(emulator))

    @asynccontextmanager
    async def mine(app):
        async with inner(app) as state:
            yield {**state, "mine": 7}

    app = make_app(mine)

    @app.get("/mine")
    async def show(connection: HTTPConnection, session: SessionDep) -> str:
        return f"{connection.state.mine} {session.stats().pending}"

    async with (
        serving(app) as url,
        aiohttp.ClientSession() as client,
        client.get(f"{url}/mine") as answer,
    ):
        assert await answer.json() == "7 0"


async def test_a_websocket_has_the_session_and_its_own_errors(session):
    """It is injected there, too; an error has no answer there, and comes through."""
    state = {"apimodels_session": session}
    scope = {"type": "websocket", "path": "/", "headers": [], "state": state}
    error = InvalidRequestError("no")

    assert get_session(HTTPConnection(scope)) is session
    with pytest.raises(InvalidRequestError):
        await answer_error(WebSocket(scope, None, None), error)


def test_without_the_lifespan_it_is_said_what_to_do():
    """An application that opened no session names the line that is missing."""
    connection = HTTPConnection({"type": "http", "state": {}})
    with pytest.raises(ConfigurationError, match=r"FastAPI\(lifespan=lifespan\(\)\)"):
        get_session(connection)
