"""
What the emulator offers besides the API: a live page, its state, its faults.
"""

import time
from importlib.resources import files
from typing import Any

from aiohttp import web

from apimodels_async.emulator import forms
from apimodels_async.emulator.faults import Fault
from apimodels_async.emulator.ledger import entries
from apimodels_async.emulator.values import EmulatedTask, RefusalError, is_count
from apimodels_async.emulator.wire import answer, refusal
from apimodels_async.emulator.world import World

_SHOWN_TASKS = 60
_MOST_TASKS = 1000
_PACKAGE = "apimodels_async.emulator"
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src 'self'; connect-src 'self'"
)
_FAULT_FIELDS = frozenset({"where", "kind", "times", "probability", "match", "after"})


async def page(_world: World, _request: web.Request) -> web.Response:
    """
    GET /: the live page.
    """
    return web.Response(
        text=_shipped("page.html"),
        content_type="text/html",
        headers={"Content-Security-Policy": _POLICY},
    )


async def openapi(_world: World, _request: web.Request) -> web.Response:
    """
    GET /openapi.json.
    """
    return web.Response(text=_shipped("openapi.json"), content_type="application/json")


async def state(world: World, request: web.Request) -> web.Response:
    """
    GET /emulator/state?limit=N: counts, money, the newest tasks first.
    """
    world.timeline.run_due()
    ledger, account = world.ledger, world.account
    limit = _limit(request.query.get("limit"))
    everything = [*ledger.tasks.values(), *ledger.generations.values()]
    newest = sorted(everything, key=lambda task: task.created_ms, reverse=True)
    return answer(
        {
            "uptime": round(time.monotonic() - world.started_at, 1),
            "requests": world.arrived,
            "tasks": len(ledger.tasks),
            "generations": len(ledger.generations),
            "pending": ledger.pending,
            "peak_pending": ledger.peak_pending,
            "completed": ledger.completed,
            "failed": ledger.failed,
            "polls": world.polls,
            "callbacks": len(world.postman.records),
            "faults": len(world.faults),
            "balance": str(account.balance),
            "total": str(account.total),
            "frozen": str(account.frozen),
            "spent": str(account.spent),
            "newest": [_summary(task) for task in newest[:limit]],
        }
    )


async def ledger(world: World, request: web.Request) -> web.Response:
    """
    GET /emulator/tasks?prompt=TEXT: every task and generation, oldest first.
    """
    world.timeline.run_due()
    return answer({"tasks": entries(world.ledger, request.query.get("prompt", ""))})


async def add_fault(world: World, request: web.Request) -> web.Response:
    """
    POST /emulator/faults {where, kind, times?, probability?, match?, after?, ...}.
    """
    try:
        body = forms.parse_json(await forms.read_body(request))
        fault = world.faults.add(_fault(body))
    except RefusalError as error:
        return refusal(error)
    except (TypeError, ValueError) as error:
        return refusal(RefusalError(400, str(error)))
    return answer({"where": fault.where, "kind": fault.kind}, 201)


async def clear_faults(world: World, _request: web.Request) -> web.Response:
    """
    DELETE /emulator/faults.
    """
    world.faults.clear()
    return web.Response(status=204)


def _fault(body: dict[str, Any]) -> Fault:
    known = {key: body[key] for key in body if key in _FAULT_FIELDS}
    options = {key: body[key] for key in body if key not in _FAULT_FIELDS}
    return Fault(**known, options=options)


def _summary(task: EmulatedTask) -> dict[str, Any]:
    return {
        "id": task.id,
        "model": task.model,
        "prompt": task.prompt,
        "endpoint": task.endpoint,
        "state": task.state,
        "polls": task.polls,
        "charged": task.charged,
        "price": str(task.price),
        "created_ms": task.created_ms,
        "completed_ms": task.completed_ms,
        "message": task.failure.message if task.settled and task.failure else "",
        "url": task.urls[0] if task.state == "completed" and task.urls else "",
    }


def _limit(text: str | None) -> int:
    if text and is_count(text):
        return min(int(text), _MOST_TASKS)
    return _SHOWN_TASKS


def _shipped(name: str) -> str:
    return files(_PACKAGE).joinpath(name).read_text(encoding="utf-8")
