"""
The way of every request: record, key, body, fault, handler, fault again.
"""

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, cast

from aiohttp import web

from apimodels_async.emulator import forms
from apimodels_async.emulator.breakage import break_answer
from apimodels_async.emulator.values import RefusalError, RequestRecord, remember
from apimodels_async.emulator.wire import refusal
from apimodels_async.emulator.world import Call, World

Work = Callable[[World, Call], Awaitable[web.Response]]

# Without effects, so the handler may run and have its answer spoiled.
_FREE = frozenset({"poll", "balance", "models", "file"})
_SPOILS_CONTENT = frozenset({"truncated", "bad_json"})
_KEYLESS = frozenset({"file", "put"})
_WHERE: Mapping[str, str] = MappingProxyType({"put": "upload"})


async def serve(
    world: World, name: str, work: Work, request: web.Request
) -> web.StreamResponse:
    """
    Answer one request of the API.
    """
    handling = cast("asyncio.Task[Any]", asyncio.current_task())
    world.handling.add(handling)
    handling.add_done_callback(world.handling.discard)
    where = _WHERE.get(name, name)
    record = RequestRecord(
        request.method,
        request.path,
        where,
        time.monotonic(),
        has_key="Authorization" in request.headers,
    )
    remember(world.requests, record)
    response = await _answered(world, Call(request, where, record), name, work)
    record.status = None if response is None else response.status
    return web.Response() if response is None else response


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


async def _answered(
    world: World, call: Call, name: str, work: Work
) -> web.Response | None:
    """
    Return the answer; None when the connection was cut.
    """
    try:
        if name not in _KEYLESS:
            authenticate(world, call.request)
        if call.where == "poll":
            _note_poll(world, call)
        if name != "put" and call.request.method == "POST":
            await _read(call)
        return await _faulted(world, call, work)
    except RefusalError as error:
        return refusal(error)
    except ConnectionError:  # the client left while sending; nobody to answer
        return None
    except ImportError as error:  # no Pillow: say so, rather than fail somewhere
        return refusal(RefusalError(501, str(error)))


async def _faulted(world: World, call: Call, work: Work) -> web.Response | None:
    """
    Run *work* with what the faults in force leave of it; None: connection cut.
    """
    fault = world.faults.strike(call.where, _subject(call)) if world.faults else None
    if fault is None or fault.is_twist:
        call.fault = fault
        call.record.fault = fault.kind if fault else None
        return await work(world, call)
    call.record.fault = fault.kind
    if fault.kind == "slow":
        response = await work(world, call) if fault.after else None
        await world.pause(fault.options.get("seconds", 1.0))
        return response or await work(world, call)
    spoils = call.where in _FREE and fault.kind in _SPOILS_CONTENT
    made = await work(world, call) if fault.after or spoils else None
    return await break_answer(call.request, fault, made, world.closing)


def _note_poll(world: World, call: Call) -> None:
    world.polls += 1
    task_id = call.request.query.get("task_id")
    if task_id:
        call.record.task_id = task_id
        world.ledger.note_poll(task_id, call.record.at)


async def _read(call: Call) -> None:
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
    """
    Return the text a fault's `match` is looked for in.
    """
    record = call.record
    return f"{record.prompt or ''} {record.task_id or ''} {record.path}"
