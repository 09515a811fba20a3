"""
Results and requests as the journal keeps them: JSON text, and a key for each item.
"""

from __future__ import annotations

import hashlib
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING

from attrs import define, field
from cattrs.preconf.json import JsonConverter, make_converter

from apimodels_async.models import ImageResult

if TYPE_CHECKING:
    from collections import Counter


@cache
def _converter() -> JsonConverter:
    converter = make_converter()
    converter.register_unstructure_hook(Decimal, str)
    converter.register_structure_hook(Decimal, lambda value, _: Decimal(value))
    return converter


def dump_result(result: ImageResult) -> str:
    """Return *result* as JSON."""
    return _converter().dumps(result)


def load_result(text: str) -> ImageResult:
    """Return the result that :func:`dump_result` wrote."""
    return _converter().loads(text, ImageResult)


@define
class Keys:
    """Gives every item a key that the same source gives it again in the next run."""

    _seen: Counter[bytes] = field(alias="seen")

    def key_of(self, path: str, body: bytes) -> str:
        """
        Return the key of a request; the n-th equal one gets a key of its own.

        Equal requests are orders in their own right: two lines, two pictures.
        """
        digest = hashlib.sha256(path.encode() + b"\0" + body).digest()[:16]
        self._seen[digest] += 1
        return f"{digest.hex()}-{self._seen[digest]}"
