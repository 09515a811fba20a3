"""Each framework takes the API's callbacks, under a real server."""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import uvicorn
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parent))

import callbacks

from apimodels_async import Session
from apimodels_async.emulator import Emulator
from apimodels_async.webhooks import Callback

pytestmark = pytest.mark.anyio
ASGI = ("fastapi", "starlette", "litestar", "quart")


@pytest.fixture
def anyio_backend():
    """Run async tests on asyncio."""
    return "asyncio"


@asynccontextmanager
async def served_by_uvicorn(app, listener):
    """Serve an ASGI app."""
    config = uvicorn.Config(app, log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve([listener]))
    try:
        while not server.started:  # noqa: ASYNC110  it has no event for it
            await asyncio.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def served_by_aiohttp(app, listener):
    """Serve an aiohttp application."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    yield
    await runner.cleanup()


@pytest.mark.parametrize("framework", [*ASGI, "aiohttp"])
async def test_one_callback_one_look(framework):
    """Twenty tasks are found by their callbacks, one poll each; strangers get 404."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/hooks"
        callback = Callback(url)
        app = getattr(callbacks, framework)(callback)
        serve = served_by_uvicorn if framework in ASGI else served_by_aiohttp
        async with (
            serve(app, listener),
            Emulator(service_times={"*": (0.2, 0.4)}) as emulator,
            Session(
                emulator.api_key, base_url=emulator.base_url, callback=callback
            ) as session,
        ):
            calls = [
                session.images.generate(f"moose {number}", model="gpt-image-2")
                for number in range(20)
            ]
            await asyncio.gather(*calls)
            assert session.stats().polls == session.stats().callbacks == 20
            async with (
                aiohttp.ClientSession() as http,
                http.post(f"{url}/{'A' * 43}", json={}) as reply,
            ):
                assert reply.status == 404
                assert await reply.read() == b""


@pytest.mark.parametrize("framework", [*ASGI, "aiohttp"])
async def test_a_caller_that_hangs_up_is_no_fault(framework, caplog):
    """Half a body, and a whole one that was to go on, leave no traceback behind."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        callback = Callback(f"http://127.0.0.1:{port}/hooks")
        app = getattr(callbacks, framework)(callback)
        serve = served_by_uvicorn if framework in ASGI else served_by_aiohttp
        async with serve(app, listener):
            path = callback.address(callback.new_nonce()).partition(str(port))[2]
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n"
            for body in (b'{"data"', b'{"data": {"taskId": "clx1"}}'):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(head.encode() + body)
                await writer.drain()
                writer.close()
                await writer.wait_closed()
            async with (
                aiohttp.ClientSession() as http,
                http.post(f"http://127.0.0.1:{port}{path}", data=b"x") as reply,
            ):
                assert reply.status == 400
    assert [record for record in caplog.records if record.exc_info] == []
