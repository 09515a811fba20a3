"""
The blocks of docs/ that need FastAPI, as they are printed, each under a server.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import aiohttp
import pytest
import uvicorn
from fastapi import Depends, FastAPI, Header, Request

from apimodels_async import Session
from apimodels_async.emulator import Emulator

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(
    r"<!-- no-run: needs FastAPI[^\n]* -->\n```python\n(.*?)```", re.DOTALL
)
MEANT = {
    "Annotated": Annotated,
    "Depends": Depends,
    "FastAPI": FastAPI,
    "Header": Header,
    "Request": Request,
    "Session": Session,
    "asynccontextmanager": asynccontextmanager,
}
"""What a printed part of a program has at its top."""


def printed(name):
    """Return the blocks of a document, in order."""
    return BLOCK.findall((DOCS / name).read_text(encoding="utf-8"))


@pytest.fixture
async def emulator(monkeypatch):
    """Serve the API, to whoever asks the environment for it."""
    async with Emulator(speed=50) as emulator:
        monkeypatch.setenv("APIMODELS_BASE_URL", emulator.base_url)
        monkeypatch.setenv("APIMODELS_API_KEY", emulator.api_key)
        monkeypatch.setenv("APIMODELS_CALLBACK_SECRET", "0123456789abcdef" * 2)
        yield emulator


@contextlib.asynccontextmanager
async def serving(app):
    """Serve *app*; yield its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="on"))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(server.serve())
        while not server.started:
            assert not task.done(), "it did not start"
            await asyncio.sleep(0.01)
        host, port = server.servers[0].sockets[0].getsockname()
        yield f"http://{host}:{port}"
        server.should_exit = True


def make_app(blocks, **names):
    """Return the app that *blocks* are parts of, and what they have bound."""
    names = MEANT | names
    for block in blocks:
        exec(block, names)  # noqa: S102  our own documents
    return names["app"], names


async def test_the_receiver_is_mounted(emulator):
    """The whole program starts, and its receiver answers a stranger with no."""
    (block,) = printed("webhooks.md")
    app, _ = make_app([block])
    async with serving(app) as url, aiohttp.ClientSession() as client:
        result = await app.state.session.images.generate("a fox", callback_url=None)
        assert result.url.startswith(emulator.origin)
        async with client.post(f"{url}/hooks/nobody", json={}) as answer:
            assert answer.status in {400, 403, 404}


async def test_the_session_of_an_app_draws(emulator):
    """Opened in the lifespan, injected into the handler."""
    block, _ = printed("web-apps.md")
    app = FastAPI()
    _, names = make_app([block], app=app)
    app.router.lifespan_context = names["lifespan"]
    async with serving(app) as url, aiohttp.ClientSession() as client:
        answer = await client.post(f"{url}/draw", params={"prompt": "a fox"})
        assert answer.status == 200
        assert (await answer.json())["url"].startswith(emulator.origin)


async def test_a_client_that_asks_again_has_the_same_answer(emulator, tmp_path):
    """With the header and a store it is bought once."""
    _, block = printed("web-apps.md")
    app = FastAPI()
    async with Session(store=tmp_path / "orders.sqlite") as session:
        make_app([block], app=app, get_session=lambda: session)
        async with serving(app) as url, aiohttp.ClientSession() as client:
            urls = set()
            for _ in range(2):
                asked = client.post(
                    f"{url}/draw",
                    params={"prompt": "a fox"},
                    headers={"Idempotency-Key": "k"},
                )
                async with asked as answer:
                    urls.add((await answer.json())["url"])
        assert session.stats().submitted == 1
    assert len(urls) == 1
