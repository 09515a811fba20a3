"""
What is known of models: the API's own list, and the catalogue that was published.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from attrs import field, frozen

from apimodels_async._text import Value

__all__ = ["KnownModel", "KnownParameter", "ModelInfo"]


@frozen(eq=False, repr=False, kw_only=True)
class ModelInfo(Value):
    """One row of the API's catalogue."""

    id: str
    """Model id."""
    modality: str | None = None
    """What it makes, in the API's word."""
    endpoint: str | None = None
    """Path that takes its orders."""
    known: KnownModel | None = field(default=None, eq=False, repr=False)
    """What was published of it: parameters, prices, input images, and on which day."""
    raw: Mapping[str, Any] = field(factory=dict[str, Any], repr=False)
    """The API's own mapping, unchanged."""


@frozen(eq=False, repr=False, kw_only=True)
class KnownParameter(Value):
    """
    What is known of one parameter of a model; what is not known is not checked.
    """

    name: str
    """In the API's spelling."""
    type: str
    """
    ``text``; ``whole`` or ``number``; ``flag`` (true or false); ``ratio`` (``16:9`` or
    ``auto``); ``size`` (``1024x1024``, ``2K`` or ``auto``); ``url`` and ``urls``
    (http or https); ``image`` and ``images`` (also ``data:`` and base64).
    """
    source: str
    """
    ``api page``; ``vendor page``; ``vendor code``, the vendor's catalogue and tools; or
    ``public code``: programs of others, where it was seen and is not promised.
    """
    values: tuple[str, ...] = ()
    """All that are allowed, where the vendor lists them; ``2k`` stands for ``2K``."""
    low: float | None = None
    """Smallest value; of a ``size`` the shorter side, pixels."""
    high: float | None = None
    """Largest value; of a ``size`` the longer side, pixels."""
    step: int | None = None
    """Of what it, or each side of a ``size``, must be a multiple."""
    pixels: tuple[int, int] | None = None
    """Fewest and most pixels of a ``size``."""
    ratio_max: float | None = None
    """Of a ``size``: how many times the shorter side the longer one may be."""


@frozen(eq=False, repr=False, kw_only=True)
class KnownModel(Value):
    """
    What was published about a model on the day this catalogue was read.

    Never complete, and prices drift: they are hints for a human, not what the API will
    charge.
    """

    id: str
    """Model id."""
    read_on: date
    """Day the catalogue was read."""
    prices: Mapping[str, Decimal] = field(factory=dict[str, Decimal])
    """US dollars an image, by ``""`` (flat), ``"2K"`` or ``"2K/high"``."""
    image_price: Decimal = Decimal(0)
    """US dollars more for each input image."""
    params: Mapping[str, KnownParameter] = field(factory=dict[str, KnownParameter])
    """By name, ``prompt`` left out."""
    image_field: str | None = None
    """Parameter that takes input images; None: the model takes none."""
    images_max: int | None = None
    """Most input images, where it was published."""
    images_min: int = 0
    """Fewest input images."""
    prompt: bool = True
    """Whether a prompt is required."""
    prompt_unless: str | None = None
    """The flag that makes the prompt optional."""
    prompt_max: int | None = None
    """Most characters of a prompt, where it was published."""
    synchronous: bool = False
    """Answered directly, without a task."""
    answers_with_task: bool = False
    """
    Whether orders are known to be answered with a task within seconds; others may be
    answered with the picture itself, and are waited for as long as that takes.
    """
