"""Agents of the MCP server: what they call, and what they are told."""

from __future__ import annotations

from decimal import Decimal

from mcp import Client
from mcp.types import TextContent

from apimodels_async._core.money.budget import Budget
from apimodels_async.cli.mcp.command import build_server
from apimodels_async.cli.mcp.orders import Orders
from apimodels_async.cli.mcp.tools import Toolbox


def orders_of(session, limit="1"):
    """Return the orders of a server that may spend so many dollars."""
    return Orders(session, Budget(Decimal(limit)), tick_s=0.05)


def connected(orders, *, stored=False):
    """Connect an agent to a server with these orders."""
    return Client(build_server(Toolbox(orders, stored=stored)))


def text_of(result):
    """Return what a tool said in words."""
    return "\n".join(
        block.text for block in result.content if isinstance(block, TextContent)
    )


async def call(agent, name, **arguments):
    """Call a tool that must succeed; return its answer and the facts in it."""
    result = await agent.call_tool(name, arguments)
    assert not result.is_error, text_of(result)
    return result, result.structured_content


async def refused(agent, name, **arguments):
    """Call a tool that must fail; return what it says."""
    result = await agent.call_tool(name, arguments)
    assert result.is_error
    return text_of(result)
