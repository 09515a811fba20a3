"""The demo's orders, the same every time, and their states."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field, frozen

if TYPE_CHECKING:
    from pathlib import Path

    from apimodels_async import ApiModelsError, ImageResult

WAITING, SENT, SAVED, FAILED = "waiting", "sent", "saved", "failed"
"""Our words beside the API's ``pending``, ``processing`` and ``completed``."""

SUBJECTS: Final = (
    *("a red fox", "a lighthouse", "an old observatory", "two herons"),
    *("a paper boat", "a glass city", "a moose", "a night train"),
    *("a clockwork owl", "a tea house", "a whale"),
)
SETTINGS: Final = (
    *("in fresh snow", "under a comet", "at first light", "in a field of poppies"),
    *("seen from above", "in heavy fog", "reflected in still water"),
)
EDITS: Final = ("at sunset", "as a woodcut", "in the rain", "as a stained-glass window")
RATIOS: Final = ("1:1", "4:3", "3:2", "16:9", "3:4")

# One round: half of it synchronous, so that both ways of the API are at work at once.
ROUND: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("sparkpix-image", {}),
    ("gpt-image-2", {"resolution": "1K"}),
    ("sparkpix-image", {}),
    ("flux-2-klein-4b", {}),
    ("sparkpix-image-edit", {}),
    ("gemini-2.5-flash-image", {}),
    ("sparkpix-image", {}),
    ("grok-4.2-image", {}),
    ("sparkpix-image-edit", {}),
    ("doubao-seedream-5-0-pro", {"resolution": "1K"}),
    ("sparkpix-image", {}),
    ("qwen3-image", {}),
)
REFUSED: Final = "[refused] something the content policy forbids"
"""The emulator refuses prompts with this tag, as the API does with forbidden ones."""


@frozen
class DemoOrder:
    """One picture to make."""

    model: str
    prompt: str
    params: dict[str, Any] = field(factory=dict[str, Any])
    source: int | None = None
    """An edit: the order whose picture it edits, always an earlier one."""

    @property
    def synchronous(self) -> bool:
        """Whether the API answers with the picture, without a task."""
        return self.model.startswith("sparkpix-")


@define(eq=False)
class Item:
    """One picture: its order, where it is, how it ended."""

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
        """Seconds of service time, as the API states them."""
        return (self.result.duration_s or 0.0) if self.result else 0.0

    @property
    def cost(self) -> Decimal:
        """US dollars, as the API states them."""
        return (self.result.credits or Decimal(0)) if self.result else Decimal(0)


@define(eq=False)
class Board:
    """All items."""

    items: list[Item]
    started_at: float
    """Seconds of ``time.monotonic()``."""

    @classmethod
    def of(cls, orders: list[DemoOrder], now: float) -> Board:
        """Return a board of *orders* at their start."""
        return cls([Item(at, order) for at, order in enumerate(orders, 1)], now)

    @property
    def saved(self) -> list[Item]:
        """Those whose picture is on disk."""
        return [item for item in self.items if item.path is not None]

    @property
    def failed(self) -> list[Item]:
        """Those that ended without a picture on disk."""
        return [item for item in self.items if item.error is not None]

    @property
    def service_s(self) -> float:
        """How long the pictures would have taken one after another, in seconds."""
        return sum(item.service_s for item in self.items)

    @property
    def cost(self) -> Decimal:
        """US dollars in all."""
        return sum((item.cost for item in self.items), Decimal(0))

    def by_model(self) -> dict[str, Counter[str]]:
        """
        Return how many items are in which state, by model id in order of appearance.
        """
        found: dict[str, Counter[str]] = {}
        for item in self.items:
            found.setdefault(item.order.model, Counter())[item.state] += 1
        return found


def demo_orders(count: int) -> list[DemoOrder]:
    """
    Return *count* orders that succeed and, among them, two that are refused.

    One is refused at once (SparkPix), one as a task that fails.
    """
    orders: list[DemoOrder] = []
    base = 0
    for at in range(count):
        if at == count // 3:
            orders.append(DemoOrder("sparkpix-image", REFUSED))
        if at == 2 * count // 3:
            orders.append(DemoOrder("gpt-image-2", REFUSED))
        model, params = ROUND[at % len(ROUND)]
        if model == "sparkpix-image-edit":
            edit = EDITS[at // 4 % len(EDITS)]
            orders.append(DemoOrder(model, edit, {"seed": at}, base))
            continue
        if model == "sparkpix-image":
            base = len(orders)
        prompt = f"{SUBJECTS[at % len(SUBJECTS)]} {SETTINGS[at % len(SETTINGS)]}"
        ratio = {"aspect_ratio": RATIOS[at % len(RATIOS)]}
        orders.append(DemoOrder(model, prompt, {**params, **ratio, "seed": at}))
    return orders
