"""Starlette: typed lifespan state. Run ``uvicorn starlette_app:app --workers 2``."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypedDict

import desk
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from apimodels_async import ApiModelsError, Session
from apimodels_async.integrations.web import answer_to, log_error, open_session


class State(TypedDict):
    """What every request of this process finds in ``request.state``."""

    session: Session


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[State]:
    """Open the session once for each worker; it closes after the last request."""
    async with open_session(desk.make_session, recover=True) as session:
        yield {"session": session}


async def read_order(request: Request[State]) -> dict[str, Any]:
    """Return the order in the body, or answer 400."""
    try:
        order = await request.json()
    except ValueError:
        order = None
    if not isinstance(order, dict) or not isinstance(order.get("prompt"), str):
        raise HTTPException(400, 'send {"prompt": "..."}')
    return order


async def draw(request: Request[State]) -> JSONResponse:
    """Return a picture's address; for the model that answers in about a second."""
    order = await read_order(request)
    key = request.headers.get("Idempotency-Key")
    session = request.state["session"]
    return JSONResponse(await desk.draw(session, order["prompt"], key))


async def submit(request: Request[State]) -> JSONResponse:
    """Order a picture; the client asks for it at the address in ``Location``."""
    order = await read_order(request)
    model = order.get("model", "gpt-image-2")
    key = request.headers.get("Idempotency-Key")
    session = request.state["session"]
    task = await desk.submit(session, order["prompt"], model, key)
    return JSONResponse(task, 202, {"Location": f"/tasks/{task['task_id']}"})


async def look(request: Request[State]) -> JSONResponse:
    """Say how a task is; *wait* holds the answer back until it ended, 20 s at most."""
    try:
        wait = float(request.query_params.get("wait", 0))
    except ValueError:
        raise HTTPException(400, "wait is a number of seconds") from None
    task_id = request.path_params["task_id"]
    return JSONResponse(await desk.look(request.state["session"], task_id, wait))


async def on_error(_request: Request, error: Exception) -> JSONResponse:
    """Answer with the status that fits."""
    if not isinstance(error, ApiModelsError):
        raise error
    answer = answer_to(error)
    log_error(error, answer)
    return JSONResponse(answer.body, answer.status, answer.headers)


app = Starlette(
    routes=[
        Route("/draw", draw, methods=["POST"]),
        Route("/tasks", submit, methods=["POST"]),
        Route("/tasks/{task_id}", look),
    ],
    exception_handlers={ApiModelsError: on_error},
    lifespan=lifespan,
)
