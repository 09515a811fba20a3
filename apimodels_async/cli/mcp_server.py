"""
The MCP server: the tools with their hints, on stdin and stdout.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import select
from typing import TYPE_CHECKING, Final

import anyio
from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations

from apimodels_async import __version__, known_models

if TYPE_CHECKING:
    from apimodels_async.cli.mcp_tools import Toolbox

INSTRUCTIONS: Final = """\
Makes and edits pictures with the apimodels image API. generate, edit and submit cost
real money, each call anew; this server may spend ${limit} in all, see balance. A call
that answers with a task_id has been paid for: call wait with it, never order again.
After an error that says DO NOT REPEAT, ask the user. Links are good for 7 days."""

# Destructive, although it only adds pictures: money that is spent does not come back,
# and this hint is what makes a client ask its user.
PAID: Final = ToolAnnotations(
    read_only_hint=False,
    destructive_hint=True,
    idempotent_hint=False,
    open_world_hint=True,
)
FREE: Final = ToolAnnotations(
    read_only_hint=True,
    destructive_hint=False,
    idempotent_hint=True,
    open_world_hint=True,
)


def build(tools: Toolbox) -> MCPServer:
    """
    Return the server of *tools*; it belongs to no transport yet.
    """
    server: MCPServer = MCPServer(
        "apimodels",
        title="apimodels image API",
        instructions=INSTRUCTIONS.format(limit=tools.allowance.limit),
        version=__version__,
        log_level="ERROR",
    )
    for paid in (tools.generate, tools.edit, tools.submit):
        words = f"{inspect.getdoc(paid)}\n\n{_prices()}"
        server.add_tool(paid, description=words, annotations=PAID)
    for free in (tools.status, tools.wait, tools.list_models, tools.balance):
        server.add_tool(free, description=inspect.getdoc(free), annotations=FREE)
    return server


def _prices() -> str:
    known = known_models().values()
    prices = [usd for model in known for usd in model.prices.values()]
    return (
        f"A picture costs ${min(prices)} to ${max(prices)}, by model, size and quality "
        f"(as published on {max(model.read_on for model in known)}; see list_models)."
    )


async def serve(tools: Toolbox) -> None:
    """
    Serve *tools* on stdin and stdout until stdin ends.

    Cancelling it ends stdin: the library reads it in a thread that cannot be
    interrupted otherwise, so it is given a pipe of ours in its place.
    """
    server = build(tools)
    source = os.dup(0)
    ours, theirs = os.pipe()
    os.dup2(ours, 0)
    os.close(ours)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(_pump, source, theirs)
            await server.run_stdio_async()
            group.cancel_scope.cancel()
    finally:
        os.dup2(source, 0)
        os.close(source)


async def _pump(source: int, target: int) -> None:
    try:
        while data := await _read(source):
            await anyio.wait_writable(target)
            os.write(target, data)
    finally:
        os.close(target)


async def _read(source: int) -> bytes:
    # A file is always ready, and the selector says so by refusing it.
    with contextlib.suppress(PermissionError):
        await anyio.wait_readable(source)
    # A pipe that is writable takes this much without blocking.
    return os.read(source, select.PIPE_BUF)
