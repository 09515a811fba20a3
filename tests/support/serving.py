"""Applications on loopback, in the event loop of the test."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager

from aiohttp import web
from support.waiting import until

from apimodels_async.webhooks import Callback, Receiver


@asynccontextmanager
async def serving(app, listener=None, **options):
    """Serve *app*, of aiohttp or an ASGI one, on a free port; yield its origin."""
    if not isinstance(app, web.Application):
        async with _by_uvicorn(app, listener) as origin:
            yield origin
        return
    options = {"access_log": None, "shutdown_timeout": 0.1, **options}
    runner = web.AppRunner(app, **options)
    await runner.setup()
    try:
        site = web.SockSite(runner, listener) if listener else None
        await (site or web.TCPSite(runner, "127.0.0.1", 0)).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _by_uvicorn(app, listener):
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="on", log_config=None))
    task = asyncio.create_task(server.serve([listener] if listener else None))
    try:
        await until(lambda: server.started or task.done())
        host, port = server.servers[0].sockets[0].getsockname()
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        await task


def receiving(callback, listener=None, **options):
    """Serve the receiver of *callback* below ``/hooks``."""
    app = web.Application()
    app.add_subapp("/hooks", Receiver(callback).aiohttp_app())
    return serving(app, listener, **options)


@asynccontextmanager
async def served_callback(**options):
    """Serve the receiver of a callback on a free port; yield the callback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/hooks"
        callback = Callback(url, **options)
        async with receiving(callback, listener):
            yield callback
