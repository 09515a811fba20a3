"""
One event loop's part in the limit of an account.

Rules of this file:
1. No order goes without a permit that the server's answer gave to it.
2. Whatever is said synchronously (a permit given back, a 429) is kept until the server
   has answered that it knows.
3. One call at a time: it carries all that has gathered meanwhile.

Theory of operation: a task runs while there are permits out or orders waiting, and for
some seconds after. It calls when there is something to say or want, when the server
told it to come again, when the server calls for it, and often enough to keep its lease.
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import json
import logging
import os
import secrets
from collections import OrderedDict
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field, frozen
from redis import exceptions

from apimodels_async._core.money import order_pace
from apimodels_async._io.order_limit import GivenPermit
from apimodels_async._io.redis import in_words, is_passing
from apimodels_async.errors import (
    ApiModelsError,
    ConfigurationError,
    ConnectionFailedError,
)
from apimodels_async.integrations.redis.listening import PAUSE_S, listen, stop
from apimodels_async.policies import RETRY_AFTER_MAX_S

if TYPE_CHECKING:
    import redis.asyncio as redis

    from apimodels_async._io.redis import Server

logger: logging.Logger = logging.getLogger("apimodels_async.redis")

LEASE_S: Final = 60.0
AWAY_S: Final = 30.0
LINGER_S: Final = 5.0
"""For which the connections are kept after the last order."""
ASK_S: Final = 1.0
"""After which a worker asks that nobody called for."""
TURN_S: Final = 2.0
"""For which others wait for a worker whose turn it is."""
SOON_S: Final = 0.01
KEPT_S: Final = 86_400
"""For which the server keeps the pace after the last order."""
CONSTANTS: Final = {
    "PAUSE_MIN": order_pace.PAUSE_MIN_S,
    "PAUSE_MAX": order_pace.PAUSE_MAX_S,
    "FASTER": order_pace.FASTER,
    "FASTER_MOST": order_pace.FASTER_MOST,
    "RUN_MIN": order_pace.RUN_MIN,
    "SLOWER": order_pace.SLOWER,
    "FREE": order_pace.FREE_S,
    "RETRY_AFTER_MAX": RETRY_AFTER_MAX_S,
    "ASK": ASK_S,
    "TURN": TURN_S,
    "SOON": SOON_S,
    "KEPT": KEPT_S,
}


def script(last: str) -> str:
    """Return the constants, the pace and *last* as one script for the server."""
    here = files("apimodels_async.integrations.redis")
    lines = [f"local {name} = {value!r}\n" for name, value in CONSTANTS.items()]
    return "".join((*lines, here.joinpath("pace.lua").read_text("utf-8"), last))


STEP: Final = script(
    files("apimodels_async.integrations.redis").joinpath("limit.lua").read_text("utf-8")
)
STEP_SHA: Final = hashlib.sha1(STEP.encode()).hexdigest()  # noqa: S324  Redis names it so


@frozen
class Bounds:
    """What the user set."""

    pending: int
    """Most orders that have not ended; 0: no bound."""
    interval_min: float
    """Seconds between two orders at least."""
    lease_s: float = LEASE_S
    """After which a worker that was not heard of is gone."""
    away_s: float = AWAY_S
    """For which orders wait for a server that does not answer."""

    @property
    def renew_s(self) -> float:
        """Seconds after which a worker says again what it has."""
        return self.lease_s / 3


@define(eq=False)
class Worker:
    """Permits and waiting orders of one event loop. Must be made in it."""

    _server: Server
    _bounds: Bounds
    _name: str = field(init=False, factory=lambda: secrets.token_hex(8))
    _pid: int = field(init=False, factory=os.getpid)
    _loop: asyncio.AbstractEventLoop = field(
        init=False, factory=asyncio.get_running_loop
    )
    _waiting: OrderedDict[asyncio.Future[float], None] = field(
        init=False, factory=OrderedDict["asyncio.Future[float]", None]
    )
    _out: int = field(init=False, default=0)
    """Permits that are not given back."""
    _news: list[tuple[str | float, ...]] = field(
        init=False, factory=list[tuple[str | float, ...]]
    )
    """What became of orders, to be said."""
    _said: list[tuple[str | float, ...]] = field(
        init=False, factory=list[tuple[str | float, ...]]
    )
    """What the server was told and has not answered yet; number ``_batch``."""
    _batch: int = field(init=False, default=0)
    _call: int = field(init=False, default=0)
    _seen: int = field(init=False, default=0)
    """The last call that was answered."""
    _away_since: float | None = field(init=False, default=None)
    _woken: asyncio.Event = field(init=False, factory=asyncio.Event)
    _task: asyncio.Task[None] | None = field(init=False, default=None)
    _tasks: set[asyncio.Task[None]] = field(
        init=False, factory=set["asyncio.Task[None]"]
    )
    """It, and those before it that still close their connections."""
    closed: bool = field(init=False, default=False)

    async def acquire(self) -> GivenPermit:
        """Wait until one more order may be sent."""
        turn: asyncio.Future[float] = self._loop.create_future()
        self._waiting[turn] = None
        self._wake()
        try:
            return GivenPermit(self, await turn)
        except asyncio.CancelledError:
            if turn in self._waiting:
                del self._waiting[turn]
                self._wake()
            elif not turn.cancelled() and turn.exception() is None:
                self.ended(answered=False)  # its turn had come in this very step
            raise

    def answered(
        self, started: float, *, refused: bool, retry_after: float | None = None
    ) -> None:
        """Take note of the answer to an order that started then."""
        if not refused:
            self._news.append(("taken",))
        elif retry_after is None:
            self._news.append(("throttled", started))
        else:
            self._news.append(("throttled", started, retry_after))
        self._wake()

    def ended(self, *, answered: bool) -> None:
        """Take a permit back."""
        if not answered:
            self._news.append(("unsent",))
        self._out -= 1
        self._wake()

    async def aclose(self) -> None:
        """Say what is left to say, if the server answers at once; fail who waits."""
        self.closed = True
        self._fail(ConfigurationError("the limit was closed"))
        self._woken.set()
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    def _wake(self) -> None:
        if self._pid != os.getpid() or self._loop.is_closed():
            return  # the parent speaks for itself; what a dead loop had runs out
        self._woken.set()
        if self._task is None and not self.closed:
            # An empty context, as the tracker's: it serves every caller.
            self._task = self._loop.create_task(
                self._run(), name="apimodels-limit", context=contextvars.Context()
            )
            self._tasks.add(self._task)
            self._task.add_done_callback(self._tasks.discard)

    @property
    def _idle(self) -> bool:
        return not (self._waiting or self._out or self._news or self._said)

    async def _run(self) -> None:
        client = self._server.connect()
        hearing = self._loop.create_task(self._listen(client))
        try:
            while True:
                self._woken.clear()
                wait = await self._step(client)
                away = self._away_since is not None
                if self.closed and (away or not self._woken.is_set()):
                    break
                if away and self._idle:
                    break
                if away:
                    await asyncio.sleep(wait)
                    continue
                try:
                    async with asyncio.timeout(LINGER_S if self._idle else wait):
                        await self._woken.wait()
                except TimeoutError:
                    if self._idle:
                        break
        except asyncio.CancelledError:
            self.closed = True  # the loop ends: none is begun in this one's place
            raise
        finally:
            # From here on whoever comes starts another one.
            self._task, self._away_since = None, None
            self._fail(ConnectionFailedError("the limit's own task was ended"))
            await stop(hearing)
            await client.aclose()

    async def _listen(self, client: redis.Redis) -> None:
        async def called(_: bytes) -> None:
            self._woken.set()

        # Each time it listens anew: it may have been called before, and the server may
        # have forgotten what we have.
        await listen(client, self._channel + self._name, called, self._woken.set)

    @property
    def _channel(self) -> str:
        return f"{self._server.name}:limit:"

    async def _step(self, client: redis.Redis) -> float:
        """Make one call; return the seconds until the next one at the latest."""
        if not self._said and self._news:
            self._said, self._news = self._news, []
            self._batch += 1
        self._call += 1
        call, asked_at, bounds = self._call, self._loop.time(), self._bounds
        try:
            granted, now, wait = await _evaluate(
                client,
                f"{self._server.name}:limit",
                *(self._name, call, self._seen, self._batch, self._out),
                *(len(self._waiting), bounds.pending, bounds.interval_min),
                *(bounds.lease_s, json.dumps(self._said), self._channel),
            )
        except (exceptions.RedisError, OSError) as error:
            self._note_trouble(error)
            return PAUSE_S
        if self._away_since is not None:
            logger.info("the limit on Redis answers again")
        self._said, self._seen, self._away_since = [], call, None
        if self._loop.time() - asked_at > bounds.lease_s / 2:
            self._woken.set()  # we slept, and what we were given is another's by now
        else:
            self._hand_out(int(granted), float(now))
        return min(float(wait), bounds.renew_s) if self._waiting else bounds.renew_s

    def _hand_out(self, granted: int, now: float) -> None:
        while granted and self._waiting:
            turn, _ = self._waiting.popitem(last=False)
            if not turn.done():  # cancelled in this very step
                turn.set_result(now)
                self._out += 1
                granted -= 1
        if granted:  # cancelled while we asked
            self._news.append(("unsent",))
        if granted or self._news:
            self._woken.set()

    def _note_trouble(self, error: Exception) -> None:
        said, now = in_words(error), self._loop.time()
        first = self._away_since is None
        self._away_since = since = now if self._away_since is None else self._away_since
        if first:
            logger.warning("the limit on Redis does not answer: %s", said)
        if not is_passing(error):
            self._fail(ConfigurationError(f"the limit on Redis: {said}"))
        elif now - since >= self._bounds.away_s:
            msg = f"the limit on Redis does not answer, no order is sent: {said}"
            self._fail(ConnectionFailedError(msg))

    def _fail(self, error: ApiModelsError) -> None:
        while self._waiting:
            turn, _ = self._waiting.popitem(last=False)
            if not turn.done():
                turn.set_exception(error.fresh())


async def _evaluate(client: redis.Redis, key: str, *words: str | float) -> Any:
    run: Any = client.evalsha  # its type is that of all clients at once
    try:
        return await run(STEP_SHA, 1, key, *words)
    except exceptions.NoScriptError:
        await client.script_load(STEP)
        return await run(STEP_SHA, 1, key, *words)
