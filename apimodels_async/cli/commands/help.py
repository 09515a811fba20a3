"""``apimodels help``: topics; the help of commands is cyclopts' own."""

from __future__ import annotations

import sys

from apimodels_async import InvalidRequestError
from apimodels_async._api.spelling import did_you_mean, nearest
from apimodels_async.cli.help.commands import COMMANDS
from apimodels_async.cli.help.topics import TOPICS
from apimodels_async.cli.output import screen


async def help(topic: str) -> None:  # noqa: A001  the command's name
    """
    Explain a command, the events of --json, or the exit codes.

    Args:
        topic: A command, "json" or "exits"; without one, all commands are listed.
    """
    if topic not in TOPICS:
        known = [*COMMANDS, *TOPICS]
        near = nearest(topic, known)
        question = did_you_mean(near) if near else f"one of: {', '.join(known)}"
        msg = f"there is no help on {topic!r}; {question}"
        raise InvalidRequestError(msg, parameter="topic")
    sys.stdout.write(f"{TOPICS[topic](screen(sys.stdout).width)}\n")
