"""A folder for files, and a thread to write them."""

from __future__ import annotations

import anyio
import pytest


@pytest.fixture
def folder(tmp_path):
    """Return an empty directory."""
    made = tmp_path / "files"
    made.mkdir()
    return made


@pytest.fixture
def threads():
    """Return a limiter for one thread."""
    return anyio.CapacityLimiter(1)
