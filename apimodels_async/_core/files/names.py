"""
What picture files are called: names of ours, never the server's.
"""

from __future__ import annotations

import re
from typing import Final

SLUG_CHARS: Final = 48
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]+")


def item_stem(index: int, task_id: str | None, prompt: str | None) -> str:
    """Return a file name, without suffix, for a batch item: "00041-a-red-fox"."""
    slug = _UNSAFE.sub("-", prompt or "").strip("-_").lower()[:SLUG_CHARS].strip("-_")
    return f"{index:05}-{slug or task_id or 'image'}"


def file_stem(task_id: str | None, url: str) -> str:
    """Return a file name, without suffix, for a result."""
    if task_id:
        return _UNSAFE.sub("-", task_id)[:100]
    tail = url.partition("?")[0].rpartition("/")[2].partition(".")[0]
    return _UNSAFE.sub("-", tail)[:60].strip("-") or "image"
