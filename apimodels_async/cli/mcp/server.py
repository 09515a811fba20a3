"""An MCP server that takes no argument it does not know: a typo would be charged."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from apimodels_async._api.spelling import did_you_mean, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mcp.server.mcpserver import Context
    from mcp.types import CallToolResult, InputRequiredResult, Tool


class StrictServer(MCPServer[Any]):
    """The tools of a server, each with the arguments of its schema and no others."""

    refused: Mapping[str, str] = MappingProxyType({})
    """Argument that this server does not take -> why; no schema shows it."""

    async def list_tools(self) -> list[Tool]:
        """Return the tools, whose schemas say that there are no other arguments."""
        tools = await super().list_tools()
        for tool in tools:
            tool.input_schema["additionalProperties"] = False
            for argument in self.refused:
                tool.input_schema["properties"].pop(argument, None)
        return tools

    async def call_tool(
        self,
        name: str,
        arguments: dict[str, Any],
        context: Context[Any, Any] | None = None,
    ) -> CallToolResult | InputRequiredResult:
        """
        Call a tool.

        Raises:
            ToolError: It failed, or has no such argument; then nothing was sent.
        """
        for argument, why in self.refused.items():
            if arguments.get(argument) is not None:
                words = f"{argument} is not taken, and nothing was sent: {why}"
                raise ToolError(words)
        for tool in await self.list_tools():
            if tool.name == name:
                _check(name, tool.input_schema["properties"], arguments)
        return await super().call_tool(name, arguments, context)


def _check(tool: str, known: Iterable[str], given: Iterable[str]) -> None:
    known = set(known)
    for name in given:
        if name in known:
            continue
        near = nearest(name, known)
        words = f"{name!r} is no argument of {tool}, and nothing was sent. Next: "
        if near:
            words += did_you_mean(near)
        elif "params" in known:
            words += (
                f"what the model itself takes belongs into params: {{{name!r}: ...}}."
            )
        else:
            words += f"call it with {', '.join(sorted(known)) or 'no arguments'}."
        raise ToolError(words)
