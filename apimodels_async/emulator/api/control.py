"""Control endpoints beside the API: live page, state, tasks, faults."""

import html
import time
from importlib.resources import files
from itertools import islice
from typing import Any

from aiohttp import web

from apimodels_async.emulator.api import forms
from apimodels_async.emulator.api.wire import refusal
from apimodels_async.emulator.faults.faults import Fault
from apimodels_async.emulator.service.values import EmulatedTask, RefusalError, is_count
from apimodels_async.emulator.world import World

_SHOWN_TASKS = 60
_MOST_TASKS = 1000
_PACKAGE = "apimodels_async.emulator.api"
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src 'self'; connect-src 'self'"
)
_FAULT_FIELDS = frozenset({"where", "kind", "times", "probability", "match", "after"})


async def page(world: World, _request: web.Request) -> web.Response:
    """GET /: the live page, with the key: it guards nothing."""
    text = _read_resource("page.html").replace("{key}", html.escape(world.api_key))
    return web.Response(
        text=text.replace("{speed}", f"{world.durations.speed:g}"),
        content_type="text/html",
        headers={"Content-Security-Policy": _POLICY},
    )


async def openapi(_world: World, _request: web.Request) -> web.Response:
    """GET /openapi.json."""
    return web.Response(
        text=_read_resource("openapi.json"), content_type="application/json"
    )


async def state(world: World, request: web.Request) -> web.Response:
    """GET /emulator/state?limit=N: counts, money, the newest tasks first."""
    world.timeline.run_due()
    ledger, account = world.ledger, world.account
    try:
        limit = _limit(request.query.get("limit"))
    except RefusalError as error:
        return refusal(error)
    newest = reversed(_oldest_first(world))
    return web.json_response(
        {
            "uptime": round(time.monotonic() - world.started_at, 1),
            "requests": world.request_count,
            "tasks": len(ledger.tasks),
            "generations": len(ledger.generations),
            "pending": ledger.pending,
            "peak_pending": ledger.peak_pending,
            "completed": ledger.completed,
            "failed": ledger.failed,
            "polls": world.poll_count,
            "callbacks": len(world.callbacks.records),
            "faults": len(world.faults),
            "balance": str(account.balance),
            "total": str(account.total),
            "frozen": str(account.frozen),
            "spent": str(account.spent),
            "newest": [_summary(task) for task in islice(newest, limit)],
        }
    )


async def tasks(world: World, request: web.Request) -> web.Response:
    """GET /emulator/tasks?prompt=TEXT: every task and generation, oldest first."""
    world.timeline.run_due()
    part = request.query.get("prompt", "")
    found = [task for task in _oldest_first(world) if part in task.prompt]
    return web.json_response({"tasks": [_summary(task) for task in found]})


async def add_fault(world: World, request: web.Request) -> web.Response:
    """POST /emulator/faults, a JSON object of the fields and options of a Fault."""
    try:
        body = forms.parse_json(await forms.read_body(request))
        fault = world.faults.add(_fault(body))
    except RefusalError as error:
        return refusal(error)
    except (TypeError, ValueError) as error:
        return refusal(RefusalError(400, str(error)))
    return web.json_response({"where": fault.where, "kind": fault.kind}, status=201)


async def clear_faults(world: World, _request: web.Request) -> web.Response:
    """DELETE /emulator/faults."""
    world.faults.clear()
    return web.Response(status=204)


def _fault(body: dict[str, Any]) -> Fault:
    known = {key: body[key] for key in body if key in _FAULT_FIELDS}
    options = {key: body[key] for key in body if key not in _FAULT_FIELDS}
    return Fault(**known, options=options)


def _oldest_first(world: World) -> list[EmulatedTask]:
    ledger = world.ledger
    every = (*ledger.tasks.values(), *ledger.generations.values())
    return sorted(every, key=lambda task: task.created_ms)


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
    if text is None:
        return _SHOWN_TASKS
    if not is_count(text) or int(text) > _MOST_TASKS:
        raise RefusalError(400, f"limit must be a whole number up to {_MOST_TASKS}")
    return int(text)


def _read_resource(name: str) -> str:
    return files(_PACKAGE).joinpath(name).read_text(encoding="utf-8")
