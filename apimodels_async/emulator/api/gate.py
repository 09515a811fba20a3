"""Handles every request: record it, check the key, read the body, inject faults."""

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from types import MappingProxyType
from typing import Any, cast

from aiohttp import web
from attrs import define, field

from apimodels_async.emulator.api import forms
from apimodels_async.emulator.api.wire import refusal
from apimodels_async.emulator.faults.breakage import break_answer
from apimodels_async.emulator.faults.faults import Fault
from apimodels_async.emulator.service.values import (
    RefusalError,
    RequestRecord,
    append_capped,
)
from apimodels_async.emulator.world import World


@define(eq=False)
class Call:
    """One request that is being answered."""

    request: web.Request
    where: str
    record: RequestRecord
    body: dict[str, Any] = field(factory=dict)
    parts: list[forms.Part] | None = None
    """The form, when the body was multipart."""

    fault: Fault | None = None
    unchecked: bool = False
    """Whether the body may hold anything besides the documented fields."""

    @property
    def task_fault(self) -> str | None:
        """Kind of the fault that changes the task of this request."""
        return self.fault.kind if self.fault and self.fault.changes_task else None


Endpoint = Callable[[World, Call], Awaitable[web.Response]]

# Without effects, so the endpoint may run for the body that the fault changes.
_FREE = frozenset({"poll", "balance", "models", "file"})
_CHANGES_BODY = frozenset({"truncated", "bad_json"})
_KEYLESS = frozenset({"file", "put"})
_WHERE: Mapping[str, str] = MappingProxyType({"put": "upload"})


async def serve(
    world: World, name: str, endpoint: Endpoint, request: web.Request
) -> web.StreamResponse:
    """Answer one request of the API."""
    handler = cast("asyncio.Task[Any]", asyncio.current_task())
    world.handlers.add(handler)
    handler.add_done_callback(world.handlers.discard)
    where = _WHERE.get(name, name)
    record = RequestRecord(
        request.method,
        request.path,
        where,
        time.monotonic(),
        has_key="Authorization" in request.headers,
    )
    append_capped(world.requests, record)
    response = await _answer(world, Call(request, where, record), name, endpoint)
    if response is None:
        return web.Response()
    record.status = response.status
    # Of the clock that the times in the answer are of, which advance() moves.
    now_ms = world.timeline.epoch_ms(world.timeline.now())
    response.headers["Date"] = formatdate(now_ms / 1000, usegmt=True)
    return response


def authenticate(world: World, request: web.Request) -> None:
    """
    Check the key.

    Raises:
        RefusalError: 401.
    """
    given = request.headers.get("Authorization", "").encode(errors="replace")
    if not hmac.compare_digest(given, f"Bearer {world.api_key}".encode()):
        msg = "Invalid API key"
        raise RefusalError(401, msg)


async def _answer(
    world: World, call: Call, name: str, endpoint: Endpoint
) -> web.Response | None:
    """Return the answer; None when the connection was cut."""
    try:
        if name not in _KEYLESS:
            authenticate(world, call.request)
        if call.where == "poll":
            _count_poll(world, call)
        if name != "put" and call.request.method == "POST":
            await _read_body(call)
        return await _answer_with_faults(world, call, endpoint)
    except RefusalError as error:
        return refusal(error)
    except ConnectionError:  # the client left while sending; nobody to answer
        return None
    except ImportError as error:  # no Pillow: say so, rather than fail somewhere
        return refusal(RefusalError(501, str(error)))


async def _answer_with_faults(
    world: World, call: Call, endpoint: Endpoint
) -> web.Response | None:
    """Run *endpoint* with the fault that hits it; None when the connection was cut."""
    fault = world.faults.hit(call.where, _subject(call)) if world.faults else None
    if fault is None or fault.changes_task:
        call.fault = fault
        call.record.fault = fault.kind if fault else None
        return await endpoint(world, call)
    call.record.fault = fault.kind
    if fault.kind == "slow":
        response = await endpoint(world, call) if fault.after else None
        await world.pause(fault.options.get("seconds", 1.0))
        return response or await endpoint(world, call)
    needs_body = call.where in _FREE and fault.kind in _CHANGES_BODY
    made = await endpoint(world, call) if fault.after or needs_body else None
    return await break_answer(call.request, fault, made, world.closing)


def _count_poll(world: World, call: Call) -> None:
    world.poll_count += 1
    task_id = call.request.query.get("task_id")
    if task_id:
        call.record.task_id = task_id
        world.ledger.count_poll(task_id, call.record.at)


async def _read_body(call: Call) -> None:
    data = await forms.read_body(call.request)
    content_type = call.request.headers.get("Content-Type", "")
    if content_type.lower().startswith("multipart/"):
        call.parts = forms.parse_form(content_type, data)
        texts = (part for part in call.parts if part.filename is None)
        call.body = {part.name: part.data.decode(errors="replace") for part in texts}
    else:
        call.body = forms.parse_json(data)
    call.record.body = call.body
    prompt = call.body.get("prompt")
    call.record.prompt = prompt if isinstance(prompt, str) else None


def _subject(call: Call) -> str:
    """Return the text in which a fault's `match` is searched."""
    record = call.record
    return f"{record.prompt or ''} {record.task_id or ''} {record.path}"
