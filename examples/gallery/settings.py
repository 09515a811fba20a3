"""What the environment says, read once at the start."""

import os
from decimal import Decimal, InvalidOperation
from pathlib import Path

from attrs import field, frozen

from apimodels_async import ConfigurationError, KnownModel, known_models

RATIOS = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3")
PROMPTS_MAX = 50  # in one order
PROMPT_CHARS_MAX = 2000
BODY_MAX = 1 << 20  # bytes of a form; all prompts at their longest fit
OPEN_MAX = 300  # cards under way at once; each holds one small asyncio task
LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "::1")


@frozen(kw_only=True)
class Settings:
    """
    Where the pictures go, what may be spent, and under which names we are reached.
    """

    folder: Path = field(factory=lambda: Path("gallery-data"))
    budget: Decimal | None = None
    """US dollars for everything in *folder* together; None: no bound."""
    hosts: tuple[str, ...] = LOOPBACK

    @classmethod
    def from_environment(cls) -> "Settings":
        """
        Read ``GALLERY_DIR``, ``GALLERY_BUDGET`` and ``GALLERY_HOSTS``.

        Raises:
            ConfigurationError: The budget is not an amount.
        """
        given = os.environ.get
        hosts = given("GALLERY_HOSTS", "").replace(",", " ").split()
        return cls(
            folder=Path(given("GALLERY_DIR") or "gallery-data"),
            budget=_amount(given("GALLERY_BUDGET")),
            hosts=(*LOOPBACK, *hosts),
        )


def offered_models() -> dict[str, KnownModel]:
    """
    Return the models that draw from a prompt alone, as far as the catalogue tells.

    Those whose published price is unknown are left out: nobody should order blindly.
    """
    return {
        name: model
        for name, model in known_models().items()
        if model.prompt and model.prices and not model.images_min
    }


def first_choice() -> str:
    """Return the model that is chosen at first: the first one answered by a task."""
    models = offered_models()
    return next(name for name, model in models.items() if not model.synchronous)


def _amount(text: str | None) -> Decimal | None:
    if not text:
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(-1)
    if not (amount.is_finite() and amount >= 0):
        msg = f"GALLERY_BUDGET must be an amount in US dollars, not {text!r}"
        raise ConfigurationError(msg)
    return amount
