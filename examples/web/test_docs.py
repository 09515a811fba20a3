"""
The web applications printed in docs/guides/, each under a server, as it is printed.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import uvicorn
from aiohttp import web
from aiohttp.test_utils import TestServer

from apimodels_async.emulator import Emulator

DOCS = Path(__file__).parents[2] / "docs" / "guides"
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def printed(name, *words, never="\0"):
    """Return the app of the one block that has all *words* in it, and not *never*."""
    text = (DOCS / name).read_text(encoding="utf-8")
    (block,) = [
        each
        for each in BLOCK.findall(text)
        if all(word in each for word in words) and never not in each
    ]
    names = {}
    exec(block, names)  # noqa: S102  our own documents
    return names["app"]


@pytest.fixture
async def emulator(monkeypatch, tmp_path):
    """Serve the API, to whoever asks the environment for it, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    async with Emulator(speed=50) as emulator:
        monkeypatch.setenv("APIMODELS_BASE_URL", emulator.base_url)
        monkeypatch.setenv("APIMODELS_API_KEY", emulator.api_key)
        monkeypatch.setenv("APIMODELS_CALLBACK_SECRET", "0123456789abcdef" * 2)
        yield emulator


@asynccontextmanager
async def serving(app):
    """Serve *app*; yield its address."""
    if isinstance(app, web.Application):
        async with TestServer(app) as server:
            yield str(server.make_url("")).rstrip("/")
        return
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="on"))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(server.serve())
        while not server.started:
            assert not task.done(), "it did not start"
            await asyncio.sleep(0.01)
        host, port = server.servers[0].sockets[0].getsockname()
        yield f"http://{host}:{port}"
        server.should_exit = True


async def draw(client, url, prompt, key="k"):
    """Ask an app for a picture; return status and JSON."""
    asked = client.post(
        f"{url}/draw", params={"prompt": prompt}, headers={"Idempotency-Key": key}
    )
    async with asked as answer:
        return answer.status, await answer.json()


@pytest.mark.parametrize("words", [("FastAPI", "/draw"), ("web.Application",)])
async def test_the_session_of_an_app_draws(emulator, words):
    """Opened by the framework, injected into the handler, its errors answered."""
    app = printed("web-apps.md", *words, never="IdempotencyKey")
    async with serving(app) as url, aiohttp.ClientSession() as client:
        status, told = await draw(client, url, "a fox")
        assert (status, told["url"].startswith(emulator.origin)) == (200, True)
        assert (await draw(client, url, " "))[0] == 400


async def test_a_lifespan_goes_around_the_packaged_one(emulator):
    """The printed one starts and ends, and yields what both opened."""
    app = printed("web-apps.md", "async def everything")
    async with app.router.lifespan_context(app) as state:
        assert len(state) == 2


async def test_a_client_that_asks_again_has_the_same_answer(emulator):
    """With the header and a store it is bought once."""
    app = printed("web-apps.md", "IdempotencyKey")
    async with serving(app) as url, aiohttp.ClientSession() as client:
        answers = [await draw(client, url, "a fox") for _ in range(2)]
    assert answers[0] == answers[1]
    assert sum(one.endpoint == "sync" for one in emulator.requests) == 1


async def test_the_receiver_is_mounted(emulator):
    """The whole program starts, and its receiver answers a stranger with no."""
    app = printed("callbacks.md", "FastAPI")
    async with (
        serving(app) as url,
        aiohttp.ClientSession() as client,
        client.post(f"{url}/hooks/nobody", json={}) as answer,
    ):
        assert answer.status in {400, 403, 404}
