"""
Batches: many orders under one bound.
"""

from typing import TYPE_CHECKING

from apimodels_async._io.lazy import lazy_names

if TYPE_CHECKING:
    from apimodels_async.batch.batch import Batch
else:
    # Lazy: every session has what makes one.
    __getattr__, __dir__ = lazy_names(__name__, {"batch.batch": ("Batch",)})

__all__ = ["Batch"]
