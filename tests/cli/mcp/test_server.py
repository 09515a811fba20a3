"""What a tool is not asked for in its schema is not dropped in silence."""

from __future__ import annotations

import pytest
from support.agents import refused


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
    emulator, agent, tool, arguments, words
):
    """A misspelt argument is not charged: nothing is sent, and the agent is told."""
    said = await refused(agent, tool, **arguments)
    schemas = [each.input_schema for each in (await agent.list_tools()).tools]

    assert "nothing was sent" in said
    assert words in said
    assert emulator.requests == []
    assert {schema["additionalProperties"] for schema in schemas} == {False}
