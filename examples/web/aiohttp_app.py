"""
aiohttp.web: the packaged helpers. Run ``python aiohttp_app.py``, twice for two workers.
"""

import os
from typing import Any

import desk
from aiohttp import web

from apimodels_async.integrations.aiohttp_web import get_session, setup

routes = web.RouteTableDef()


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
    return web.json_response(
        await desk.draw(get_session(request), order["prompt"], key)
    )


@routes.post("/tasks")
async def submit(request: web.Request) -> web.Response:
    """Order a picture; the client asks for it at the address in ``Location``."""
    order = await read_order(request)
    model = order.get("model", "gpt-image-2")
    key = request.headers.get("Idempotency-Key")
    task = await desk.submit(get_session(request), order["prompt"], model, key)
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
    return web.json_response(await desk.look(get_session(request), task_id, wait))


def make_app() -> web.Application:
    """Return the application; it opens nothing before it is served."""
    app = web.Application()
    setup(app, desk.make_session, recover=True)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8000"))
    web.run_app(make_app(), host="127.0.0.1", port=port, reuse_port=True)
