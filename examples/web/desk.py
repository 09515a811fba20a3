"""
What the recipes share: how their session is made, and what their three calls do.

A client that hangs up must not lose what it paid for, nor may one that asks again pay
twice. So every order is in the store before it is sent, and a client names its order in
the header ``Idempotency-Key``: again it gets the same answer, from whatever worker. Any
number of workers of one machine may share the store.
"""

import os
from typing import Any

from apimodels_async import Session, TaskTimeoutError

WAIT_MAX_S = 20.0  # below the 30 s after which proxies begin to give up


def make_session() -> Session:
    """Return the session of a process; key and base URL come from the environment."""
    return Session(store=os.environ.get("ORDERS", "orders.sqlite"))


async def draw(session: Session, prompt: str, key: str | None) -> dict[str, Any]:
    """
    Make a picture with the model that answers at once. Costs money, once for each
    *key*.
    """
    result = await session.images.generate(prompt, idempotency_key=key)
    return {"url": result.url}


async def submit(
    session: Session, prompt: str, model: str, key: str | None
) -> dict[str, Any]:
    """Order a picture and return its task id. Costs money, once for each *key*."""
    handle = await session.images.submit(prompt, model=model, idempotency_key=key)
    return {"task_id": handle.task_id, "state": handle.state}


async def look(session: Session, task_id: str, wait: float = 0.0) -> dict[str, Any]:
    """
    Return how a task is, after at most *wait* seconds; free.

    Any worker can answer: the first look attaches the task. Look up only ids that you
    handed out: each one is polled until it ends.
    """
    handle = session.images.attach(task_id)
    shown: dict[str, Any] = {"task_id": handle.task_id}
    try:
        result = await handle.result(timeout=max(0.0, min(wait, WAIT_MAX_S)))
    except TaskTimeoutError:
        if handle.done:  # the task's own deadline, not this caller's patience
            raise
        return shown | {"state": handle.state, "urls": []}
    return shown | {"state": handle.state, "urls": result.urls}
