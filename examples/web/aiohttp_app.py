"""
aiohttp.web: ``cleanup_ctx``. Run ``python aiohttp_app.py``, twice for two workers.
"""

import os
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from desk import Desk, answer_to, open_desk

from apimodels_async import ApiModelsError

DESK = web.AppKey("desk", Desk)
routes = web.RouteTableDef()


async def open_session(app: web.Application) -> AsyncIterator[None]:
    """Open the session once for each process; it closes after the last request."""
    async with open_desk() as desk:
        app[DESK] = desk
        yield


async def read_order(request: web.Request) -> dict[str, Any]:
    """Return the order in the body, or answer 400."""
    try:
        order = await request.json()
    except ValueError:
        order = None
    if not isinstance(order, dict) or not isinstance(order.get("prompt"), str):
        raise web.HTTPBadRequest(text='send {"prompt": "..."}')
    return order


@routes.post("/draw")
async def draw(request: web.Request) -> web.Response:
    """Return a picture's address; for the model that answers in about a second."""
    order = await read_order(request)
    key = request.headers.get("Idempotency-Key")
    return web.json_response(await request.app[DESK].draw(order["prompt"], key))


@routes.post("/tasks")
async def submit(request: web.Request) -> web.Response:
    """Order a picture; the client asks for it at the address in ``Location``."""
    order = await read_order(request)
    model = order.get("model", "gpt-image-2")
    key = request.headers.get("Idempotency-Key")
    task = await request.app[DESK].submit(order["prompt"], model, key)
    where = {"Location": f"/tasks/{task['task_id']}"}
    return web.json_response(task, status=202, headers=where)


@routes.get("/tasks/{task_id}")
async def look(request: web.Request) -> web.Response:
    """Say how a task is; *wait* holds the answer back until it ended, 20 s at most."""
    try:
        wait = float(request.query.get("wait", 0))
    except ValueError:
        raise web.HTTPBadRequest(text="wait is a number of seconds") from None
    task_id = request.match_info["task_id"]
    return web.json_response(await request.app[DESK].look(task_id, wait))


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer with the status that fits."""
    try:
        return await handler(request)
    except ApiModelsError as error:
        status, headers, body = answer_to(error)
        return web.json_response(body, status=status, headers=headers)


def make_app() -> web.Application:
    """Return the application; it opens nothing before it is served."""
    app = web.Application(middlewares=[answer_errors])
    app.cleanup_ctx.append(open_session)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8000"))
    web.run_app(make_app(), host="127.0.0.1", port=port, reuse_port=True)
