"""
Virtual time for all drivers; a module that needs threads or sockets says so itself.
"""

from __future__ import annotations

import pytest
from virtual_time import VIRTUAL_TIME


@pytest.fixture
def anyio_backend():
    """Run async tests on a clock that jumps."""
    return VIRTUAL_TIME
