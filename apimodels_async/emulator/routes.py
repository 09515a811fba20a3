"""
The table of routes, and what answers where there is none.
"""

from collections.abc import Awaitable, Callable
from functools import partial

from aiohttp import web
from aiohttp.typedefs import Handler

from apimodels_async.emulator import account, control, files, forms, works
from apimodels_async.emulator.gate import Work, authenticate, serve
from apimodels_async.emulator.values import RefusalError
from apimodels_async.emulator.wire import refusal
from apimodels_async.emulator.world import World

Control = Callable[[World, web.Request], Awaitable[web.Response]]

BASE = "/api/v1"

API: tuple[tuple[str, str, str, Work], ...] = (
    ("POST", f"{BASE}/images/generations", "create", works.create),
    ("GET", f"{BASE}/images/generations", "poll", works.poll),
    ("GET", f"{BASE}/images/generations/{{task_id}}", "poll", works.path_style),
    ("POST", f"{BASE}/images/generations-sync", "sync", works.generate_now),
    ("POST", f"{BASE}/images/edit", "edit", works.edit),
    ("POST", f"{BASE}/images/edits", "edits", works.edit_form),
    ("POST", f"{BASE}/files", "upload", files.upload),
    ("GET", f"{BASE}/balance", "balance", account.balance),
    ("GET", f"{BASE}/models", "models", account.models),
    ("GET", "/files/images/{name}", "file", files.picture),
    ("GET", "/files/uploads/{user}/{name}", "file", files.uploaded),
    ("PUT", "/files/uploads/{user}/{name}", "put", files.put),
)
CONTROL: tuple[tuple[str, str, Control], ...] = (
    ("GET", "/", control.page),
    ("GET", "/openapi.json", control.openapi),
    ("GET", "/emulator/state", control.state),
    ("GET", "/emulator/tasks", control.ledger),
    ("POST", "/emulator/faults", control.add_fault),
    ("DELETE", "/emulator/faults", control.clear_faults),
)


def application(world: World) -> web.Application:
    """
    Return the web application of *world*.
    """
    app = web.Application(
        client_max_size=forms.BODY_BYTES, middlewares=[_unrouted(world)]
    )
    for method, path, name, work in API:
        _route(app, method, path, partial(serve, world, name, work))
    for method, path, answer in CONTROL:
        _route(app, method, path, partial(answer, world))
    return app


def _route(app: web.Application, method: str, path: str, handler: Handler) -> None:
    app.router.add_route(method, path, handler)
    if method == "GET":
        app.router.add_route("HEAD", path, handler)


def _unrouted(world: World) -> Callable[..., Awaitable[web.StreamResponse]]:
    """
    Return the middleware that turns aiohttp's 404 and 405 pages into the API's JSON.
    """

    @web.middleware
    async def answer_in_json(
        request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        # The name `handler` is fixed: aiohttp passes it by keyword.
        world.note_arrival()
        try:
            return await handler(request)
        except web.HTTPException as error:
            response = refusal(RefusalError(error.status, error.reason))
            if "Allow" in error.headers:
                response.headers["Allow"] = error.headers["Allow"]
        if request.path.startswith(BASE):
            try:
                authenticate(world, request)
            except RefusalError as error:
                return refusal(error)
        return response

    return answer_in_json
