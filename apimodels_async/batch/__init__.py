"""
Batches: many orders under one bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apimodels_async.batch.batch import Batch as Batch

__all__ = ["Batch"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from apimodels_async.batch.batch import Batch  # every session has what makes one

    return Batch
