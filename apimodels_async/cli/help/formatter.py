"""
Help pages: paragraphs and two columns, wrapped to the terminal.

Docstrings break their lines where the source does; here each paragraph is one text,
which the console wraps. No boxes: a page is also read by ``grep`` and by ears.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

from rich.text import Text

from apimodels_async.cli.help.columns import INDENT, MARGIN, column

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions, RenderableType

UNWRAPPED: Final = 100_000
"""Columns; no docstring has a line as long."""
METAVARS: Final = {
    "STR": "TEXT",
    "INT": "N",
    "FLOAT": "N",
    "DECIMAL": "USD",
    "DATETIME": "DAY",
    "CHOICE": "WORD",
}
"""What cyclopts calls a value, after its type -> what its user does."""


def wrapped(text: str, width: int) -> str:
    """
    Return *text* with each paragraph wrapped to *width*.

    Lines that are indented, or have columns, stay as they are.
    """
    lines = list[str]()
    open_paragraph = False
    for line in text.strip().splitlines():
        kept = line.startswith(" ") or "  " in line.strip()
        if open_paragraph and line.strip() and not kept:
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line.rstrip())
        open_paragraph = bool(line.strip()) and not kept
    return "\n".join(_filled(line, width) for line in lines)


def _filled(line: str, width: int) -> str:
    """Return *line* in at most *width*; what is in its second column stays there."""
    margin = 0
    if "  " in line:
        margin = line.rindex("  ") + 2
    return textwrap.fill(
        line, width, subsequent_indent=" " * margin, break_on_hyphens=False
    )


class PlainHelp:
    """cyclopts' help formatter for all commands."""

    def __call__(
        self, console: Console, options: ConsoleOptions, panel: HelpPanel
    ) -> None:
        """Print the options or commands of one group."""
        if not panel.entries:
            return
        rows = [(_names(entry), _words(console, entry)) for entry in panel.entries]
        console.print()
        console.print(Text(_plain(console, panel.title), "bold"))
        for name, words in rows:
            margin = max(len(name) for name, _ in rows) + MARGIN
            shown = Text(column(name, words, margin, options.max_width))
            shown.stylize("cyan", INDENT, INDENT + len(name))
            console.print(shown)

    def render_usage(
        self, console: Console, _: ConsoleOptions, usage: RenderableType
    ) -> None:
        """Print the line that says how it is called."""
        shown = Text.assemble(("Usage: ", "bold"), _plain(console, usage))
        console.print(shown)

    def render_description(
        self, console: Console, options: ConsoleOptions, description: RenderableType
    ) -> None:
        """Print what a command does."""
        console.print()
        console.print(Text(wrapped(_plain(console, description), options.max_width)))


def _plain(console: Console, shown: RenderableType) -> str:
    wide = console.options.update(width=UNWRAPPED)
    segments = console.render(shown, wide) if shown else ()
    return "".join(each.text for each in segments if not each.control).strip()


def _names(entry: HelpEntry) -> str:
    if entry.positional_label:
        return entry.positional_label.replace("_", "-")
    shown = ", ".join([*entry.positive_shorts, *entry.positive_names])
    if entry.metavar:
        word = entry.metavar.removesuffix("...")
        shown += f" {METAVARS.get(word, word)}"
    return shown


def _words(console: Console, entry: HelpEntry) -> str:
    words = " ".join(_plain(console, entry.description).split())
    notes: list[str] = []
    if entry.choices:
        notes.append(f"one of: {', '.join(entry.choices)}")
    if entry.default is not None:
        notes.append(f"default: {entry.default.removesuffix('.0')}")
    if entry.required and not entry.positional_label:
        notes.append("required")
    return f"{words} ({'; '.join(notes)})" if notes else words
