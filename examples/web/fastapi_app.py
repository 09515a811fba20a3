"""FastAPI: lifespan state, ``Depends``. Run ``uvicorn fastapi_app:app --workers 2``."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from desk import Desk, answer_to, open_desk
from fastapi import Depends, FastAPI, Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from apimodels_async import ApiModelsError


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """Open the session once for each worker; it closes after the last request."""
    async with open_desk() as desk:
        yield {"desk": desk}


app = FastAPI(lifespan=lifespan)


def get_desk(request: Request) -> Desk:
    """Return what the lifespan opened."""
    desk: Desk = request.state.desk
    return desk


DeskIn = Annotated[Desk, Depends(get_desk)]
KeyIn = Annotated[str | None, Header(alias="Idempotency-Key")]


class Order(BaseModel):
    """What a client asks for."""

    prompt: Annotated[str, Field(max_length=2000)]
    model: str = "gpt-image-2"


@app.exception_handler(ApiModelsError)
async def on_error(_request: Request, error: ApiModelsError) -> Response:
    """Answer with the status that fits."""
    status, headers, body = answer_to(error)
    return JSONResponse(body, status, headers)


@app.post("/draw")
async def draw(order: Order, desk: DeskIn, key: KeyIn = None) -> dict[str, Any]:
    """Return a picture's address; for the model that answers in about a second."""
    return await desk.draw(order.prompt, key)


@app.post("/tasks", status_code=202)
async def submit(
    order: Order, desk: DeskIn, response: Response, key: KeyIn = None
) -> dict[str, Any]:
    """Order a picture; the client asks for it at the address in ``Location``."""
    task = await desk.submit(order.prompt, order.model, key)
    response.headers["Location"] = f"/tasks/{task['task_id']}"
    return task


@app.get("/tasks/{task_id}")
async def look(task_id: str, desk: DeskIn, wait: float = 0.0) -> dict[str, Any]:
    """Say how a task is; *wait* holds the answer back until it ended, 20 s at most."""
    return await desk.look(task_id, wait)
