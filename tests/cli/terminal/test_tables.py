"""Rows in columns, in a pipe and on terminals of several widths."""

from __future__ import annotations

import pytest
from cli.conftest import Terminal, plain

from apimodels_async.cli.output import Output, screen
from apimodels_async.cli.terminal.tables import AT_ONCE, Column, Rows

COLUMNS = (
    Column("no.", right=True),
    Column("state", state=True),
    Column("task", rank=1),
    Column("prompt"),
)


def test_a_pipe_gets_every_column_aligned(capsys):
    """Cells begin below one another, numbers end so; nothing is cut."""
    rows = Rows(Output(), COLUMNS)
    rows.add("7", "completed", "clx1", "a fox")
    rows.add("12", "failed", "-", "a\nhare " + "x" * 200)
    rows.close()

    assert capsys.readouterr().out.splitlines() == [
        " 7  completed  clx1  a fox",
        "12  failed     -     a\\nhare " + "x" * 200,
    ]


def test_rows_come_while_others_are_looked_for(capsys):
    """A long list is not held back to its end."""
    rows = Rows(Output(), COLUMNS)
    for number in range(AT_ONCE + 1):
        rows.add(str(number), "completed", "-", "a")
    early = len(capsys.readouterr().out.splitlines())
    rows.close()
    rows.close()

    assert (early, len(capsys.readouterr().out.splitlines())) == (AT_ONCE, 1)


def test_a_terminal_that_is_too_narrow_keeps_what_counts(monkeypatch):
    """Columns without a rank stay, however little space there is."""
    monkeypatch.setenv("COLUMNS", "20")
    out, err = Terminal(), Terminal()
    rows = Rows(Output(stdout=screen(out), stderr=screen(err)), COLUMNS)
    rows.add("7", "completed", "clx1", "a fox in the snow")
    rows.close()

    assert "task" not in out.getvalue()
    assert max(map(len, plain(out.getvalue()).splitlines())) <= 20
    assert "state" in out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_terminal_gets_a_line_a_row(monkeypatch, width):
    """What does not fit is cut or left out, and what is left out is said."""
    monkeypatch.setenv("COLUMNS", str(width))
    out, err = Terminal(), Terminal()
    rows = Rows(Output(stdout=screen(out), stderr=screen(err)), COLUMNS)
    task = "clx123456789" * 4
    rows.add("7", "completed", task, "a fox in the snow " * 9)
    rows.add("8", "failed", "clx123456780", "a hare")
    rows.close()
    lines = plain(out.getvalue()).splitlines()

    assert len(lines) == 3
    assert max(map(len, lines)) <= width
    assert "…" in lines[1]
    assert ("clx123456789" in out.getvalue()) is (width >= 100)
    assert ("has more: task" in err.getvalue()) is (width < 100)


def test_no_rows_are_nothing(capsys):
    """An empty list prints nothing."""
    Rows(Output(), COLUMNS).close()

    assert capsys.readouterr().out == ""
