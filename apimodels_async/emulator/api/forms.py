"""Parses request bodies: JSON objects and multipart forms."""

import json
from email.message import Message
from email.parser import HeaderParser
from email.utils import collapse_rfc2231_value
from typing import Any

from aiohttp import web
from attrs import frozen

from apimodels_async.emulator.service.values import RefusalError

# One JSON body or upload. The service alludes to a limit and names none.
BODY_BYTES = 64 * 1024 * 1024


@frozen
class Part:
    """One part of a multipart form."""

    name: str
    data: bytes
    filename: str | None = None
    content_type: str | None = None


async def read_body(request: web.Request) -> bytes:
    """
    Return the whole body.

    Raises:
        RefusalError: 413, it is too large.

        ConnectionError: The client left while sending it.
    """
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        msg = f"request body is larger than {request.client_max_size} bytes"
        raise RefusalError(413, msg) from error


def parse_json(data: bytes) -> dict[str, Any]:
    """Return the JSON object in *data*."""
    try:
        body = json.loads(data, parse_float=_number)
    except (ValueError, RecursionError) as error:
        msg = "request body is not valid JSON"
        raise RefusalError(400, msg) from error
    if not isinstance(body, dict):
        msg = f"request body must be a JSON object, got {type(body).__name__}"
        raise RefusalError(400, msg)
    return body


def _number(text: str) -> float:
    """Return a number; JSON has one kind of them, so 16.0 is the whole number 16."""
    value = float(text)
    return int(value) if value.is_integer() else value


def parse_form(content_type: str, data: bytes) -> list[Part]:
    """Return the parts of a multipart form that have a name, in order."""
    boundary = _parameter(content_type, "boundary")
    if not boundary:
        msg = "multipart body without boundary"
        raise RefusalError(400, msg)
    mark = b"\r\n--" + boundary.encode(errors="replace")
    parts: list[Part] = []
    for chunk in (b"\r\n" + data).split(mark)[1:]:
        if chunk.startswith(b"--"):
            return parts
        head, _, content = chunk.partition(b"\r\n\r\n")
        if part := _part(head.lstrip(b"\r\n"), content):
            parts.append(part)
    msg = "multipart body has no end"
    raise RefusalError(400, msg)


def _part(head: bytes, content: bytes) -> Part | None:
    # Browsers and most libraries send names as plain UTF-8.
    headers = HeaderParser().parsestr(head.decode("utf-8", "replace"))
    disposition = str(headers.get("Content-Disposition", ""))
    name = _parameter(disposition, "name")
    if not name:
        return None
    filename = _parameter(disposition, "filename")
    content_type = headers.get("Content-Type")
    return Part(name, content, filename, str(content_type) if content_type else None)


def _parameter(header: str, name: str) -> str | None:
    message = Message()
    message["X"] = header
    value = message.get_param(name, header="X")
    return collapse_rfc2231_value(value) if value else None
