"""
The journals of one session's batches: what a batch left open holds up the next one.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from apimodels_async.stores.sent import SentOrders


@define(eq=False, repr=False)
class Journals:
    """Opened by batches, each for itself; those that were left are waited for."""

    _make: Callable[[Path], SentOrders]
    # Weak: one that was left lives as long as the task that closes it.
    _made: WeakKeyDictionary[SentOrders, str] = field(
        init=False, factory=WeakKeyDictionary
    )
    """Those of batches, each with its real path."""

    def at(self, path: Path) -> SentOrders:
        """Return the orders in the journal at *path*, not opened yet."""
        orders, real = self._make(path), os.path.realpath(path)
        orders.after = self._leaving(real)
        self._made[orders] = real
        return orders

    def _leaving(self, real: str | None = None) -> set[asyncio.Task[None]]:
        made = list(self._made.items())
        left = {each.leaving for each, path in made if real in {None, path}}
        return {each for each in left if each is not None and not each.done()}

    async def aclose(self) -> None:
        """Wait for those that were left; a batch that goes on has its own."""
        if left := self._leaving():
            await asyncio.wait(left)
