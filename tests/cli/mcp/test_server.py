"""What a tool is not asked for in its schema is not dropped in silence."""

from __future__ import annotations

from decimal import Decimal

import pytest
from cli.mcp.test_tools import text_of
from mcp import Client

from apimodels_async._core.money.budget import Budget
from apimodels_async.cli.mcp.command import build_server
from apimodels_async.cli.mcp.tools import Toolbox


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("generate", {"prompt": "a", "aspect_ratoi": "1:1"}, "mean aspect_ratio?"),
        ("submit", {"prompt": "a", "model": "x", "width": 9}, "params: {'width': ...}"),
        ("wait", {"task_id": "clx1", "deadline": 3}, "call it with task_id, wait_s."),
        ("list_models", {"colour": "red"}, "call it with no arguments."),
    ],
)
async def test_an_argument_no_tool_has_is_refused(
    emulator, session, tool, arguments, words
):
    """A misspelt argument is not charged: nothing is sent, and the agent is told."""
    tools = Toolbox(session, Budget(Decimal(1)))
    async with Client(build_server(tools)) as client:
        result = await client.call_tool(tool, arguments)
        schemas = [each.input_schema for each in (await client.list_tools()).tools]

    assert result.is_error
    assert "nothing was sent" in text_of(result)
    assert words in text_of(result)
    assert emulator.requests == []
    assert {schema["additionalProperties"] for schema in schemas} == {False}
