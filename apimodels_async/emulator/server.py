"""The `Emulator` class: a listening server with its settings and records."""

import asyncio
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import TracebackType
from typing import Any, Self, cast

from aiohttp import web

from apimodels_async.emulator.api.routes import BASE, application
from apimodels_async.emulator.faults.faults import Fault
from apimodels_async.emulator.service.durations import Durations, Span
from apimodels_async.emulator.service.values import (
    CallbackRecord,
    EmulatedTask,
    RequestRecord,
    seeded,
)
from apimodels_async.emulator.world import World

_BACKLOG = 1024  # connections waiting to be accepted; a client may open 1,000 at once
_SHUTDOWN_S = 0.1  # what a running request gets before it is cancelled
EMULATOR_KEY = "sk_emulator0123456789abcdef"


class Emulator:
    """
    A fake of the image API that listens on a real socket.

    Use it as an async context manager, or call ``start`` and ``aclose``.
    It is deterministic: *seed* decides ids, service times and faults.

    Args:
        host: Address to listen on; whoever reaches it controls the emulator.

        port: 0 takes a free one.

        api_key: The one that is accepted.

        credits: What the account starts with, USD.

        speed: Service times and callback pauses are divided by it; above 0.

        seed: Of ids, service times and faults: the same again brings the same.

        strict_inputs: Answer 400 for an input image that cannot be loaded, instead
            of drawing a placeholder.

        service_times: Seconds by model id, or ``"*"`` for all others: a number,
            or a pair to draw evenly between.

    Raises:
        ValueError: *credits* is no amount, *speed* not above 0, or *service_times* has
            what is no time.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str = EMULATOR_KEY,
        credits: str | Decimal = "100",  # noqa: A002 - the word of the CLI
        speed: float = 1.0,
        seed: int = 0,
        strict_inputs: bool = False,
        service_times: Mapping[str, Span] | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._world = World.build(
            api_key=api_key,
            total=_dollars(credits),
            durations=Durations(seeded(seed, "durations"), speed, service_times),
            seed=seed,
            strict_inputs=strict_inputs,
        )
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None
        self._opened = 0
        self._serve: Callable[[], asyncio.Protocol] = asyncio.Protocol

    async def start(self) -> None:
        """
        Listen.

        Raises:
            OSError: The port is taken.
        """
        runner = web.AppRunner(
            application(self._world), access_log=None, shutdown_timeout=_SHUTDOWN_S
        )
        await runner.setup()
        self._runner = runner
        self._world.closing.clear()
        server = cast("web.Server", runner.server)
        self._serve = server
        self._world.connections = lambda: len(server.connections)
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(
                self._accept, self._host, self._port, backlog=_BACKLOG
            )
        except OSError:
            await self.aclose()
            raise
        port = self._listener.sockets[0].getsockname()[1]
        host = f"[{self._host}]" if ":" in self._host else self._host
        self._world.site[0] = f"http://{host}:{port}"

    async def aclose(self) -> None:
        """
        Stop listening; leaves no task, socket or thread.

        Twice is fine.
        """
        world = self._world
        world.closing.set()
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        if listener is not None:
            await listener.wait_closed()
        await world.cancel_handlers()
        world.timeline.close()
        await world.callbacks.aclose()
        await world.inputs.aclose()
        world.studio.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        if not hasattr(self, "_world"):  # it is refused, and a traceback shows locals
            return "<Emulator not set up>"
        where = self.origin if self._listener else "closed"
        return f"<Emulator {where} | tasks {len(self.tasks)}, balance {self.balance}>"

    @property
    def origin(self) -> str:
        """Scheme, host and port, ``http://127.0.0.1:PORT``."""
        return self._world.origin

    @property
    def base_url(self) -> str:
        """Base URL for a client."""
        return f"{self.origin}{BASE}"

    @property
    def api_key(self) -> str:
        """The API key that is accepted."""
        return self._world.api_key

    def fault(
        self,
        where: str,
        kind: str,
        *,
        times: int | None = 1,
        probability: float = 1.0,
        match: str | None = None,
        after: bool = False,
        **options: Any,
    ) -> Fault:
        """
        Add a fault and return it, to read its `hits`.

        Args:
            where: create, sync, edit, edits, poll, balance, models, upload,
                file, callback; ``paid`` for the first four, or ``*`` for all.

            kind: A name of ``apimodels_async.emulator.faults.kinds.KINDS``.

            times: How often, 1 or more; None for ever.

            match: Hits only requests whose prompt, task id or path has this.

            after: Let the request take effect, then replace or cut its answer.

        Raises:
            ValueError: Unknown place, kind or option, or *times* or *probability* out
                of range; names the allowed ones.
        """
        fault = Fault(where, kind, times, probability, match, after, options)
        return self._world.faults.add(fault)

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._world.faults.clear()

    def advance(self, seconds: float) -> None:
        """Move the emulator's clock forward: running work, file expiry, retries."""
        self._world.timeline.advance(seconds)

    @property
    def tasks(self) -> Mapping[str, EmulatedTask]:
        """Tasks by id, oldest first."""
        return self._world.ledger.tasks

    @property
    def generations(self) -> Mapping[str, EmulatedTask]:
        """Synchronous generations by id, oldest first."""
        return self._world.ledger.generations

    @property
    def requests(self) -> list[RequestRecord]:
        """Requests in order of arrival; at most the last 200,000."""
        return self._world.requests

    @property
    def callbacks(self) -> list[CallbackRecord]:
        """Attempts to deliver callbacks, in order."""
        return self._world.callbacks.records

    @property
    def balance(self) -> Decimal:
        """US dollars: `total` minus `frozen`."""
        return self._world.account.balance

    @property
    def total(self) -> Decimal:
        """Credits left, USD, held ones included."""
        return self._world.account.total

    @property
    def frozen(self) -> Decimal:
        """Credits held for running tasks, USD."""
        return self._world.account.frozen

    @property
    def spent(self) -> Decimal:
        """Credits charged in all, USD."""
        return self._world.account.spent

    @property
    def peak_pending(self) -> int:
        """The most tasks that were unfinished at once."""
        return self._world.ledger.peak_pending

    @property
    def peak_connections(self) -> int:
        """The most connections seen open at once, by the requests on them."""
        return self._world.peak_connections

    @property
    def connections_opened(self) -> int:
        """Connections accepted in all."""
        return self._opened

    def _accept(self) -> asyncio.Protocol:
        self._opened += 1
        return self._serve()


def _dollars(given: str | Decimal) -> Decimal:
    try:
        amount = Decimal(given)
    except (ArithmeticError, TypeError, ValueError):
        amount = Decimal("NaN")
    if amount.is_finite() and amount >= 0:
        return amount
    msg = f"credits must be US dollars, 0 or more, such as '100', got {given!r}"
    raise ValueError(msg)
