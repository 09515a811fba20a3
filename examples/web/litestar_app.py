"""Litestar: lifespan, ``Provide``. Run ``uvicorn litestar_app:app --workers 2``."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from attrs import frozen
from desk import Desk, answer_to, open_desk
from litestar import Litestar, Request, Response, get, post
from litestar.datastructures import State
from litestar.di import Provide
from litestar.params import Dependency, Parameter

from apimodels_async import ApiModelsError


@frozen
class Order:
    """What a client asks for."""

    prompt: str
    model: str = "gpt-image-2"


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    """Open the session once for each worker; it closes after the last request."""
    async with open_desk() as desk:
        app.state.desk = desk
        yield


async def provide_desk(state: State) -> Desk:
    """Return what the lifespan opened."""
    desk: Desk = state.desk
    return desk


DeskIn = Annotated[Desk, Dependency(skip_validation=True)]
KeyIn = Annotated[str | None, Parameter(header="Idempotency-Key")]


@post("/draw", status_code=200)
async def draw(data: Order, desk: DeskIn, key: KeyIn = None) -> dict[str, Any]:
    """Return a picture's address; for the model that answers in about a second."""
    return await desk.draw(data.prompt, key)


@post("/tasks", status_code=202)
async def submit(
    data: Order, desk: DeskIn, key: KeyIn = None
) -> Response[dict[str, Any]]:
    """Order a picture; the client asks for it at the address in ``Location``."""
    task = await desk.submit(data.prompt, data.model, key)
    return Response(task, headers={"Location": f"/tasks/{task['task_id']}"})


@get("/tasks/{task_id:str}")
async def look(task_id: str, desk: DeskIn, wait: float = 0.0) -> dict[str, Any]:
    """Say how a task is; *wait* holds the answer back until it ended, 20 s at most."""
    return await desk.look(task_id, wait)


def on_error(
    _request: Request[Any, Any, Any], error: ApiModelsError
) -> Response[dict[str, Any]]:
    """Answer with the status that fits."""
    status, headers, body = answer_to(error)
    return Response(body, status_code=status, headers=headers)


app = Litestar(
    route_handlers=[draw, submit, look],
    dependencies={"desk": Provide(provide_desk)},
    exception_handlers={ApiModelsError: on_error},
    lifespan=[lifespan],
)
