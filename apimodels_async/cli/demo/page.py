"""The page that the demo leaves."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from attrs import evolve

from apimodels_async.cli.batch.progress import outcome_state
from apimodels_async.cli.gallery.card import Card
from apimodels_async.cli.gallery.page import write_gallery

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from apimodels_async import ImageResult, Outcome
    from apimodels_async.cli.demo.orders import DemoOrder


def write_page(
    index: Path,
    orders: Mapping[int, DemoOrder],
    ended: Mapping[int, Outcome],
    wall_s: float | None = None,
) -> None:
    """
    Write the page about *orders*: all pending, or what became of them. Blocks.

    Args:
        ended: Outcomes, by the number of the order.

        wall_s: How long it took, in seconds; None: nothing is made yet.

    Raises:
        ConfigurationError: The page cannot be written.
    """
    title, facts = f"{len(orders)} pictures on their way", {}
    if wall_s is not None:
        saved = sum(each.error is None for each in ended.values())
        results = results_of(ended)
        title = f"{saved} pictures in {wall_s:.1f} seconds"
        facts = {
            "pictures": str(saved),
            "wall time": f"{wall_s:.1f} s",
            "one after another": f"{service_s(results):.0f} s",
            "spent": f"${cost(results):.2f}",
            "failed, not charged": str(len(ended) - saved),
        }
    facts["drawn by"] = "the emulator inside; no real money"
    cards = [_card(number, orders[number], ended) for number in orders]
    write_gallery(index, title, cards, facts)


def results_of(ended: Mapping[int, Outcome]) -> list[ImageResult]:
    """Return what was made, saved or not."""
    return [each.result for each in ended.values() if each.result is not None]


def service_s(results: list[ImageResult]) -> float:
    """Return how long they would have taken one after another, in seconds."""
    return sum(each.duration_s or 0 for each in results)


def cost(results: list[ImageResult]) -> Decimal:
    """Return US dollars, as the API states them."""
    return sum((each.credits or Decimal(0) for each in results), Decimal(0))


def _card(number: int, order: DemoOrder, ended: Mapping[int, Outcome]) -> Card:
    params: dict[str, Any] | None = order.params
    if order.source is not None:  # with the file that there is now
        source = ended.get(order.source)
        path = None if source is None else source.path
        params = {"images": [str(path)], **order.params} if path else None
    card = Card(
        number=number,
        prompt=order.prompt,
        model=order.model,
        state="pending",
        seed=order.params.get("seed"),
        params=params,
    )
    outcome = ended.get(number)
    if outcome is None:
        return card
    state, result, error = outcome_state(outcome), outcome.result, outcome.error
    return evolve(
        card,
        state="failed" if state == "unsaved" else state,
        files=outcome.paths,
        time_s=result.duration_s if result else None,
        cost=result.credits if result else None,
        task_id=result.task_id if result else None,
        error=str(error) if error else None,
    )
