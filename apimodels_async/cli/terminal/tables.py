"""
Rows in columns: on a terminal as wide as it is, elsewhere aligned and whole.

On a terminal a row is one line: what does not fit is cut, and columns that need a wider
one are left out. Elsewhere nothing is, as programs and ``grep`` read it; rows come as
they are found, and the columns are as wide as the widest cell so far.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from apimodels_async._text import escaped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apimodels_async.cli.output import Output

AT_ONCE: Final = 200
"""Rows that are held back to know how wide the columns are."""
STYLES: Final = {
    "completed": "green",
    "pending": "cyan",
    "accepted": "cyan",
    "unknown": "magenta",
}
BAD: Final = "red"
PADDING: Final = 2
LAST_MIN: Final = 24
"""Columns of a terminal that the last column gets at least."""


@frozen
class Column:
    """One column of a list."""

    title: str
    rank: int = 0
    """Where there is too little space, those of the highest go first; 0 never."""
    right: bool = False
    state: bool = False
    """Its cells are coloured by what they say."""


@define(eq=False)
class Rows:
    """What a command lists; to be closed, which prints the rest."""

    output: Output
    columns: Sequence[Column]
    """The last one takes what space there is."""
    at_once: int = AT_ONCE
    """As the constant."""
    _held: list[tuple[str, ...]] = field(init=False, factory=list[tuple[str, ...]])
    _widths: list[int] = field(init=False, factory=list[int])

    def add(self, *cells: str) -> None:
        """Add a row, a cell for each column."""
        self._held.append(tuple(escaped(cell) for cell in cells))
        if len(self._held) >= self.at_once and not self.output.interactive:
            self._flush()

    def close(self) -> None:
        """Print what is left."""
        if self.output.interactive and self._held:
            self._show()
        else:
            self._flush()

    def _flush(self) -> None:
        if not self._held:
            return
        widths = [max(map(len, cells)) for cells in zip(*self._held, strict=True)]
        self._widths = list(map(max, widths, self._widths or widths))
        for cells in self._held:
            padded = [
                cell.rjust(width) if column.right else cell.ljust(width)
                for cell, width, column in zip(
                    cells, self._widths, self.columns, strict=True
                )
            ]
            self.output.line("  ".join(padded).rstrip())
        self._held.clear()

    def _show(self) -> None:
        kept = self._kept()
        table = Table(box=None, header_style="bold", padding=(0, 1), expand=True)
        for at in kept:
            last = at == len(self.columns) - 1
            table.add_column(
                self.columns[at].title,
                justify="right" if self.columns[at].right else "left",
                no_wrap=True,
                overflow="ellipsis",
                ratio=1 if last else None,
                style="dim" if last else None,
            )
        for cells in self._held:
            table.add_row(*(self._cell(at, cells[at]) for at in kept))
        self.output.show(table)
        hidden = [c.title for at, c in enumerate(self.columns) if at not in kept]
        if hidden:
            names = ", ".join(hidden)
            self.output.note(f"A wider terminal, or --json, has more: {names}.")
        self._held.clear()

    def _kept(self) -> list[int]:
        """Return which columns there is space for."""
        needs = [
            max(map(cell_len, (column.title, *cells))) + PADDING
            for column, cells in zip(
                self.columns, zip(*self._held, strict=True), strict=True
            )
        ]
        needs[-1] = min(needs[-1], LAST_MIN)
        kept = list(range(len(needs)))
        while sum(needs[at] for at in kept) > self.output.stdout.width:
            least = max(kept, key=lambda at: self.columns[at].rank)
            if not self.columns[least].rank:
                break
            kept.remove(least)
        return kept

    def _cell(self, at: int, text: str) -> Text:
        style = STYLES.get(text, BAD) if self.columns[at].state else ""
        return Text(text, style)
