"""
One emulated service: its parts, wired together.
"""

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Self

from aiohttp import web
from attrs import define, field

from apimodels_async.emulator.durations import Durations
from apimodels_async.emulator.faults import Fault, Faults
from apimodels_async.emulator.forms import Part
from apimodels_async.emulator.inputs import Inputs
from apimodels_async.emulator.ledger import Ledger
from apimodels_async.emulator.money import Account
from apimodels_async.emulator.postman import Postman
from apimodels_async.emulator.store import Store
from apimodels_async.emulator.studio import Studio
from apimodels_async.emulator.timeline import Timeline
from apimodels_async.emulator.values import EmulatedTask, RequestRecord, seeded


@define(eq=False)
class Call:
    """
    One request on its way through the emulator.
    """

    request: web.Request
    where: str
    record: RequestRecord
    body: dict[str, Any] = field(factory=dict)
    parts: list[Part] | None = None
    """The form, when the body was multipart."""

    fault: Fault | None = None
    unchecked: bool = False
    """Whether the body may hold anything besides the documented fields."""

    @property
    def twist(self) -> str | None:
        """
        Kind of the fault that bends this piece of work.
        """
        return self.fault.kind if self.fault and self.fault.is_twist else None


@define(eq=False)
class World:
    """
    Everything the handlers share.
    """

    api_key: str
    timeline: Timeline
    account: Account
    faults: Faults
    durations: Durations
    ledger: Ledger
    studio: Studio
    store: Store
    inputs: Inputs
    postman: Postman
    site: list[str]
    """The origin, once the server listens."""

    closing: asyncio.Event = field(factory=asyncio.Event)
    requests: list[RequestRecord] = field(factory=list)
    started_at: float = field(factory=time.monotonic)
    handling: set[asyncio.Task[Any]] = field(factory=set)
    """What answers requests now; outlives a client that has left."""

    connections: Callable[[], int] = int
    """How many connections are open now."""

    peak_connections: int = 0
    arrived: int = 0
    polls: int = 0

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
        """
        Return a service nobody has called yet.
        """
        site: list[str] = [""]
        timeline, studio, account = Timeline(), Studio(), Account(total)
        store = Store.empty(timeline, studio)
        faults = Faults(seeded(seed, "faults"))
        postman = Postman(timeline, faults, durations.speed)

        def settled(task: EmulatedTask) -> None:
            store.hang_up(task)
            postman.post(task)

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
            postman=postman,
            site=site,
        )

    @property
    def origin(self) -> str:
        """
        Scheme, host and port.
        """
        return self.site[0]

    async def pause(self, seconds: float) -> None:
        """
        Wait for real *seconds*, or until the emulator closes.
        """
        try:
            async with asyncio.timeout(seconds):
                await self.closing.wait()
        except TimeoutError:
            return

    def note_arrival(self) -> None:
        """
        Count a request and look how many connections are open.
        """
        self.arrived += 1
        self.peak_connections = max(self.peak_connections, self.connections())

    async def stop_handling(self) -> None:
        """
        End requests that are still being answered.

        aiohttp forgets a request whose client has left, so it is done here.
        """
        running = list(self.handling)
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.sleep(0)  # the connection's own task ends one turn later
