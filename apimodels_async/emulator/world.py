"""Builds one emulated service out of its parts."""

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Self

from attrs import define, field

from apimodels_async.emulator.faults.faults import Faults
from apimodels_async.emulator.pictures.studio import Studio
from apimodels_async.emulator.service.callbacks import CallbackSender
from apimodels_async.emulator.service.durations import Durations
from apimodels_async.emulator.service.inputs import Inputs
from apimodels_async.emulator.service.ledger import Account, Ledger
from apimodels_async.emulator.service.store import Store
from apimodels_async.emulator.service.timeline import Timeline
from apimodels_async.emulator.service.values import EmulatedTask, RequestRecord, seeded


@define(eq=False)
class World:
    """The parts of the emulated service, as all request handlers share them."""

    api_key: str
    timeline: Timeline
    account: Account
    faults: Faults
    durations: Durations
    ledger: Ledger
    studio: Studio
    store: Store
    inputs: Inputs
    callbacks: CallbackSender
    site: list[str]
    """The origin, once the server listens."""

    closing: asyncio.Event = field(factory=asyncio.Event)
    requests: list[RequestRecord] = field(factory=list)
    started_at: float = field(factory=time.monotonic)
    handlers: set[asyncio.Task[Any]] = field(factory=set)
    """The tasks that answer requests; they outlive a client that has left."""

    connections: Callable[[], int] = int
    """How many connections are open now."""

    peak_connections: int = 0
    request_count: int = 0
    poll_count: int = 0

    @classmethod
    def build(
        cls,
        *,
        api_key: str,
        total: Decimal,
        durations: Durations,
        seed: int,
        strict_inputs: bool,
    ) -> Self:
        """Return a new service."""
        site: list[str] = [""]
        timeline, studio, account = Timeline(), Studio(), Account(total)
        store = Store(timeline, studio)
        faults = Faults(seeded(seed, "faults"))
        callbacks = CallbackSender(timeline, faults, durations.speed)

        def settled(task: EmulatedTask) -> None:
            store.publish(task)
            callbacks.send(task)

        def origin() -> str:
            return site[0]

        rng = seeded(seed, "ids")
        return cls(
            api_key=api_key,
            timeline=timeline,
            account=account,
            faults=faults,
            durations=durations,
            ledger=Ledger(timeline, account, rng, origin, settled),
            studio=studio,
            store=store,
            inputs=Inputs(store, studio, origin, strict_inputs),
            callbacks=callbacks,
            site=site,
        )

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return self.site[0]

    async def pause(self, seconds: float) -> None:
        """Wait for real *seconds*, or until the emulator closes."""
        try:
            async with asyncio.timeout(seconds):
                await self.closing.wait()
        except TimeoutError:
            return

    def count_request(self) -> None:
        """Count a request, and the connections that are open."""
        self.request_count += 1
        self.peak_connections = max(self.peak_connections, self.connections())

    async def cancel_handlers(self) -> None:
        """
        Cancel the handlers of requests that are still being answered.

        aiohttp forgets a request whose client has left, so it is done here.
        """
        running = list(self.handlers)
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.sleep(0)  # the connection's own task ends one turn later
