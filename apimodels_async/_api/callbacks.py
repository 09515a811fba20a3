"""
What a callback says.

Source: vendor's video and audio pages (a POST of JSON, unsigned, repeated until a 2xx);
``data.taskId`` from the same pages and a working receiver.
"""

from __future__ import annotations

import json
from typing import Any, Final

from apimodels_async._api.checks import TASK_ID

BODY_BYTES_MAX: Final = 64 << 10
"""Status answers, which say as much, have some 300 bytes."""


def read_delivery(body: bytes) -> str | None:
    """Return the task id that a callback's *body* names; None if it names none."""
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    data = found.get("data") if isinstance(found, dict) else None
    task_id = data.get("taskId") if isinstance(data, dict) else None
    fits = isinstance(task_id, str) and TASK_ID.fullmatch(task_id)
    return task_id if fits else None
