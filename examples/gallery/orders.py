"""What may be ordered: read and priced before anything is taken."""

from functools import cache

from attrs import frozen

from apimodels_async import check_request
from gallery.cards import micro
from gallery.settings import OPEN_MAX, PROMPT_CHARS_MAX, PROMPTS_MAX, offered_models


class OrderError(ValueError):
    """An order cannot be taken; says why, in words for the page."""


@frozen
class Offer:
    """A model, and what one of its pictures should cost; millionths of a dollar."""

    id: str
    least: int
    most: int
    """More than *least* where the price depends on what is left to the API."""


@cache
def offers() -> list[Offer]:
    """Return what may be chosen, by the published prices."""
    return [
        Offer(name, micro(min(model.prices.values())), micro(most))
        for name, model in offered_models().items()
        if (most := check_request({"prompt": "x", "model": name}).price) is not None
    ]


def read_prompts(text: str, taken: int) -> list[str]:
    """
    Return the prompts in *text*, one a line; *taken*: cards under way already.

    Raises:
        OrderError: None, too many, or too long.
    """
    prompts = [line.strip() for line in text.splitlines() if line.strip()]
    if not prompts:
        msg = "Write at least one prompt, each on a line of its own."
        raise OrderError(msg)
    if len(prompts) > PROMPTS_MAX:
        msg = (
            f"{len(prompts)} prompts are too many for one order: at most {PROMPTS_MAX}."
        )
        raise OrderError(msg)
    for number, prompt in enumerate(prompts, 1):
        if len(prompt) > PROMPT_CHARS_MAX:
            msg = (
                f"Prompt {number} has {len(prompt)} characters: at most "
                f"{PROMPT_CHARS_MAX}."
            )
            raise OrderError(msg)
    if taken + len(prompts) > OPEN_MAX:
        msg = f"{taken} pictures are still under way: wait for some of them."
        raise OrderError(msg)
    return prompts


def priced(prompt: str, model: str, ratio: str) -> int | None:
    """
    Return the price of an order in millionths of a dollar; sends nothing.

    Raises:
        InvalidRequestError: It would be refused, and why.
    """
    wanted = {"prompt": prompt, "model": model, "aspect_ratio": ratio}
    return micro(check_request(wanted).price)
