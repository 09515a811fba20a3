"""
What of aiohttp's inside ``_io/wire.py`` is written against.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import Final

from aiohttp import BaseConnector, ClientRequest
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage
from aiohttp.streams import StreamReader

_MEMBERS: Final[dict[type, str]] = {
    ClientRequest: "connection_key",
    Connection: "protocol release close",
    ResponseHandler: "transport should_close closed read exception start_timeout",
    StreamReader: "_buffer total_bytes at_eof is_eof readany exception set_exception",
    RawResponseMessage: "code headers",
}
_CALLS: Final = (
    (BaseConnector, "connect", 4, ""),
    (ClientRequest, "__init__", 3, "loop"),
    (
        ResponseHandler,
        "set_response_params",
        1,
        "read_until_eof auto_decompress read_timeout max_line_size max_field_size",
    ),
)
"""Class, method, number of positional arguments (*self* among them), named ones."""


@cache  # a look is as long as two polls, and it will not change
def is_known() -> bool:
    """Return whether this aiohttp is built as those that the wire was tried with."""
    members = all(
        hasattr(kind, name)
        for kind, names in _MEMBERS.items()
        for name in names.split()
    )
    return members and all(_takes(*call) for call in _CALLS)


def _takes(kind: type, name: str, positional: int, named: str) -> bool:
    try:
        inspect.signature(getattr(kind, name)).bind(
            *([None] * positional), **dict.fromkeys(named.split())
        )
    except (AttributeError, TypeError, ValueError):  # gone, changed, not to be seen
        return False
    return True
