"""
Where the API calls back, in five frameworks: each function returns an app that takes
callbacks below ``/hooks`` and hands them to the sessions that have the same *callback*.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apimodels_async.webhooks import Callback, Receiver

if TYPE_CHECKING:
    from aiohttp import web
    from fastapi import FastAPI
    from litestar import Litestar
    from litestar.types import Receive, Scope, Send
    from quart import Quart
    from starlette.applications import Starlette


def fastapi(callback: Callback) -> FastAPI:
    """Mount the receiver."""
    from fastapi import FastAPI

    app = FastAPI()
    app.mount("/hooks", Receiver(callback))
    return app


def starlette(callback: Callback) -> Starlette:
    """Mount the receiver."""
    from starlette.applications import Starlette
    from starlette.routing import Mount

    return Starlette(routes=[Mount("/hooks", Receiver(callback))])


def litestar(callback: Callback) -> Litestar:
    """Mount the receiver."""
    from litestar import Litestar, asgi

    receiver = Receiver(callback)

    @asgi("/hooks", is_mount=True, copy_scope=True)
    async def hooks(scope: Scope, receive: Receive, send: Send) -> None:
        await receiver(scope, receive, send)  # type: ignore[arg-type]

    return Litestar([hooks])


def quart(callback: Callback) -> Quart:
    """Call ``deliver``, as one does where nothing can be mounted."""
    from quart import Quart, request

    app, receiver = Quart(__name__), Receiver(callback)
    app.config["MAX_CONTENT_LENGTH"] = 64 << 10
    app.config["BODY_TIMEOUT"] = 5

    @app.post("/hooks/<tail>")
    async def hooks(tail: str) -> tuple[str, int]:
        return "", await receiver.deliver(tail, await request.get_data())

    return app


def aiohttp(callback: Callback) -> web.Application:
    """Add the receiver as a sub-application."""
    from aiohttp import web

    app = web.Application()
    app.add_subapp("/hooks", Receiver(callback).aiohttp_app())
    return app
