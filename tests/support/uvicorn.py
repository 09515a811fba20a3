"""An ASGI application under uvicorn, in the event loop of the test."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import uvicorn
from support.waiting import until


@asynccontextmanager
async def serving(app):
    """Serve *app*; yield its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="on", log_config=None))
    task = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started or task.done())
        host, port = server.servers[0].sockets[0].getsockname()
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        await task
