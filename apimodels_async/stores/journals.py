"""
The journals of one session's batches: what a batch left open holds up the next one.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from apimodels_async.stores.sent import SentOrders


@define(eq=False, repr=False)
class Journals:
    """Opened by batches, each for itself; those that were left are waited for."""

    _make: Callable[[Path], SentOrders]
    _last: dict[str, SentOrders] = field(init=False, factory=dict)
    """By real path."""

    def at(self, path: Path) -> SentOrders:
        """Return the orders in the journal at *path*, not opened yet."""
        orders = self._make(path)
        kept = self._last.items()
        self._last = last = {real: each for real, each in kept if not each.gone}
        real = os.path.realpath(path)
        if real in last:
            orders.after = last[real].leaving
        last[real] = orders
        return orders

    async def aclose(self) -> None:
        """Wait for those that were left; a batch that goes on has its own."""
        left = {each.leaving for each in self._last.values() if each.leaving}
        if left:
            await asyncio.wait(left)
