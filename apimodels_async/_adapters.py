"""
What a session is made of that touches the outside world, for a simulation to replace.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from contextlib import AbstractContextManager
    from pathlib import Path

    import aiohttp
    import anyio

    from apimodels_async._core.files.keeping import Keeping
    from apimodels_async._io.files.downloads import Files
    from apimodels_async._io.http.network import Network
    from apimodels_async._ports import Clock, Disk, Sink, Transport
    from apimodels_async._secret import Secret
    from apimodels_async.models import ImageResult
    from apimodels_async.policies import RetryPolicy, Timeouts
    from apimodels_async.stores.store import OrderStore

logger: logging.Logger = logging.getLogger("apimodels_async.transport")

_NOTHING: Final = nullcontext[Callable[[str], None]](lambda _task_id: None)
"""One for all: thousands of orders wait inside it."""


class Adapters:
    """
    Makes the real ones, in the session's loop.

    A simulation gives a session its own by overriding ``Session._make_adapters``.
    """

    def clock(self) -> Clock:
        """Return the session's clock."""
        from apimodels_async._io.clock import LoopClock

        return LoopClock()

    def draw(self) -> float:
        """Return a number of 0-1, uniformly: all jitter comes from here."""
        return random.random()  # noqa: S311  jitter, no secret

    def transport(
        self,
        base_url: str,
        key: Secret,
        timeouts: Timeouts,
        max_connections: int,
        *,
        fresh: bool,
        network: Network,
        lent: aiohttp.ClientSession | None,
    ) -> Transport:
        """Return the way to the API."""
        from functools import partial

        from apimodels_async._io.client import AiohttpTransport
        from apimodels_async._io.http.connector import Pool
        from apimodels_async._io.http.inside import is_known
        from apimodels_async._io.http.places import ConnectionPlaces
        from apimodels_async._io.wire import WireTransport

        places = ConnectionPlaces(max_connections)
        connector = lent.connector if lent is not None else None
        pool = Pool(max_connections, fresh=fresh, network=network, lent=connector)
        common = base_url, key, timeouts, pool, places
        client = partial(AiohttpTransport, *common, network=network, lent=lent)
        if lent is not None:
            return client()
        if is_known():
            return WireTransport(*common, network, client)
        logger.info("requests go by aiohttp's client: its connections are new to us")
        return client()

    def files(
        self,
        clock: Clock,
        timeouts: Timeouts,
        retry: RetryPolicy,
        refresh: Callable[[str], Awaitable[ImageResult | None]],
        *,
        local: bool,
        network: Network,
        lent: aiohttp.ClientSession | None,
    ) -> Files:
        """Return the way to files; *local*: those of this machine too."""
        from apimodels_async._io.files.downloads import Files
        from apimodels_async._io.http.hosts import Hosts

        hosts = Hosts(network, loopback=local, lent=lent)
        return Files(clock, timeouts, retry, self.draw, local, refresh, hosts)

    def sink(
        self,
        target: Path,
        keeping: Keeping,
        threads: anyio.CapacityLimiter,
        disk: Disk,
    ) -> Sink:
        """Return the place for one file."""
        from apimodels_async._io.files.storage import FileSink

        return FileSink(threads, keeping, target, disk)

    def journal(self, path: Path) -> OrderStore:
        """Return the journal at *path*, not opened yet."""
        from apimodels_async.stores.sqlite.journal import Journal

        return Journal(path)


class NoObserver:
    """The observer of a session that has none."""

    def ordering(
        self,
        request: object,  # noqa: ARG002  the Protocol's name for it
        idempotency_key: str | None = None,  # noqa: ARG002  same
    ) -> AbstractContextManager[Callable[[str], None]]:
        """Surround one order with nothing."""
        return _NOTHING
