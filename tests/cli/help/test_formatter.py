"""Help pages: paragraphs and columns."""

from __future__ import annotations

import pytest

from apimodels_async.cli.help.commands import COMMANDS
from apimodels_async.cli.help.formatter import wrapped


def test_paragraphs_are_wrapped_and_columns_kept():
    """The source's line breaks go, but for lines that are indented or have columns."""
    text = "One\ntwo.\n\n.txt   a line\n.csv   a table\nThree\nfour."

    assert wrapped(text, 80).splitlines() == [
        "One two.",
        "",
        ".txt   a line",
        ".csv   a table",
        "Three four.",
    ]
    assert wrapped("one two three", 8).splitlines() == ["one two", "three"]


@pytest.mark.parametrize("width", [60, 80, 120])
async def test_every_page_fits_the_terminal(run, monkeypatch, width):
    """No line is wider than the terminal, or ends in blanks; none has a type's name."""
    monkeypatch.setenv("COLUMNS", str(width))
    wrong = []
    for name in ("--help", *sorted(COMMANDS)):
        argv = [name] if name.startswith("-") else [name, "--help"]
        done = await run(*argv)
        lines = done.out.splitlines()
        wide = [line for line in lines if len(line) > width or line.endswith(" ")]
        odd = [line for line in lines if " STR" in line or " FLOAT" in line]
        wrong += [(name, done.err, wide, odd)] * (done.code != 0 or bool(wide + odd))

    assert wrong == []


async def test_short_options(run):
    """-m and -o are in the help, before the long names."""
    done = await run("generate", "--help")

    assert "  -m, --model TEXT" in done.out
    assert "  -o, --out TEXT" in done.out
