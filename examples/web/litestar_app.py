"""Litestar: lifespan, ``Provide``. Run ``uvicorn litestar_app:app --workers 2``."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import desk
from attrs import frozen
from litestar import Litestar, Request, Response, get, post
from litestar.datastructures import State
from litestar.di import Provide
from litestar.params import Dependency, Parameter

from apimodels_async import ApiModelsError, Session
from apimodels_async.integrations.web import answer_to, log_error, open_session


@frozen
class Order:
    """What a client asks for."""

    prompt: str
    model: str = "gpt-image-2"


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    """Open the session once for each worker; it closes after the last request."""
    async with open_session(desk.make_session, recover=True) as session:
        app.state.session = session
        yield


async def provide_session(state: State) -> Session:
    """Return what the lifespan opened."""
    session: Session = state.session
    return session


SessionIn = Annotated[Session, Dependency(skip_validation=True)]
KeyIn = Annotated[str | None, Parameter(header="Idempotency-Key")]


@post("/draw", status_code=200)
async def draw(data: Order, session: SessionIn, key: KeyIn = None) -> dict[str, Any]:
    """Return a picture's address; for the model that answers in about a second."""
    return await desk.draw(session, data.prompt, key)


@post("/tasks", status_code=202)
async def submit(
    data: Order, session: SessionIn, key: KeyIn = None
) -> Response[dict[str, Any]]:
    """Order a picture; the client asks for it at the address in ``Location``."""
    task = await desk.submit(session, data.prompt, data.model, key)
    return Response(task, headers={"Location": f"/tasks/{task['task_id']}"})


@get("/tasks/{task_id:str}")
async def look(task_id: str, session: SessionIn, wait: float = 0.0) -> dict[str, Any]:
    """Say how a task is; *wait* holds the answer back until it ended, 20 s at most."""
    return await desk.look(session, task_id, wait)


def on_error(
    _request: Request[Any, Any, Any], error: ApiModelsError
) -> Response[dict[str, Any]]:
    """Answer with the status that fits."""
    answer = answer_to(error)
    log_error(error, answer)
    return Response(answer.body, status_code=answer.status, headers=answer.headers)


app = Litestar(
    route_handlers=[draw, submit, look],
    dependencies={"session": Provide(provide_session)},
    exception_handlers={ApiModelsError: on_error},
    lifespan=[lifespan],
)
