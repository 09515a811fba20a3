"""
What a session was told, and what of it touches the outside world: a simulation gives it
other adapters.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

from attrs import define

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from contextlib import AbstractContextManager
    from pathlib import Path

    import aiohttp
    import anyio

    from apimodels_async._core.files.keeping import Keeping
    from apimodels_async._io.files.downloads import Files
    from apimodels_async._io.http.network import Network
    from apimodels_async._ports import Clock, Disk, OrderLimit, Sink, Transport
    from apimodels_async._secret import Secret
    from apimodels_async.models import ImageResult
    from apimodels_async.policies import PollPolicy, RetryPolicy, Timeouts
    from apimodels_async.stores.store import OrderStore
    from apimodels_async.webhooks import Callback

logger: logging.Logger = logging.getLogger("apimodels_async.transport")

_NOTHING: Final = nullcontext[Callable[[str], None]](lambda _task_id: None)
"""One for all: thousands of orders wait inside it."""


@define(frozen=True, eq=False, repr=False, kw_only=True)
class Options:
    """Validated session options."""

    key: Secret
    base_url: str
    polling: PollPolicy
    retry: RetryPolicy
    timeouts: Timeouts
    max_connections: int
    max_polls: int
    max_downloads: int
    fresh_connections: bool
    callback: Callback | None
    store: OrderStore | None
    limit: OrderLimit | None
    network: Network
    http: aiohttp.ClientSession | None


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

    def transport(self, options: Options) -> Transport:
        """Return the way to the API."""
        from functools import partial

        from apimodels_async._io.client import AiohttpTransport
        from apimodels_async._io.http.connector import Pool
        from apimodels_async._io.http.inside import is_known
        from apimodels_async._io.http.places import ConnectionPlaces
        from apimodels_async._io.wire import WireTransport

        most, network, lent = options.max_connections, options.network, options.http
        connector = lent.connector if lent is not None else None
        fresh = options.fresh_connections
        pool = Pool(most, fresh=fresh, network=network, lent=connector)
        places = ConnectionPlaces(most)
        common = options.base_url, options.key, options.timeouts, pool, places
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
