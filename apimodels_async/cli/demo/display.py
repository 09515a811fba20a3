"""
The demo's board: drawn live or as one line for each picture, and as a gallery page.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from apimodels_async.cli.batch.progress import error_state
from apimodels_async.cli.demo.board import FAILED, SAVED, SENT, WAITING
from apimodels_async.cli.gallery.page import Card, write_gallery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from apimodels_async import Session
    from apimodels_async.cli.demo.board import Board, Item
    from apimodels_async.cli.output import Output

# State -> cell, style; in the order in which a picture goes through them.
STATE_STYLES: Final = {
    WAITING: ("·", "dim"),
    SENT: ("◌", "cyan"),
    "pending": ("○", "blue"),
    "processing": ("◐", "yellow"),
    "completed": ("●", "green"),
    SAVED: ("■", "bold green"),
    FAILED: ("✗", "bold red"),
}
UNKNOWN: Final = ("?", "magenta")  # a word the API added since
CELLS_A_ROW: Final = 17
BAR_WIDTH: Final = 34
WIDE: Final = 100  # columns; narrower terminals get no table of models
REFRESHES_PER_S: Final = 10


class BoardView:
    """The live board, rendered by rich at every refresh."""

    def __init__(self, board: Board, session: Session) -> None:
        self._board = board
        self._session = session

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        board = self._board
        ended = len(board.saved) + len(board.failed)
        bar = ProgressBar(total=len(board.items), completed=ended, width=BAR_WIDTH)
        cells = Padding(self._cells(), (1, 0))
        body: RenderableType = Group(bar, cells, self._figures(ended))
        if options.max_width >= WIDE:
            both = Table.grid(padding=(0, 3))
            both.add_row(body, self._models())
            body = both
        legend = "  ".join(
            f"{cell} {state}" for state, (cell, _) in STATE_STYLES.items()
        )
        yield Panel(
            Group(body, Padding(Text(legend, "dim"), (1, 0, 0, 0))),
            title=f"{ended} of {len(board.items)} pictures",
            border_style="dim",
            expand=False,
        )

    def _figures(self, ended: int) -> Table:
        board, stats = self._board, self._session.stats()
        elapsed = max(time.monotonic() - board.started_at, 0.001)
        figures = Table.grid(padding=(0, 2))
        for name, value in (
            ("pictures", f"{len(board.saved)} saved, {len(board.failed)} failed"),
            ("pace", f"{ended / elapsed:.1f} images/s after {elapsed:.1f} s"),
            ("tasks", f"{stats.pending} tracked, {stats.polls} polls"),
            ("pool", f"{stats.connections} connections"),
            ("spend", f"${board.cost:.3f}"),
        ):
            figures.add_row(Text(name, "dim"), Text(value))
        return figures

    def _cells(self) -> Text:
        cells = Text()
        for at, item in enumerate(self._board.items):
            if at and at % CELLS_A_ROW == 0:
                cells.append("\n")
            cell, style = STATE_STYLES.get(item.state, UNKNOWN)
            cells.append(f"{cell} ", style)
        return cells

    def _models(self) -> Table:
        table = Table(box=None, padding=(0, 1), header_style="dim")
        table.add_column("model")
        for cell, style in STATE_STYLES.values():
            table.add_column(Text(cell, style), justify="right", min_width=2)
        for model, counts in self._board.by_model().items():
            table.add_row(model, *(str(counts[state] or "") for state in STATE_STYLES))
        return table


def item_line(item: Item, total: int) -> str:
    """Return one line about an item that has ended."""
    head = f"{item.number:>3}/{total}  {item.order.model:<24}"
    if item.error is not None:
        return f"{head} FAILED  {item.order.prompt}: {item.error.message}"
    return f"{head} {item.service_s:6.2f} s  ${item.cost:.3f}  {item.path}"


@contextlib.contextmanager
def live_board(
    board: Board, session: Session, output: Output
) -> Iterator[Callable[[Item], None]]:
    """
    Show *board* while the body runs; yields what to call with each item that ends.
    """

    def ended(item: Item) -> None:
        if not output.interactive:
            output.line(item_line(item, len(board.items)))
        output.record(
            "picture",
            number=item.number,
            model=item.order.model,
            prompt=item.order.prompt,
            path=item.path,
            duration_s=item.service_s,
            credits=item.cost,
            error=str(item.error) if item.error else None,
        )

    if not output.interactive:
        yield ended
        return
    view = BoardView(board, session)
    with Live(view, console=output.stdout, refresh_per_second=REFRESHES_PER_S):
        yield ended


def write_page(index: Path, board: Board, wall_s: float | None = None) -> None:
    """
    Write the page about *board*: all pending, or what became of it. Blocks.

    Args:
        wall_s: How long it took, in seconds; None: nothing is made yet.

    Raises:
        ConfigurationError: The page cannot be written.
    """
    title, facts = f"{len(board.items)} pictures on their way", {}
    if wall_s is not None:
        title = f"{len(board.saved)} pictures in {wall_s:.1f} seconds"
        facts = {
            "pictures": str(len(board.saved)),
            "wall time": f"{wall_s:.1f} s",
            "one after another": f"{board.service_s:.0f} s",
            "spent": f"${board.cost:.2f}",
            "failed, not charged": str(len(board.failed)),
        }
    facts["drawn by"] = "the emulator inside; no real money"
    write_gallery(index, title, _cards(board), facts)


def _cards(board: Board) -> list[Card]:
    return [_card(item, _params(item, board)) for item in board.items]


def _params(item: Item, board: Board) -> dict[str, Any] | None:
    """Return what orders it again: of an edit, with the file that there is now."""
    order = item.order
    if order.source is None:
        return order.params
    source = board.items[order.source].path
    return None if source is None else {"images": [str(source)], **order.params}


def _card(item: Item, params: dict[str, Any] | None) -> Card:
    result = item.result
    return Card(
        number=item.number,
        prompt=item.order.prompt,
        model=item.order.model,
        state=_state(item),
        file=item.path,
        seed=item.order.params.get("seed"),
        time_s=result.duration_s if result else None,
        cost=result.credits if result else None,
        task_id=result.task_id if result else None,
        error=str(item.error) if item.error else None,
        params=params,
    )


def _state(item: Item) -> str:
    if item.error is None:
        return "completed" if item.path else "pending"
    return "failed" if item.result else error_state(item.error)
