"""
Results and requests as the journal keeps them: JSON text, and a key for each item.
"""

from __future__ import annotations

import hashlib
import json
import math
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

from apimodels_async._core.money.resume import OrderState, Record
from apimodels_async.models import ImageResult

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

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


def read_record(key: str, row: Sequence[Any]) -> Record:
    """
    Return the record in *row*, whose columns are those of ``Record`` in their order.

    Raises:
        ValueError: Something else wrote it, or it is damaged.
    """
    state, task_id, result, file, error, price, nonce, age = row
    for value in (task_id, result, file, error, nonce):
        if not isinstance(value, str | None):
            msg = f"{type(value).__name__} where text belongs"
            raise ValueError(msg)  # noqa: TRY004  of a file, not of an argument
    if state == OrderState.ACCEPTED and task_id is None:
        msg = "it was accepted, but its task is missing"
        raise ValueError(msg)
    if not isinstance(age, (int, float)):
        msg = "a time that cannot be read"
        raise ValueError(msg)  # noqa: TRY004
    return Record(
        key,
        OrderState(state),
        task_id,
        result,
        file,
        error,
        read_amount(price),
        nonce,
        float(age),
    )


def _read_text(value: object, _: object) -> str:
    if not isinstance(value, str):
        msg = f"{type(value).__name__} where text belongs"
        raise TypeError(msg)
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
    Return the result that :func:`dump_result` wrote.

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


@define
class Keys:
    """Gives every item a key that the same source gives it again in the next run."""

    _seen: Counter[str] = field(alias="seen")

    def key_of(self, path: str, body: bytes) -> str:
        """
        Return the key of a request; the n-th equal one gets a key of its own.

        Equal requests are orders in their own right: two lines, two pictures.
        """
        digest = hashlib.sha256(path.encode() + b"\0" + body).digest()[:16]
        return self.name_of(digest.hex())

    def name_of(self, digest: str) -> str:
        """Return the name of the next request with *digest*."""
        self._seen[digest] += 1
        return f"{digest}-{self._seen[digest]}"
