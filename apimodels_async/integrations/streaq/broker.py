"""
The broker: streaq's client on a Redis server, with our address, our words and JSON.
"""

from __future__ import annotations

import json
import logging
import math
import time
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import anyio
from coredis import exceptions
from streaq import StreaqError, Worker

from apimodels_async._io.redis import Server
from apimodels_async._secret import hidden
from apimodels_async._text import printable
from apimodels_async.errors import ConfigurationError, ConnectionFailedError
from apimodels_async.integrations.streaq.jobs import DAMAGE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from anyio import CancelScope

C = TypeVar("C")

logger: logging.Logger = logging.getLogger("apimodels_async.worker")

CONNECT_S: Final = 5.0
IDLE_S: Final = 60.0
"""Seconds after which what a silent worker had is given to others; streaq's own."""
PASSING: Final = (
    exceptions.ConnectionError,
    exceptions.ReadOnlyError,
    exceptions.TryAgainError,
    OSError,  # TimeoutError is one
    IndexError,  # coredis 6.9 makes one of a pipeline that is not answered in time
)
"""What a server that fails over, starts or is cut off answers with, or does not."""
UNUSABLE: Final = (exceptions.RedisError, OSError, IndexError)
"""What any question to the broker may end with, passing or not, alone or in a group."""
DAMAGED: Final = "Failed to deserialize data"
"""How streaq begins to say that the text of a job cannot be read."""
PAUSE_S: Final = 1.0
"""Between two tries to reach a broker that is away."""
WARNED_S: Final = 30.0
"""Between two warnings that it is: several of a worker's tasks find out."""
PUT_AT: ContextVar[float] = ContextVar("put_at")
"""When the message was put that is being worked at, by the server's clock."""


class BrokerWorker(Worker[C]):
    """
    A worker that stops when it is asked to, also where there are no signals.

    While its broker is away it goes on with what it has, and takes more as soon as that
    is back: streaq's own ends then, once its slowest job has.
    """

    stopping: anyio.Event | None = None
    """Instead of signals: set, the worker takes no more and ends."""
    _warned_at: float = -math.inf

    async def producer(self, queue: Any, limiter: Any, scope: CancelScope) -> None:
        """Take jobs; what was taken and not heard of comes again in its idle time."""
        with queue:  # its own closes what it is given
            await self._persist(
                lambda: super(BrokerWorker, self).producer(
                    queue.clone(), limiter, scope
                )
            )

    async def schedule_delayed_tasks(self) -> None:
        """Put what is due."""
        await self._persist(super().schedule_delayed_tasks)

    async def renew_idle_timeouts(self, scope: CancelScope) -> None:
        """Tell that jobs are being worked at, until *scope* is cancelled."""
        with scope:
            await self._persist(
                lambda: super(BrokerWorker, self).renew_idle_timeouts(
                    anyio.CancelScope()
                )
            )

    async def run_task(self, msg: Any) -> None:
        """Work at a job; what cannot be told comes again, and is in the store."""
        PUT_AT.set(int(msg.message_id.partition("-")[0]) / 1000)
        try:
            await super().run_task(msg)
        except Exception as error:
            if is_passing(error):
                self._is_away(error)
            elif isinstance(error, DAMAGE):  # JSON, and no job: streaq's own ends then
                logger.exception("job %s is damaged", msg.task_id)
                what = StreaqError(DAMAGED)
                await self._persist(lambda: self.finish_failed_task(msg, what, 1, 0))
            else:
                raise

    async def _persist(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                return await work()
            except Exception as error:
                if not is_passing(error):
                    raise
                self._is_away(error)
            await anyio.sleep(PAUSE_S)

    def _is_away(self, error: Exception) -> None:
        if time.monotonic() - self._warned_at > WARNED_S:
            self._warned_at = time.monotonic()
            logger.warning("the broker is away: %s", in_words(error))

    async def signal_handler(self, scope: CancelScope) -> None:
        """End what runs in *scope* at a signal, or when asked."""
        if self.stopping is None:
            await super().signal_handler(scope)
            return
        await self.stopping.wait()
        scope.cancel("asked to stop")


def make_worker(
    url: str,
    queue: str,
    *,
    lifespan: Callable[[], AbstractAsyncContextManager[C]],
    concurrency: int = 1,
    idle_timeout: float = IDLE_S,
    grace_period: int = 0,
) -> BrokerWorker[C]:
    """
    Return a worker for *queue* on the server at *url*; nothing is opened yet.

    Raises:
        ConfigurationError: *url* is no address of a Redis server.
    """
    place, url = hidden(url), ""  # a frame that raises shows locals
    server = Server(place, queue)
    options: dict[str, Any] = {
        "decode_components": True,
        "connect_timeout": CONNECT_S,
        # A worker asks at least once in its idle time, and is answered within it: who
        # hears nothing for so long is cut off, and nobody said so.
        "max_idle_time": max(1, round(2 * idle_timeout)),
    }
    return BrokerWorker(
        redis_url=server.url,
        redis_kwargs=options,
        concurrency=concurrency,
        # What is taken and not begun waits for the next worker when this one is killed.
        prefetch=1,
        queue_name=queue,
        lifespan=lifespan,
        serializer=to_json,
        deserializer=json.loads,
        idle_timeout=idle_timeout,
        grace_period=grace_period,
    )


def to_json(data: object) -> str:
    """
    Return *data* as JSON: the serializer of all who share a queue.

    An exception, which streaq has in the place of a result, is told in words.
    """
    return json.dumps(data, default=lambda each: printable(str(each)))


@asynccontextmanager
async def no_lifespan() -> AsyncIterator[None]:
    """Surround a worker that only enqueues."""
    yield


def is_passing(error: BaseException) -> bool:
    """Return whether the broker may answer better later."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return all(is_passing(each) for each in group.exceptions)
    return isinstance(error, PASSING)


def first_of(error: BaseException) -> BaseException:
    """Return the first error of a group, or the error itself."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


def in_words(error: BaseException) -> str:
    """Return what the broker, or the way to it, said."""
    error = first_of(error)
    if isinstance(error, IndexError):
        return "no answer in time"
    return printable(str(error) or type(error).__name__, 200)


def cannot_open(error: BaseException) -> ConnectionFailedError | ConfigurationError:
    """Return what to tell of a broker that could not be opened."""
    msg = f"the broker cannot be used: {in_words(error)}"
    return ConnectionFailedError(msg) if is_passing(error) else ConfigurationError(msg)
