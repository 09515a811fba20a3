"""What the help says besides options, and that it is true."""

from __future__ import annotations

import re
from pathlib import Path

from apimodels_async.cli.errors import ExitCode
from apimodels_async.cli.help.commands import COMMANDS, EXAMPLES
from apimodels_async.cli.help.topics import EVENTS, EXITS

ROOT = Path(__file__).parents[3]
RECORDED = re.compile(r'(?:record\(|event: str = |_record\(\w+, \w+, )\s*"([a-z_]+)"')


def test_every_event_is_in_the_schema():
    """What the commands record has a line in the help."""
    sources = (ROOT / "apimodels_async" / "cli").rglob("*.py")
    recorded = set[str]()
    for path in sources:
        recorded.update(RECORDED.findall(path.read_text(encoding="utf-8")))

    assert recorded == set(EVENTS)
    said = {event for command in COMMANDS.values() for event in command.events}
    assert said | {"error"} == set(EVENTS)


def test_every_exit_code_is_explained():
    """The codes of the program, of Ctrl-C and of a closed pipe are in the help."""
    assert {*map(int, ExitCode), 130, 141} == set(EXITS)


def test_every_command_has_examples():
    """Each of them, and no other."""
    assert set(EXAMPLES) == set(COMMANDS)


async def test_a_page_has_its_own_events_only(run):
    """The help of a command names its events, and where the rest is explained."""
    page = (await run("balance", "--help")).out

    assert "\n  balance  balance, total, frozen, currency\n" in page
    assert "submitted" not in page
    assert "outcome unknown" not in page
    assert "apimodels help json" in page


async def test_help_explains_topics_and_commands(run):
    """``help`` is --help, of a command too; other topics are named."""
    assert (await run("help")).out == (await run("--help")).out
    assert (await run("help", "wait")).out == (await run("wait", "--help")).out
    assert "ordered_before" in (await run("help", "json")).out
    assert "outcome unknown" in (await run("help", "exits")).out
    done = await run("help", "jsno")
    assert (done.code, "did you mean json?" in done.err) == (2, True)
    done = await run("help", "nothing-like-it")
    assert "exits" in done.err
