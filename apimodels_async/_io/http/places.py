"""
Shares the connections of one pool, so that no kind of request starves another.

Waiting here is waiting for ourselves: no timeout runs, and aiohttp's own queue, which
would count it as connecting, stays empty.
"""

from __future__ import annotations

import asyncio
from collections import deque

from attrs import define, field

from apimodels_async._ports import Kind


@define(eq=False, repr=False)
class _Share:
    most: int
    """Places that this kind may hold at a time."""
    held: int = 0
    waiting: deque[asyncio.Future[None]] = field(factory=deque)


class ConnectionPlaces:
    """
    The places of one pool; each is one request at a time.

    A quarter of them is never taken by orders and uploads, which may last for minutes,
    so that polls and small calls find one; the tracker leaves a third to the others.
    Within a kind who waits longest goes first; small calls go before orders.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._quick = _Share(count)
        self._slow = _Share(max(1, count - max(1, count // 4)))

    def take(self, kind: Kind) -> bool:
        """Take a place for a request of *kind* if one is free; return whether."""
        share = self._share(kind)
        if not self._free or share.held >= share.most:
            return False
        self._free -= 1
        share.held += 1
        return True

    async def wait(self, kind: Kind) -> None:
        """Wait for a place for a request of *kind*; cancelled, none is held."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._share(kind).waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was given one in this very step
                self.release(kind)
            raise

    def _share(self, kind: Kind) -> _Share:
        return self._quick if kind is Kind.FREE else self._slow

    def release(self, kind: Kind) -> None:
        """Give a place back, to whoever waits."""
        self._free += 1
        self._share(kind).held -= 1
        for each in (self._quick, self._slow):
            while self._free and each.held < each.most and each.waiting:
                turn = each.waiting.popleft()
                if not turn.done():  # not cancelled while it waited
                    self._free -= 1
                    each.held += 1
                    turn.set_result(None)
