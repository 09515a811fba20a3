"""What each fault does to an answer, down to the socket."""

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any

from aiohttp import web

from apimodels_async.emulator.faults.faults import Fault
from apimodels_async.emulator.service.values import envelope

Options = Mapping[str, Any]

HANG_CHECK_S = 0.25  # how soon a hung request notices that its client left
_PAGE = "<!doctype html><title>Bad gateway</title><h1>502 Bad gateway</h1>"
_GARBAGE = b"\x16\x03\x01\x02\x00\xff\xfe\x80not http\x00" * 4
_WRONG_ID = "clwrong00000000000000000"
# Stands in for the answer of a request that took no effect.
_STAND_IN = json.dumps(
    envelope({"taskId": "clbroken0000000000000000", "state": "pending"})
).encode()


async def break_answer(
    request: web.Request,
    fault: Fault,
    made: web.Response | None,
    closing: asyncio.Event,
) -> web.Response | None:
    """
    Return what *request* is answered in place of *made*, None when it was cut off.

    *made* is the right answer, None when the request takes no effect.
    """
    cut = _CUTS.get(fault.kind)
    if cut is not None:
        await cut(request, made, fault.options)
        return None
    if fault.kind == "hang":
        await hang(request, closing)
        return None
    return _replacement(fault, _body(made))


def _replacement(fault: Fault, body: bytes) -> web.Response:
    """Return the answer that takes the place of *body*."""
    make = _REPLACEMENTS.get(fault.kind)
    if make is not None:
        return make(fault.options, body)
    code = _CODES[fault.kind]
    return _json(code, envelope(None, code, _phrase(code)))


def altered(data: dict[str, Any], fault: Fault | None) -> dict[str, Any]:
    """Return *data* of a task, in an answer or a callback, as *fault* changes it."""
    changed: dict[str, Any] = {}
    if fault is not None and fault.kind == "unknown_state":
        changed = {"state": fault.options.get("word", "moderating")}
    elif fault is not None and fault.kind == "wrong_id":
        changed = {"taskId": _WRONG_ID}
    elif fault is not None and fault.kind == "no_result":
        empty = {"resultUrls": [], "resultJson": json.dumps({"resultUrls": []})}
        changed = {key: empty[key] for key in empty if key in data}
    return {**data, **changed}


async def hang(request: web.Request, closing: asyncio.Event) -> None:
    """Answer nothing until the client has left or the emulator closes."""
    while not closing.is_set() and request.transport is not None:
        try:
            async with asyncio.timeout(HANG_CHECK_S):
                await closing.wait()
        except TimeoutError:
            continue


async def _reset(
    request: web.Request, _made: web.Response | None, _options: Options
) -> None:
    """Send a TCP reset: with no linger time, abort() makes the kernel send RST."""
    if (transport := request.transport) is not None:
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


async def _drop(
    request: web.Request, _made: web.Response | None, _options: Options
) -> None:
    if request.transport is not None:
        request.transport.close()


async def _truncate(
    request: web.Request, made: web.Response | None, options: Options
) -> None:
    """Send the head of the answer, and its body up to byte `at` or half of it."""
    body = _body(made)
    lines = [f"HTTP/1.1 {made.status if made is not None else 200} Cut"]
    headers = {} if made is None else dict(made.headers)
    headers.setdefault("Content-Type", "application/json")
    headers["Content-Length"] = str(len(body))
    lines += [f"{name}: {value}" for name, value in headers.items()]
    end = options.get("at", len(body) // 2)
    _write(request, "\r\n".join(lines).encode() + b"\r\n\r\n" + body[:end])


async def _garbage(
    request: web.Request, _made: web.Response | None, _options: Options
) -> None:
    _write(request, _GARBAGE)


_CUTS: MappingProxyType[
    str, Callable[[web.Request, web.Response | None, Options], Awaitable[None]]
] = MappingProxyType(
    {"reset": _reset, "drop": _drop, "truncated": _truncate, "garbage": _garbage}
)
_CODES = MappingProxyType({"not_found": 404, "unauthorized": 401, "forbidden": 403})


def _rate_limit(options: Options, _body: bytes) -> web.Response:
    response = _json(429, envelope(None, 429, "Too many requests"))
    retry_after = options.get("retry_after", 1)
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response


def _status(options: Options, _body: bytes) -> web.Response:
    status, body = options.get("status", 502), options.get("body")
    if body is None:
        return _json(status, envelope(None, status, _phrase(status)))
    if not isinstance(body, (str, bytes)):
        return _json(status, body)
    data = body.encode() if isinstance(body, str) else body
    return web.Response(body=data, status=status, content_type="text/plain")


def _bad_json(_options: Options, body: bytes) -> web.Response:
    half = body[: len(body) // 2]
    return web.Response(body=half, content_type="application/json")


def _html(options: Options, _body: bytes) -> web.Response:
    status = options.get("status", 200)
    return web.Response(text=_PAGE, status=status, content_type="text/html")


def _empty(_options: Options, _body: bytes) -> web.Response:
    return web.Response(body=b"", content_type="application/json")


def _enveloped(options: Options, _body: bytes) -> web.Response:
    code = options.get("code", 402)
    return _json(200, envelope(None, code, _phrase(code)))


def _redirect(options: Options, _body: bytes) -> web.Response:
    location = options.get("location", "/elsewhere")
    return web.Response(status=307, headers={"Location": location})


_REPLACEMENTS: Mapping[str, Callable[[Options, bytes], web.Response]] = (
    MappingProxyType(
        {
            "rate_limit": _rate_limit,
            "status": _status,
            "bad_json": _bad_json,
            "html": _html,
            "empty": _empty,
            "envelope": _enveloped,
            "redirect": _redirect,
        }
    )
)


def _write(request: web.Request, data: bytes) -> None:
    if isinstance(request.transport, asyncio.WriteTransport):
        request.transport.write(data)
        request.transport.close()


def _body(made: web.Response | None) -> bytes:
    body: Any = made.body if made is not None else None
    return body if isinstance(body, bytes) else _STAND_IN


def _json(status: int, body: Any) -> web.Response:
    return web.json_response(body, status=status)


def _phrase(code: int) -> str:
    return {
        401: "Invalid API key",
        402: "Insufficient credits",
        403: "Forbidden",
        404: "Task not found",
        500: "Internal server error",
    }.get(code, f"Error {code}")
