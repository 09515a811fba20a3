"""
``apimodels mcp``: the API as tools for agents, with their hints, on stdin and stdout.

The package *mcp* is an extra and takes a second to load: it is imported inside.
"""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from apimodels_async import ConfigurationError, __version__, known_models
from apimodels_async._core.money.budget import Budget
from apimodels_async.cli.commands.account import price_dates
from apimodels_async.cli.context import command_context, open_session
from apimodels_async.cli.errors import ExitCode
from apimodels_async.cli.mcp.stdio import serve
from apimodels_async.cli.options import Amount, Connection, Flag, StorePlace
from apimodels_async.cli.output import Output, screen
from apimodels_async.cli.store import find_store

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

    from apimodels_async.cli.mcp.tools import Toolbox

INSTRUCTIONS: Final = """\
Makes and edits pictures with the apimodels image API. generate, edit and submit cost
real money, each call anew{but}; this server may spend ${limit} in all, see balance.
A call that answers with a task_id has been paid for: call wait with it, never order
again. After an error that says DO NOT REPEAT, ask the user. Links are good for 7
days."""
BUT: Final = " unless it has an earlier one's idempotency_key"
STORED: Final = """
Give each new order an idempotency_key of its own: the same call again with the same key
is the same order, and is charged once, whatever happened in between."""
ONCE: Final = """

But with an idempotency_key, the same call again is the same order: it brings the same
picture and is charged once."""
NO_STORE: Final = (
    "this server has no store. Next: leave it out, or let the user start the server "
    "with --store PATH."
)

# No docstrings: python -OO has none, and an agent must read what costs money.
PAID: Final = {
    "generate": """\
Make a picture and wait for it. COSTS MONEY.

Every call is a new order. If the picture is not ready in time, the answer has a
task_id: call wait with it, not generate again.""",
    "edit": """\
Change or combine pictures and wait for the result. COSTS MONEY.

Takes links, also those of earlier results; no local files. Otherwise as generate.""",
    "submit": """\
Order a picture without waiting for it. COSTS MONEY.

For several at once: submit each, then wait for each. Every call is a new order.""",
}
FREE: Final = {
    "status": "Ask how an order is, without waiting. Free.",
    "wait": "Wait for an order made earlier, and return its picture. Free; may be "
    "repeated.",
    "list_models": "List the models the API has now, with price hints in US dollars. "
    "Free.",
    "balance": "Show what the account has, what this server may still spend of it, and "
    "what became of cancelled calls. Free.",
}


async def mcp(
    *,
    max_cost: Amount = Decimal(1),
    inline: Flag = False,
    store: StorePlace = None,
    connection: Connection = Connection(),
) -> int:
    """
    Serve the Model Context Protocol on stdin and stdout, for an agent.

    Tools: generate, edit, submit (cost money); status, wait, list_models, balance
    (free). Ends when stdin does, or with Ctrl-C or SIGTERM; what is then still under
    way is said on stderr.

    Args:
        max_cost: US dollars this server may spend until it ends; 0: nothing. What
            may have been charged counts, and models without a published price are
            refused.

        inline: Send the first picture itself along with the links, up to 1 MB.

        store: SQLite file or redis://... that remembers orders, else
            APIMODELS_STORE: then calls take an idempotency_key, and each is bought
            once.
    """
    try:
        from apimodels_async.cli.mcp.orders import Orders
        from apimodels_async.cli.mcp.tools import Toolbox
    except ModuleNotFoundError as error:
        name, _, _ = str(error.name).partition(".")
        msg = f"{name} is not installed; run: pip install 'apimodels-async[mcp]'"
        raise ConfigurationError(msg) from None
    if sys.stdin is None or not hasattr(sys.stdout, "buffer"):
        msg = "stdin or stdout is closed: an agent's program starts this server"
        raise ConfigurationError(msg)
    # Nothing but the protocol may come out of stdout.
    output = Output(stdout=screen(sys.stderr))
    kept = find_store(store)
    session = open_session(connection, kept)
    async with command_context(session, output) as context:
        budget = Budget(max_cost)
        orders = Orders(session, budget, context.handles, context.due, inline=inline)
        tools = Toolbox(orders, stored=kept is not None)
        failure = await serve(build_server(tools))
    context.print_unfinished()
    if failure is None:
        return ExitCode.OK
    output.note(f"stdout cannot be written: {failure.reason}", "yellow")
    return failure.exit_code


def build_server(tools: Toolbox) -> MCPServer:
    """Return the MCP server of *tools*, not connected yet."""
    from mcp.types import ToolAnnotations

    from apimodels_async.cli.mcp.server import StrictServer

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
    server = StrictServer(
        "apimodels",
        title="apimodels image API",
        instructions=_instructions(tools),
        version=__version__,
        log_level="ERROR",
    )
    if not tools.stored:
        server.refused = {"idempotency_key": NO_STORE}
    once = ONCE if tools.stored else ""
    for name, words in PAID.items():
        priced = f"{words}{once}\n\n{_prices()}"
        server.add_tool(getattr(tools, name), description=priced, annotations=for_paid)
    for name, words in FREE.items():
        server.add_tool(getattr(tools, name), description=words, annotations=for_free)
    return server


def _instructions(tools: Toolbox) -> str:
    but, more = (BUT, STORED) if tools.stored else ("", "")
    return INSTRUCTIONS.format(limit=tools.orders.budget.limit, but=but) + more


def _prices() -> str:
    known = known_models().values()
    prices = [usd for model in known for usd in model.prices.values()]
    return (
        f"A picture costs ${min(prices)} to ${max(prices)}, by model, size and quality "
        f"(as published on {price_dates()[-1]}; see list_models)."
    )
