"""
Lets orders of one account go at a pace the API bears, within one process.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol

from attrs import define, field

from apimodels_async._core.money.order_pace import OrderPace
from apimodels_async.errors import ConfigurationError

if TYPE_CHECKING:
    from apimodels_async._ports import Permit


class Giver(Protocol):
    """Gives permits, and is told what becomes of them."""

    def answered(
        self, started: float, *, refused: bool, retry_after: float | None = None
    ) -> None:
        """Take note of the answer to an order that started then."""
        ...

    def ended(self, *, answered: bool) -> None:
        """Take a permit back."""
        ...


@define(eq=False)
class GivenPermit:
    """Leave to send one order once."""

    _limit: Giver
    _started: float
    _held: bool = field(init=False, default=True)
    _answered: bool = field(init=False, default=False)

    def taken(self) -> None:
        """Note that the order was answered, by whatever but a 429."""
        self._answered = True
        self._limit.answered(self._started, refused=False)

    def throttled(self, retry_after: float | None) -> None:
        """Note that it was answered by a 429; gives the permit back."""
        self._answered = True
        self._limit.answered(self._started, refused=True, retry_after=retry_after)
        self.release()

    def release(self) -> None:
        """Give the permit back: the order has ended. Idempotent."""
        if self._held:
            self._held = False
            self._limit.ended(answered=self._answered)


def check_bounds(limit: str, pending: int | None, per_second: float | None) -> None:
    """Raise ``ConfigurationError`` where a bound of *limit* is no positive number."""
    for name, value in (("pending", pending), ("per_second", per_second)):
        kinds = (int,) if name == "pending" else (int, float)
        fits = isinstance(value, kinds) and not isinstance(value, bool)
        if value is not None and not (fits and value > 0):
            kind = "whole number" if name == "pending" else "number"
            msg = f"{limit}({name}=...) takes a positive {kind}, not {value!r}"
            raise ConfigurationError(msg)


class LocalLimit:
    """
    The limit of one account within one process; for ``Session(limit=...)``.

    It holds nobody back until the first 429. Then all orders wait for as long as the
    API says, and go on at a pace that is found out: a little faster with each order
    that is taken, slower with each 429. Orders go in the sequence they came. One object
    may serve several sessions of one event loop.

    Args:
        pending: Most orders at a time that have not ended, tasks included.

        per_second: Most orders a second, from the start.

    Raises:
        ConfigurationError: Not a positive number.
    """

    def __init__(
        self, *, pending: int | None = None, per_second: float | None = None
    ) -> None:
        check_bounds("LocalLimit", pending, per_second)
        self._pending = pending
        self._pace = OrderPace(interval_min=1 / per_second if per_second else 0.0)
        self._out = 0
        """Permits that are not given back."""
        self._waiting: deque[asyncio.Future[float]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def acquire(self) -> Permit:
        """
        Wait until one more order may be sent.

        Cancelled, it takes nothing.
        """
        loop = asyncio.get_running_loop()
        if not self._waiting and self._wait_s(loop.time()) == 0:
            return GivenPermit(self, self._start(loop.time()))
        turn: asyncio.Future[float] = loop.create_future()
        self._waiting.append(turn)
        self._let_go()
        try:
            return GivenPermit(self, await turn)
        except asyncio.CancelledError:
            if turn.cancelled():
                self._let_go()  # whom nobody waits for leaves no timer
            else:  # its turn had come in this very step
                self.ended(answered=False)
            raise

    def answered(
        self, started: float, *, refused: bool, retry_after: float | None = None
    ) -> None:
        """Take note of the answer to an order that started then."""
        now = asyncio.get_running_loop().time()
        if refused:
            self._pace.throttled(started, now, retry_after)
        else:
            self._pace.taken(now)
        self._let_go()

    def ended(self, *, answered: bool) -> None:
        """
        Take a permit back.

        One that was never *answered* (cancelled, cut, its answer lost) may be the one
        order that all others wait for: they wait no longer.
        """
        if not answered:
            self._pace.unsent()
        self._out -= 1
        self._let_go()

    def _wait_s(self, now: float) -> float | None:
        """Return the seconds until the next order may go; None: nobody knows yet."""
        if self._pending is not None and self._out >= self._pending:
            return None
        at = self._pace.next_start(now)
        return None if at is None else at - now

    def _start(self, now: float) -> float:
        self._out += 1
        self._pace.started(now)
        return now

    def _let_go(self) -> None:
        """Let those go whose turn it is, and plan for the next one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._waiting:
            return
        loop = asyncio.get_running_loop()
        while self._waiting:
            if self._waiting[0].done():  # cancelled while it waited
                self._waiting.popleft()
                continue
            now = loop.time()
            wait = self._wait_s(now)
            if wait is None:
                return  # an answer or an end comes back here
            if wait > 0:
                self._timer = loop.call_later(wait, self._let_go)
                return
            turn = self._waiting.popleft()
            turn.set_result(self._start(now))
