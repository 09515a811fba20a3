"""Questions before something that may cost twice."""

from __future__ import annotations

import asyncio
import os
import pty
import threading

import pytest
from cli.conftest import Terminal
from support.waiting import until

from apimodels_async import ConfigurationError, InvalidRequestError
from apimodels_async.cli.output import Output, screen
from apimodels_async.cli.terminal.asking import confirm

WORDS = {"needed": "say so with --yes", "otherwise": "nothing was done"}


@pytest.mark.parametrize("text", ["y\n", "Yes\n", "n\n", "\n", ""])
async def test_only_a_yes_goes_on(text):
    """Whatever else is typed on a terminal ends the command, and so does its end."""
    ours, theirs = pty.openpty()
    output = Output(stdout=screen(Terminal()), stderr=screen(shown := Terminal()))
    with os.fdopen(theirs, encoding="utf-8") as stdin, os.fdopen(ours, "w") as keys:
        keys.write(text or "\4")
        keys.flush()
        if text.lower().startswith("y"):
            await confirm("Really?", output, stdin=stdin, **WORDS)
        else:
            with pytest.raises(ConfigurationError, match="nothing was done"):
                await confirm("Really?", output, stdin=stdin, **WORDS)

    assert "Really? [y/N]" in shown.getvalue()


async def test_a_cancelled_question_takes_no_answer():
    """Ctrl-C ends it at once; what is typed after it does nothing."""
    ours, theirs = pty.openpty()
    output = Output(stdout=screen(Terminal()), stderr=screen(Terminal()))
    with os.fdopen(theirs, encoding="utf-8") as stdin, os.fdopen(ours, "w") as keys:
        asked = asyncio.create_task(confirm("Really?", output, stdin=stdin, **WORDS))
        running = threading.active_count()
        await until(lambda: threading.active_count() > running)
        asked.cancel()
        await asyncio.wait([asked])
        keys.write("y\n")
        keys.flush()
        await until(lambda: threading.active_count() == running)

    assert asked.cancelled()


async def test_a_file_is_not_asked(folder):
    """Where nobody can answer, the option that does is named."""
    with (
        (folder / "stdin").open("w+") as stdin,
        pytest.raises(InvalidRequestError, match="--yes"),
    ):
        await confirm("Really?", Output(), stdin=stdin, **WORDS)
