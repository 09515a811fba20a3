"""
Results and requests as stores keep them: JSON text, and a key for each item.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Final

from attrs import define, field

from apimodels_async.models import ImageResult

if TYPE_CHECKING:
    from cattrs.preconf.json import JsonConverter

AMOUNT_DIGITS_MAX: Final = 18
"""Before or behind the point; no amount of money has more."""


def read_amount(value: object) -> Decimal:
    """
    Return an amount of money that was written as text.

    Raises:
        ValueError: It is none, or one below zero, which would raise a budget.
    """
    try:
        # Another kind than text was not written by us, nor by SQLite from what we gave.
        amount = Decimal(value if isinstance(value, str) else "")
    except ArithmeticError:
        amount = Decimal("NaN")
    if not amount.is_finite() or abs(amount.adjusted()) > AMOUNT_DIGITS_MAX:
        msg = "an amount that cannot be read"
        raise ValueError(msg)
    if amount < 0:
        msg = "an amount below zero"
        raise ValueError(msg)
    return amount


def _read_text(value: object, _: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


@cache
def _converter() -> JsonConverter:
    from cattrs.preconf.json import make_converter  # 100 ms, and few need it

    converter = make_converter()
    converter.register_unstructure_hook(Decimal, str)
    converter.register_structure_hook(Decimal, lambda value, _: read_amount(value))
    converter.register_structure_hook(str, _read_text)
    return converter


def dump_result(result: ImageResult) -> str:
    """Return *result* as JSON."""
    return _converter().dumps(result)


def load_result(text: str) -> ImageResult:
    """
    Return the result that ``dump_result`` wrote.

    Raises:
        ValueError: It is another text, or damaged.
    """
    from cattrs import BaseValidationError

    try:
        found = json.loads(text)
        result = _converter().structure(found, ImageResult)
    except (ValueError, TypeError, RecursionError, BaseValidationError):
        msg = "a result that cannot be read"
        raise ValueError(msg) from None
    dates = (result.created_at, result.completed_at, result.expires_at)
    if (
        not isinstance(found["urls"], list)  # of one text, each letter would be one
        or not result.urls
        or any(date is not None and date.utcoffset() is None for date in dates)
        or not math.isfinite(result.duration_s or 0)
    ):
        msg = "a result that cannot be one"
        raise ValueError(msg)
    return result


@define(eq=False, repr=False)
class Keys:
    """Gives every item a key that the same source gives it again in the next run."""

    _seen: Counter[str] = field(init=False, factory=Counter)

    def name_of(self, digest: str) -> str:
        """
        Return the key of the next request with *digest*: the n-th has one of its own.

        Equal requests are orders in their own right: two lines, two pictures.
        """
        self._seen[digest] += 1
        return f"{digest}-{self._seen[digest]}"
