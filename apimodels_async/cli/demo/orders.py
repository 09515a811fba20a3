"""The demo's orders, the same every time."""

from __future__ import annotations

from typing import Any, Final

from attrs import field, frozen

from apimodels_async._api.catalogue import SPARKPIX_EDIT, SPARKPIX_IMAGE

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
TASK: Final = "gpt-image-2"

# One round: half of it synchronous, so that both ways of the API are at work at once.
ROUND: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    (SPARKPIX_IMAGE, {}),
    (TASK, {"resolution": "1K"}),
    (SPARKPIX_IMAGE, {}),
    ("flux-2-klein-4b", {}),
    (SPARKPIX_EDIT, {}),
    ("gemini-2.5-flash-image", {}),
    (SPARKPIX_IMAGE, {}),
    ("grok-4.2-image", {}),
    (SPARKPIX_EDIT, {}),
    ("doubao-seedream-5-0-pro", {"resolution": "1K"}),
    (SPARKPIX_IMAGE, {}),
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
    """An edit: the number of the order whose picture it edits, a lower one."""


def demo_orders(count: int) -> dict[int, DemoOrder]:
    """
    Return *count* orders that succeed and, among them, two that are refused; by number.

    One is refused at once (SparkPix), one as a task that fails. Edits come last: by
    then there may be what they edit.
    """
    orders: list[DemoOrder] = []
    edits: list[DemoOrder] = []
    source = 0
    for at in range(count):
        if at == count // 3:
            orders.append(DemoOrder(SPARKPIX_IMAGE, REFUSED))
        if at == 2 * count // 3:
            orders.append(DemoOrder(TASK, REFUSED))
        model, params = ROUND[at % len(ROUND)]
        if model == SPARKPIX_EDIT:
            words = EDITS[at // 4 % len(EDITS)]
            edits.append(DemoOrder(model, words, {"seed": at}, source))
            continue
        prompt = f"{SUBJECTS[at % len(SUBJECTS)]} {SETTINGS[at % len(SETTINGS)]}"
        ratio = {"aspect_ratio": RATIOS[at % len(RATIOS)]}
        orders.append(DemoOrder(model, prompt, {**params, **ratio, "seed": at}))
        if model == SPARKPIX_IMAGE:
            source = len(orders)
    return dict(enumerate([*orders, *edits], 1))
