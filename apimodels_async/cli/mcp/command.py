"""
``apimodels mcp``: the API as tools for agents, with their hints, on stdin and stdout.

The package *mcp* is an extra and takes a second to load: it is imported inside.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import select
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Final

import anyio
from cyclopts import Parameter, validators

from apimodels_async import ConfigurationError, __version__, known_models
from apimodels_async._core.money.budget import Budget
from apimodels_async.cli.commands.account import price_dates
from apimodels_async.cli.context import command_context, open_session
from apimodels_async.cli.options import Common, Flag
from apimodels_async.cli.output import Output, screen

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

    from apimodels_async.cli.mcp.tools import Toolbox

INSTRUCTIONS: Final = """\
Makes and edits pictures with the apimodels image API. generate, edit and submit cost
real money, each call anew; this server may spend ${limit} in all, see balance. A call
that answers with a task_id has been paid for: call wait with it, never order again.
After an error that says DO NOT REPEAT, ask the user. Links are good for 7 days."""

Limit = Annotated[Decimal, Parameter(validator=validators.Number(gte=0))]


async def mcp(
    *,
    max_cost: Limit = Decimal(1),
    inline: Flag = False,
    base_url: str | None = None,
    poll_interval: Annotated[float | None, Parameter(show_default=False)] = None,
) -> None:
    """
    Serve the Model Context Protocol on stdin and stdout, for an agent.

    Tools: generate, edit, submit (cost money); status, wait, list_models, balance
    (free). Ends when stdin does, or with Ctrl-C; what is then still under way is
    said on stderr.

    Args:
        max_cost: US dollars this server may spend until it ends; 0: nothing. What
            may have been charged counts, and models without a published price are
            refused.

        inline: Send the first picture itself along with the links, up to 1 MB.

        base_url: Address of the API, else APIMODELS_BASE_URL, else the vendor's.

        poll_interval: Seconds between two status requests, 2 to 3; any for an
            emulator on loopback.
    """
    try:
        from apimodels_async.cli.mcp.tools import Toolbox
    except ModuleNotFoundError as error:
        name, _, _ = str(error.name).partition(".")
        msg = f"{name} is not installed; run: pip install 'apimodels-async[mcp]'"
        raise ConfigurationError(msg) from None
    # Nothing but the protocol may come out of stdout.
    output = Output(stdout=screen(sys.stderr))
    session = open_session(Common(base_url=base_url, poll_interval=poll_interval))
    async with command_context(session, output) as context:
        budget = Budget(max_cost)
        await serve(Toolbox(session, budget, context.handles, inline=inline))
    context.print_unfinished()


def build_server(tools: Toolbox) -> MCPServer:
    """Return the MCP server of *tools*, not connected yet."""
    from mcp.server.mcpserver import MCPServer
    from mcp.types import ToolAnnotations

    # Destructive, although it only adds pictures: money that is spent does not come
    # back, and this hint is what makes a client ask its user.
    for_paid = ToolAnnotations(
        read_only_hint=False,
        destructive_hint=True,
        idempotent_hint=False,
        open_world_hint=True,
    )
    for_free = ToolAnnotations(
        read_only_hint=True,
        destructive_hint=False,
        idempotent_hint=True,
        open_world_hint=True,
    )
    server: MCPServer = MCPServer(
        "apimodels",
        title="apimodels image API",
        instructions=INSTRUCTIONS.format(limit=tools.budget.limit),
        version=__version__,
        log_level="ERROR",
    )
    for paid in (tools.generate, tools.edit, tools.submit):
        words = f"{inspect.getdoc(paid)}\n\n{_prices()}"
        server.add_tool(paid, description=words, annotations=for_paid)
    for free in (tools.status, tools.wait, tools.list_models, tools.balance):
        server.add_tool(free, description=inspect.getdoc(free), annotations=for_free)
    return server


def _prices() -> str:
    known = known_models().values()
    prices = [usd for model in known for usd in model.prices.values()]
    return (
        f"A picture costs ${min(prices)} to ${max(prices)}, by model, size and quality "
        f"(as published on {price_dates()[-1]}; see list_models)."
    )


async def serve(tools: Toolbox) -> None:
    """
    Serve *tools* on stdin and stdout until stdin ends.

    Cancelling it ends stdin: the library reads it in a thread that cannot be
    interrupted otherwise, so it is given a pipe of ours in its place.
    """
    server = build_server(tools)
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
