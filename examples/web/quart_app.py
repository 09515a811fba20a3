"""
Quart: ``while_serving``. Run ``uvicorn quart_app:app --workers 2``.

Quart cancels the handler of a client that hangs up; an order that was sent goes on.
"""

from collections.abc import AsyncGenerator
from typing import Any

import desk
from quart import Quart, abort, current_app, request

from apimodels_async import ApiModelsError, Session
from apimodels_async.integrations.web import answer_to, log_error, open_session

app = Quart(__name__)
Answer = tuple[dict[str, Any], int, dict[str, str]]


@app.while_serving
async def lifespan() -> AsyncGenerator[None, None]:
    """Open the session once for each worker; it closes after the last request."""
    async with open_session(desk.make_session, recover=True) as session:
        app.extensions["apimodels"] = session
        yield


def get_session() -> Session:
    """Return what the lifespan opened."""
    session: Session = current_app.extensions["apimodels"]
    return session


def get_key() -> str | None:
    """Return the client's own name for its order."""
    key: str | None = request.headers.get("Idempotency-Key")
    return key


async def read_order() -> dict[str, Any]:
    """Return the order in the body, or answer 400."""
    order = await request.get_json()
    if not isinstance(order, dict) or not isinstance(order.get("prompt"), str):
        abort(400, 'send {"prompt": "..."}')
    return order


@app.post("/draw")
async def draw() -> dict[str, Any]:
    """Return a picture's address; for the model that answers in about a second."""
    order = await read_order()
    return await desk.draw(get_session(), order["prompt"], get_key())


@app.post("/tasks")
async def submit() -> Answer:
    """Order a picture; the client asks for it at the address in ``Location``."""
    order = await read_order()
    model = order.get("model", "gpt-image-2")
    task = await desk.submit(get_session(), order["prompt"], model, get_key())
    return task, 202, {"Location": f"/tasks/{task['task_id']}"}


@app.get("/tasks/<task_id>")
async def look(task_id: str) -> dict[str, Any]:
    """Say how a task is; *wait* holds the answer back until it ended, 20 s at most."""
    wait = request.args.get("wait", 0.0, type=float)
    return await desk.look(get_session(), task_id, wait)


@app.errorhandler(ApiModelsError)
async def on_error(error: ApiModelsError) -> Answer:
    """Answer with the status that fits."""
    answer = answer_to(error)
    log_error(error, answer)
    return answer.body, answer.status, answer.headers
