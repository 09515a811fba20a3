"""
What the demo asks for: a mixed list that is the same every time.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import field, frozen

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
    """
    One picture to make.
    """

    model: str
    prompt: str
    params: dict[str, Any] = field(factory=dict[str, Any])
    source: int | None = None
    """An edit: the order whose picture it edits, always an earlier one."""

    @property
    def title(self) -> str:
        """
        What to call it, for people.
        """
        if self.source is None:
            return self.prompt
        return f"picture {self.source + 1}, {self.prompt}"

    @property
    def synchronous(self) -> bool:
        """
        Whether the API answers with the picture, without a task.
        """
        return self.model.startswith("sparkpix-")


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
