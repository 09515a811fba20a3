"""
The money of a batch, set aside before each order; what does not fit waits for room.

Rules of this file:
1. Items get money in the order in which they ask: nothing overtakes one that waits, not
   even what would fit. So the end does not depend on who is quicker, and none starves.
2. One waits only while another may still give money back: it was read, its fate is
   open, and it does not wait itself. An outcome that stays unknown is no such hope.
3. Nothing is set aside for an item before the very step in which it goes on, so that
   one that is cancelled while it waits holds nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from decimal import Decimal

    from apimodels_async._core.money.budget import Budget
    from apimodels_async.errors import ApiModelsError
    from apimodels_async.models import ImageResult


@define(eq=False, repr=False)
class Reservations:
    """Who has, or waits for, a share of the budget of one batch."""

    _budget: Budget
    _may_cut: Callable[[], AbstractContextManager[None]]
    """Marks a wait that is safe to cancel."""
    _open: set[int] = field(init=False, factory=set[int])
    """Numbers of items whose end may change what is left."""
    _waiting: int = field(init=False, default=0)
    _first: asyncio.Lock = field(init=False, factory=asyncio.Lock)
    """Of the line; a lock is handed on in the order in which it was asked for."""
    _news: asyncio.Future[None] | None = field(init=False, default=None)
    """What the first in line waits for."""
    ended: bool = field(init=False, default=False)
    """Nobody gets money any more."""

    def opened(self, number: int) -> None:
        """Note that an item was read; an earlier run may have reserved for it."""
        self._open.add(number)

    def closed(self, number: int) -> None:
        """Note that an item changes nothing any more; again is all right."""
        self._open.discard(number)
        self._tell()

    def end(self) -> None:
        """Give nobody money from now on."""
        self.ended = True
        self._tell()

    async def reserve(self, number: int, price: Decimal) -> bool:
        """
        Set *price* aside for an item, once there is room.

        Returns:
            False: Nothing under way could make room, or ``end`` was called; nothing is
            set aside.
        """
        if self.ended:
            return False
        # Not asked of the lock: it is free for a moment while it is handed on.
        if not self._waiting and self._budget.reserve(price):
            return True
        self._waiting += 1
        self.closed(number)
        try:
            with self._may_cut():
                async with self._first:
                    return await self._reserve_first(number, price)
        finally:
            self._waiting -= 1

    async def _reserve_first(self, number: int, price: Decimal) -> bool:
        while not self.ended:
            if self._budget.reserve(price):
                self._open.add(number)  # no await from here to the order
                return True
            if not self._open:
                return False
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        return False

    def settle(
        self, number: int, price: Decimal, ended: ImageResult | ApiModelsError
    ) -> None:
        """Turn a reservation into what the end of its order means."""
        self._budget.settle(price, ended)
        self.closed(number)

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)
