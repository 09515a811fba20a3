"""What is printed: text from elsewhere, colours, and what an error looks like."""

from __future__ import annotations

import os
import pty
from pathlib import Path

from apimodels_async._text import escaped
from apimodels_async.cli.output import screen


def test_text_from_elsewhere_cannot_steer_a_terminal():
    """Control characters, escapes and bidirectional marks are written out."""
    assert escaped("a\x1b[31m\u202eb\n") == r"a\x1b[31m\u202eb\n"
    assert escaped("blåbær 🦊") == "blåbær 🦊"


async def test_markup_in_a_reason_is_shown_as_text(run):
    """Brackets in a message are no markup of rich's."""
    done = await run("generate", "[red]x[/red]", "--width", 16)

    assert done.code == 2
    done = await run("generate", "a fox", "--param", "[bold]x")
    assert "[bold]x" in done.err


def test_colours_are_for_terminals_that_want_them(monkeypatch):
    """NO_COLOR takes the colours only, TERM=dumb all that moves; a file has none."""
    ours, theirs = pty.openpty()
    with (
        os.fdopen(theirs, "w") as terminal,
        os.fdopen(ours) as _,
        Path(os.devnull).open("w") as file,
    ):
        assert screen(terminal).is_terminal
        assert not screen(file).is_terminal
        with monkeypatch.context() as patch:
            patch.setenv("NO_COLOR", "1")
            assert screen(terminal).is_terminal
            assert screen(terminal).no_color
            patch.setenv("TERM", "dumb")
            assert not screen(terminal).is_terminal
