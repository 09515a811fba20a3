"""
What the demo knows while it runs: one item a picture, and sums over them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from pathlib import Path

    from apimodels_async import ApiModelsError, ImageResult
    from apimodels_async.cli.demo_orders import DemoOrder

WAITING, SENT, SAVED, FAILED = "waiting", "sent", "saved", "failed"
"""Our words beside the API's ``pending``, ``processing`` and ``completed``."""


@define(eq=False)
class Item:
    """
    One picture: its order, where it is, how it ended.
    """

    number: int
    """From 1."""
    order: DemoOrder
    state: str = WAITING
    result: ImageResult | None = None
    path: Path | None = None
    error: ApiModelsError | None = None
    made: asyncio.Event = field(factory=asyncio.Event)
    """Set when there is a result or an error; edits wait for their source."""

    @property
    def service_s(self) -> float:
        """
        Seconds of service time, as the API states them.
        """
        return (self.result.duration_s or 0.0) if self.result else 0.0

    @property
    def cost(self) -> Decimal:
        """
        US dollars, as the API states them.
        """
        return (self.result.credits or Decimal(0)) if self.result else Decimal(0)


@define(eq=False)
class Board:
    """
    All items.
    """

    items: list[Item]
    started_at: float
    """Seconds of ``time.monotonic()``."""

    @classmethod
    def of(cls, orders: list[DemoOrder], now: float) -> Board:
        """
        Return a board of *orders* at their start.
        """
        return cls([Item(at, order) for at, order in enumerate(orders, 1)], now)

    @property
    def saved(self) -> list[Item]:
        """
        Those whose picture is on disk.
        """
        return [item for item in self.items if item.path is not None]

    @property
    def failed(self) -> list[Item]:
        """
        Those that ended without a picture on disk.
        """
        return [item for item in self.items if item.error is not None]

    @property
    def service_s(self) -> float:
        """
        How long the pictures would have taken one after another, in seconds.
        """
        return sum(item.service_s for item in self.items)

    @property
    def cost(self) -> Decimal:
        """
        US dollars in all.
        """
        return sum((item.cost for item in self.items), Decimal(0))

    def by_model(self) -> dict[str, Counter[str]]:
        """
        Return how many items are in which state, by model id in order of appearance.
        """
        found: dict[str, Counter[str]] = {}
        for item in self.items:
            found.setdefault(item.order.model, Counter())[item.state] += 1
        return found
