"""
Batches: many orders under one bound.
"""

from apimodels_async.batch.batch import Batch, BatchOptions

__all__ = ["Batch", "BatchOptions"]
