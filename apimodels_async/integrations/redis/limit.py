"""
Lets orders of one account go at a pace the API bears, over all processes and machines.

All state is in one key of a Redis server; ``limit.lua`` says what is done to it.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Final, Self

from attrs import evolve

from apimodels_async._io.order_limit import check_bounds
from apimodels_async._io.redis import Server
from apimodels_async._secret import hidden
from apimodels_async.integrations.redis.worker import AWAY_S, Bounds, Worker

if TYPE_CHECKING:
    from types import TracebackType

    from apimodels_async._ports import Permit

NAME: Final = "{apimodels}"


class RedisLimit:
    """
    The limit of one account over all its processes; for ``Session(limit=...)``.

    It does what ``LocalLimit`` does, for all that name the same server: a 429 to
    one holds up all. Processes that wait take turns, one order each; within one, orders
    go in the sequence they came. What a process has is given to others 60 s after it
    was last heard of. One object may serve several sessions, in any event loops.

    Where the server is away, orders wait for it for 30 s, and then fail unsent. As an
    async context manager it says what is left to say and closes its connections;
    without, they close themselves some seconds after the last order has ended.

    Args:
        url: ``redis://host:6379/0``, ``rediss://`` for TLS, ``unix://``, or
            ``valkey://`` and ``valkeys://``; credentials in it are in no text of this
            library.

        pending: Most orders at a time that have not ended, tasks included.

        per_second: Most orders a second, from the start.

        name: Before all that is kept there; each account takes one of its own. The same
            bounds belong to one name.

    Raises:
        ConfigurationError: Not a positive number, or *url* is none.
    """

    def __init__(
        self,
        url: str,
        *,
        pending: int | None = None,
        per_second: float | None = None,
        name: str = NAME,
    ) -> None:
        self._name = name
        place, url = hidden(url), ""  # a frame that raises shows locals
        check_bounds("RedisLimit", pending, per_second)
        self._server = Server(place, name)
        self._bounds = Bounds(pending or 0, 1 / per_second if per_second else 0.0)
        self._workers: dict[tuple[int, asyncio.AbstractEventLoop], Worker] = {}
        """Process and event loop -> its part. A forked child takes none."""

    @classmethod
    def unchecked(
        cls, url: str, *, lease_s: float, away_s: float = AWAY_S, **options: Any
    ) -> RedisLimit:
        """Return a limit with a lease and a patience of any length, for tests."""
        place, url = hidden(url), ""  # a frame that raises shows locals
        limit = cls(place, **options)
        limit._bounds = evolve(limit._bounds, lease_s=lease_s, away_s=away_s)
        return limit

    def __repr__(self) -> str:
        return f"<RedisLimit {self._name}>"

    async def acquire(self) -> Permit:
        """
        Wait until one more order may be sent.

        Cancelled, it takes nothing.

        Raises:
            ConnectionFailedError: The server is away, for 30 s.
            ConfigurationError: It does not let us do what is needed.
        """
        here = os.getpid(), asyncio.get_running_loop()
        worker = self._workers.get(here)
        if worker is None or worker.closed:
            for place in [each for each in self._workers if each[1].is_closed()]:
                del self._workers[place]
            worker = self._workers[here] = Worker(self._server, self._bounds)
        return await worker.acquire()

    async def aclose(self) -> None:
        """
        Say what is left to say, and close the connections of this event loop.

        Orders that wait fail. What has not ended counts for another minute. Idempotent.
        """
        here = os.getpid(), asyncio.get_running_loop()
        worker = self._workers.pop(here, None)
        if worker is not None:
            await worker.aclose()

    async def __aenter__(self) -> Self:
        """Return this; nothing is opened yet."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        await self.aclose()
