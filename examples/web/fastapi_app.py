"""FastAPI: the packaged helpers. Run ``uvicorn fastapi_app:app --workers 2``."""

from typing import Annotated, Any

import desk
from fastapi import FastAPI, Response
from pydantic import BaseModel, Field

from apimodels_async.integrations.fastapi import (
    IdempotencyKey,
    SessionDep,
    exception_handlers,
    lifespan,
)

app = FastAPI(
    lifespan=lifespan(desk.make_session, recover=True),
    exception_handlers=exception_handlers,
)


class Order(BaseModel):
    """What a client asks for."""

    prompt: Annotated[str, Field(max_length=2000)]
    model: str = "gpt-image-2"


@app.post("/draw")
async def draw(
    order: Order, session: SessionDep, key: IdempotencyKey = None
) -> dict[str, Any]:
    """Return a picture's address; for the model that answers in about a second."""
    return await desk.draw(session, order.prompt, key)


@app.post("/tasks", status_code=202)
async def submit(
    order: Order, session: SessionDep, response: Response, key: IdempotencyKey = None
) -> dict[str, Any]:
    """Order a picture; the client asks for it at the address in ``Location``."""
    task = await desk.submit(session, order.prompt, order.model, key)
    response.headers["Location"] = f"/tasks/{task['task_id']}"
    return task


@app.get("/tasks/{task_id}")
async def look(task_id: str, session: SessionDep, wait: float = 0.0) -> dict[str, Any]:
    """Say how a task is; *wait* holds the answer back until it ended, 20 s at most."""
    return await desk.look(session, task_id, wait)
