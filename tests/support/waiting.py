"""Waiting for a fact that sets no event."""

from __future__ import annotations

import asyncio

import pytest


async def until(condition):
    """Return once *condition* holds; a test that waits in vain ends by its timeout."""
    while not condition():  # noqa: ASYNC110  that is what this is for
        await asyncio.sleep(0.005)


async def cancel(caller):
    """Cancel a caller; it must end cancelled."""
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
