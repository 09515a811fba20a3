"""
What connects a session to the world outside: time, chance, the network and the disk.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    import aiohttp
    import anyio

    from apimodels_async._core.embed import Splice
    from apimodels_async._io.downloads import Files
    from apimodels_async._io.journal import Journal
    from apimodels_async._io.storage import Folders
    from apimodels_async._ports import Clock, Pool, Secret, Sink
    from apimodels_async.models import ImageResult
    from apimodels_async.policies import RetryPolicy, Timeouts


class Adapters:
    """
    Makes the real ones, in the session's loop.

    Whoever plays the world himself, as a simulation does, gives a session others by
    overriding ``Session._make_adapters``.
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
        lent: aiohttp.ClientSession | None,
    ) -> Pool:
        """Return the way to the API."""
        from apimodels_async._io.transport import AiohttpTransport

        return AiohttpTransport(
            base_url, key, timeouts, max_connections, fresh=fresh, lent=lent
        )

    def files(
        self,
        clock: Clock,
        timeouts: Timeouts,
        retry: RetryPolicy,
        refresh: Callable[[str], Awaitable[ImageResult | None]],
        *,
        local: bool,
    ) -> Files:
        """Return the way to files; *local*: those of this machine too."""
        from apimodels_async._io.downloads import Files

        return Files(clock, timeouts, retry, self.draw, local, refresh)

    def sink(
        self,
        target: Path,
        stem: str,
        threads: anyio.CapacityLimiter,
        folders: Folders,
        sidecar: bytes | None,
        imprint: Callable[[bytes], Splice | None] | None,
    ) -> Sink:
        """Return the place for one file."""
        from apimodels_async._io.storage import FileSink

        return FileSink(target, stem, threads, folders, sidecar, imprint)

    def journal(self, path: Path) -> Journal:
        """Return the journal at *path*, not opened yet."""
        from apimodels_async._io.journal import Journal

        return Journal(path)
