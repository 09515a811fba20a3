"""
The demo's board as a gallery.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apimodels_async import APIStatusError, InvalidRequestError
from apimodels_async.cli.gallery import Card, write_gallery

if TYPE_CHECKING:
    from pathlib import Path

    from apimodels_async.cli.demo_board import Board, Item


def write_start(index: Path, board: Board) -> None:
    """
    Write the page before anything is made: every picture is pending. Blocks.

    Raises:
        ConfigurationError: The page cannot be written.
    """
    facts = {"drawn by": "the emulator inside; no real money"}
    title = f"{len(board.items)} pictures on their way"
    write_gallery(index, title, [*map(_card, board.items)], facts)


def write_end(index: Path, board: Board, wall_s: float) -> None:
    """
    Write the page about what became of *board* in *wall_s* seconds. Blocks.

    Raises:
        ConfigurationError: The page cannot be written.
    """
    facts = {
        "pictures": str(len(board.saved)),
        "wall time": f"{wall_s:.1f} s",
        "one after another": f"{board.service_s:.0f} s",
        "spent": f"${board.cost:.2f}",
        "failed, not charged": str(len(board.failed)),
        "drawn by": "the emulator inside; no real money",
    }
    title = f"{len(board.saved)} pictures in {wall_s:.1f} seconds"
    write_gallery(index, title, [*map(_card, board.items)], facts)


def _card(item: Item) -> Card:
    result = item.result
    return Card(
        number=item.number,
        prompt=item.order.title,
        model=item.order.model,
        state=_state(item),
        file=item.path,
        seed=item.order.params.get("seed"),
        time_s=result.duration_s if result else None,
        cost=result.credits if result else None,
        task_id=result.task_id if result else None,
        error=str(item.error) if item.error else None,
    )


def _state(item: Item) -> str:
    if item.error is None:
        return "completed" if item.path else "pending"
    if item.error.charged is None:
        return "unknown"
    refused = isinstance(item.error, (APIStatusError, InvalidRequestError))
    return "refused" if refused else "failed"
