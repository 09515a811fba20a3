"""
Whose turn it is among the files under way, and how long each may take.

Rules of this file:
1. Waiting for a place is nobody's time: a file's own runs while it has a place, and
   while it pauses before another try.
2. Who pauses gives the place to another.
3. Once stopped, every turn ends within one round of the loop, those that wait for a
   place included, and no new one begins. Nobody is cancelled who was not already:
   ``asyncio.timeout`` tells its own end from a cancellation.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable


class StoppedError(Exception):
    """No turns are given any more. Stays below the session."""


@define(eq=False, repr=False)
class PlacedTurn:
    """One file's turn: a ``Turn`` of ``_ports``."""

    _turns: Turns
    _limit: asyncio.Timeout
    _holds: bool = False

    @property
    def left(self) -> float:
        """Seconds left of its time."""
        until = self._limit.when() or 0.0
        return until - asyncio.get_running_loop().time()

    async def begin(self) -> None:
        """Wait for a place; then its time begins."""
        await self._enter(self._turns.seconds)

    async def _enter(self, seconds: float) -> None:
        self._reschedule(None)
        await self._turns.free.acquire()
        self._holds = True
        self._reschedule(asyncio.get_running_loop().time() + seconds)

    def _reschedule(self, when: float | None) -> None:
        if self._turns.stopped:  # or this would take back what stop() did
            raise StoppedError
        self._limit.reschedule(when)

    async def pause(self, sleep: Awaitable[None]) -> None:
        """Let another have the place while *sleep* lasts."""
        self.end()
        await sleep
        await self._enter(self.left)

    def end(self) -> None:
        """Give the place back, if it has one."""
        if self._holds:
            self._holds = False
            self._turns.free.release()


@define(eq=False, repr=False)
class Turns:
    """The turns of one session's files. Must be made in a running loop."""

    most: int
    """Files under way at once."""
    seconds: float
    """For each in all, waiting for a place not included."""
    stopped: bool = field(init=False, default=False)
    free: asyncio.Semaphore = field(init=False)
    _limits: set[asyncio.Timeout] = field(init=False, factory=set[asyncio.Timeout])

    def __attrs_post_init__(self) -> None:
        self.free = asyncio.Semaphore(self.most)

    @contextlib.asynccontextmanager
    async def take(self) -> AsyncIterator[PlacedTurn]:
        """
        Wait for a place and hold it for the body.

        Raises:
            TimeoutError: The body took longer than it may.
            StoppedError: ``stop`` was called, now or before.
        """
        if self.stopped:
            raise StoppedError
        limit = asyncio.timeout(None)
        turn = PlacedTurn(self, limit)
        try:
            async with limit:
                self._limits.add(limit)
                try:
                    await turn.begin()
                    yield turn
                finally:
                    self._limits.discard(limit)
                    turn.end()
        except TimeoutError:
            if not self.stopped:
                raise
        else:
            return
        raise StoppedError

    def stop(self) -> None:
        """End all turns; for good."""
        self.stopped = True
        for limit in self._limits:
            # Its time may be over just now, or its loop closed.
            with contextlib.suppress(RuntimeError):
                limit.reschedule(0)
