"""The table of routes, and the JSON errors for paths and methods not in it."""

from collections.abc import Awaitable, Callable
from functools import partial

from aiohttp import web
from aiohttp.typedefs import Handler

from apimodels_async.emulator.api import account, control, files, forms, images
from apimodels_async.emulator.api.gate import Endpoint, authenticate, serve
from apimodels_async.emulator.api.wire import refusal
from apimodels_async.emulator.service.values import RefusalError
from apimodels_async.emulator.world import World

Control = Callable[[World, web.Request], Awaitable[web.Response]]

BASE = "/api/v1"

API: tuple[tuple[str, str, str, Endpoint], ...] = (
    ("POST", f"{BASE}/images/generations", "create", images.create),
    ("GET", f"{BASE}/images/generations", "poll", images.poll),
    ("GET", f"{BASE}/images/generations/{{task_id}}", "poll", images.poll_by_path),
    ("POST", f"{BASE}/images/generations-sync", "sync", images.generate_sync),
    ("POST", f"{BASE}/images/edit", "edit", images.edit),
    ("POST", f"{BASE}/images/edits", "edits", images.edit_form),
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
    ("GET", "/emulator/tasks", control.tasks),
    ("POST", "/emulator/faults", control.add_fault),
    ("DELETE", "/emulator/faults", control.clear_faults),
)


def application(
    world: World, max_body_bytes: int = forms.BODY_BYTES
) -> web.Application:
    """Return the web application of *world*."""
    app = web.Application(
        client_max_size=max_body_bytes, middlewares=[_json_errors(world)]
    )
    for method, path, name, endpoint in API:
        _route(app, method, path, partial(serve, world, name, endpoint))
    for method, path, answer in CONTROL:
        _route(app, method, path, partial(answer, world))
    return app


def _route(app: web.Application, method: str, path: str, handler: Handler) -> None:
    app.router.add_route(method, path, handler)
    if method == "GET":
        app.router.add_route("HEAD", path, handler)


def _json_errors(world: World) -> Callable[..., Awaitable[web.StreamResponse]]:
    """Return the middleware that answers aiohttp's 404 and 405 in the API's JSON."""

    @web.middleware
    async def answer_in_json(
        request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        # The name `handler` is fixed: aiohttp passes it by keyword.
        world.count_request()
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
