"""aiohttp.web applications with the packaged session, under its server."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, make_mocked_request
from support.sessions import make_session

from apimodels_async import ConfigurationError, SessionClosedError
from apimodels_async.integrations.aiohttp_web import SESSION, get_session, setup


async def draw(request):
    """Draw what the query says."""
    prompt = request.query.get("prompt", "")
    result = await get_session(request).images.generate(prompt)
    return web.json_response(result.url)


async def stream(request):
    """Begin an answer, then fail."""
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"data: 1\n\n")
    await get_session(request).images.generate("")
    return response


def make_app(emulator):
    """Return an application that draws, also in a part of it."""
    app, part = web.Application(), web.Application()
    setup(app, lambda: make_session(emulator))
    for each in (app, part):
        each.router.add_post("/draw", draw)
        each.router.add_get("/stream", stream)
    app.add_subapp("/part", part)
    return app


async def test_one_session_draws_for_the_whole_application(emulator):
    """It is opened and closed by the application, and found from its parts."""
    app = make_app(emulator)
    async with TestServer(app) as server, aiohttp.ClientSession() as client:
        for place in ("/draw", "/part/draw"):
            where = server.make_url(place).with_query(prompt="a fox")
            async with client.post(where) as answer:
                assert answer.status == 200
                assert (await answer.json()).startswith(emulator.origin)
        session = app[SESSION]
        assert session.stats().submitted == 2
    with pytest.raises(SessionClosedError):
        await session.balance()


async def test_errors_are_answered(emulator):
    """Refused input, no credit and an unknown outcome have their answers, anywhere."""
    app = make_app(emulator)
    async with TestServer(app) as server, aiohttp.ClientSession() as client:
        for place, fault, prompt, status, wait, charged in (
            ("/draw", None, " ", 400, None, False),
            ("/part/draw", None, " ", 400, None, False),
            ("/draw", ("status", {"status": 402}), "a fox", 402, "300", False),
            ("/draw", ("reset", {"after": True}), "a fox", 502, None, None),
        ):
            if fault is not None:
                emulator.fault("sync", fault[0], **fault[1])
            where = server.make_url(place).with_query(prompt=prompt)
            async with client.post(where) as answer:
                body = await answer.json()
            assert (answer.status, answer.headers.get("Retry-After")) == (status, wait)
            assert body["charged"] is charged
            assert emulator.api_key not in str(body)


async def test_an_answer_that_had_begun_is_not_mixed_with_another(emulator):
    """A stream that fails ends; no second head is written into it."""
    app = make_app(emulator)
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession() as client,
        client.get(server.make_url("/stream")) as answer,
    ):
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
        assert answer.status == 200


def test_without_set_up_it_is_said_what_to_do():
    """An application that opened no session names the call that is missing."""
    with pytest.raises(ConfigurationError, match=r"setup\(app\)"):
        get_session(make_mocked_request("GET", "/"))
