"""
The same session for scripts and notebooks that cannot await.

No second implementation: every call is handed to a ``apimodels_async.Session`` on
an event loop in a thread of its own, and waited for.
"""

from __future__ import annotations

from apimodels_async.sync.handle import Batch, RecoveredOrder, TaskHandle
from apimodels_async.sync.images import Images
from apimodels_async.sync.session import Session

__all__ = ["Batch", "Images", "RecoveredOrder", "Session", "TaskHandle"]
