"""
A worker process: one session with the account's store and limit, for one queue.
"""

from __future__ import annotations

import logging
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio
from streaq.constants import REDIS_GROUP

from apimodels_async._io.config import check_counts
from apimodels_async._io.order_limit import check_bounds
from apimodels_async._secret import hidden, hidden_options
from apimodels_async.errors import (
    ApiModelsError,
    AuthenticationError,
    ConfigurationError,
)
from apimodels_async.integrations.redis import RedisLimit
from apimodels_async.integrations.redis.worker import LEASE_S
from apimodels_async.integrations.streaq.broker import (
    IDLE_S,
    UNUSABLE,
    make_worker,
)
from apimodels_async.integrations.streaq.jobs import QUEUE
from apimodels_async.integrations.streaq.saving import JobSaver
from apimodels_async.integrations.streaq.task import OrderTask
from apimodels_async.session import Session
from apimodels_async.stores import RedisStore

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from streaq import Worker
    from streaq.task import AsyncRegisteredTask

    from apimodels_async._ports import OrderLimit
    from apimodels_async.integrations.streaq.broker import BrokerWorker
    from apimodels_async.stores.store import OrderStore

logger: logging.Logger = logging.getLogger("apimodels_async.worker")

CONCURRENCY: Final = 50
GRACE_S: Final = 25
"""For which orders under way may finish once a worker is to stop."""
HAND_BACK_S: Final = 5.0
KEY_S: Final = 10.0
"""For the API to say, as a worker begins, whether it accepts the key."""
NOBODY: Final = "apimodels:nobody"
"""A key that names no order: asking for it opens the store."""
ANY_KEY: Final = "not-looked-for-yet"
HANDED_BACK_MAX: Final = 1000
"""Messages that a worker which stops hands to others at once."""


def add_order(
    worker: Worker[Any],
    session: Callable[[], Session],
    *,
    save_to: str | os.PathLike[str] | None = None,
    store: OrderStore | None = None,
) -> AsyncRegisteredTask[Any, Any]:
    """
    Add the task ``order(request, idempotency_key)`` to a streaq worker of your own.

    Who enqueues by ``OrderQueue`` writes JSON: it must have *to_json* as its
    serializer, and ``json.loads`` as its deserializer.

    Args:
        session: Returns the session of this process, made with a store; say
            ``lambda: worker.context.session``.

        save_to: Folder, or address in object storage, for the pictures; None: answers
            name the API's addresses, which are good for 7 days.

        store: That of the session, to keep in it where pictures were saved.

    Returns:
        The task, to enqueue as any other.

    Raises:
        ConfigurationError: *save_to* needs obstore, which is not installed.
    """
    return OrderTask(worker, session, JobSaver(save_to, store)).registered


def order_worker(
    url: str,
    *,
    save_to: str | os.PathLike[str] | None = None,
    concurrency: int = CONCURRENCY,
    queue: str = QUEUE,
    pending: int | None = None,
    per_second: float | None = None,
    idle_timeout: float = IDLE_S,
    grace_period: int = GRACE_S,
    **options: Any,
) -> Worker[Session]:
    """
    Return a streaq worker that orders for all who enqueue; ``run_sync()`` runs it.

    Its session has ``RedisStore(url)`` and ``RedisLimit(url)``: an order is bought once
    however often it is delivered, and all workers together keep the account's limits.

    Args:
        url: Of the Redis server, 7.0 or newer, or Valkey: broker, store and limit.

        save_to: As for ``add_order``; jobs may name another bucket.

        concurrency: Most jobs at once in this process.

        queue: Name of the queue.

        pending: Most orders of the whole account that have not ended, as for
            ``RedisLimit``; the same for all workers.

        per_second: Most orders of the whole account begun in a second; the same, too.

        idle_timeout: Seconds after which the jobs of a worker that was killed are given
            to others.

        grace_period: Seconds for which jobs may end once the process is to stop.

        options: As for ``Session``. A key that is not among them is looked for once the
            worker runs.

    Raises:
        ConfigurationError: *url* is no address of a Redis server, a number is out of
            range, an option is refused as by ``Session``, or *save_to* needs obstore.
        InvalidRequestError: *save_to* is no path and no address.
        TypeError: ``Session`` has no such option.
    """
    place, url = hidden(url), ""  # a frame that raises shows locals
    options = hidden_options(options)
    return WorkerProcess(
        url=place,
        save_to=save_to,
        concurrency=concurrency,
        queue=queue,
        pending=pending,
        per_second=per_second,
        idle_timeout=idle_timeout,
        grace_period=grace_period,
        options=options,
    ).worker


class WorkerProcess:
    """
    One worker, its task, and what it has open while it runs: see ``order_worker``.

    Args:
        url: As for ``order_worker``, as all that is not named here.

        options: As for ``Session``.

        store: Instead of ``RedisStore(url)``.

        limit: Instead of ``RedisLimit(url)``; it is not closed here.

    Raises:
        ConfigurationError: As ``order_worker``, whose other errors it raises, too.
    """

    def __init__(  # noqa: PLR0913  options, all by keyword
        self,
        *,
        url: str,
        save_to: str | os.PathLike[str] | None = None,
        concurrency: int = CONCURRENCY,
        queue: str = QUEUE,
        pending: int | None = None,
        per_second: float | None = None,
        idle_timeout: float = IDLE_S,
        grace_period: int = GRACE_S,
        options: Mapping[str, Any] | None = None,
        store: OrderStore | None = None,
        limit: OrderLimit | None = None,
    ) -> None:
        self._url, url = hidden(url), ""  # a frame that raises shows locals
        self._options, options = hidden_options(options or {}), None
        self.pending = pending
        """Most orders of the whole account that have not ended."""
        self.per_second = per_second
        """Most orders of the whole account begun in a second."""
        self.grace_period = grace_period
        """Seconds for which jobs may end once the process is to stop."""
        self.limit = limit
        """Instead of ``RedisLimit(url)``; it is not closed here."""
        self.began: bool = False
        """Whether it came as far as taking jobs."""
        self._session: Session | None = None
        # Now: what is raised while a worker runs comes in a group of streaq's.
        check_counts(concurrency=concurrency)
        check_bounds("order_worker", pending, per_second)
        _check_seconds("idle_timeout", idle_timeout, above=True)
        _check_seconds("grace_period", grace_period)
        self.worker: BrokerWorker[Session] = make_worker(
            self._url,
            queue,
            lifespan=self._lifespan,
            concurrency=concurrency,
            idle_timeout=idle_timeout,
            grace_period=grace_period,
        )
        """streaq's worker; ``run_sync()`` runs it."""
        self.store: OrderStore = store or RedisStore(self._url)
        """Where orders are remembered."""
        saver = JobSaver(save_to, self.store)
        self.task: OrderTask = OrderTask(self.worker, self._current, saver)
        """What it does with a job."""
        asked = dict(self._options)
        if asked.get("api_key") is None:
            asked["api_key"] = ANY_KEY
        Session(store=self.store, limit=self.limit, **asked)  # which refuses options

    def _current(self) -> Session:
        if self._session is None:
            msg = "a job came before its worker's session was opened"
            raise ConfigurationError(msg)
        return self._session

    @asynccontextmanager
    async def _lifespan(self) -> AsyncIterator[Session]:
        if self.task.saver.folder is not None:
            await _make_folder(self.task.saver.folder)
        # A job waits for a server that is away; it must not be told as refused.
        shared = RedisLimit.unchecked(
            self._url,
            lease_s=LEASE_S,
            away_s=math.inf,
            pending=self.pending,
            per_second=self.per_second,
        )
        session = Session(store=self.store, limit=self.limit or shared, **self._options)
        try:
            await session.find(NOBODY)  # nothing is taken that cannot be written down
            await _check_key(session)
            self._session, self.began = session, True
            yield session
        finally:
            # Shielded: a session that is cut while it closes loses paid answers.
            with anyio.CancelScope(shield=True):
                self.task.closed = True
                if self.began:
                    await _hand_back(self.worker)
                await session.aclose()
                await shared.aclose()


def _check_seconds(name: str, value: Any, *, above: bool = False) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 <= value < math.inf or (above and not value):
        least = "above 0" if above else "from 0"
        msg = f"{name} must be a number of seconds {least}, not {value!r}"
        raise ConfigurationError(msg)


async def _make_folder(path: Path) -> None:
    try:
        await anyio.Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"pictures cannot be saved in {path}: {error.strerror}"
    else:
        return
    raise ConfigurationError(msg)


async def _check_key(session: Session) -> None:
    """
    Ask for the balance: a worker whose key is refused would be the quickest of all, and
    have every row of the queue refused.

    Raises:
        AuthenticationError: The API does not accept the key.
    """
    with anyio.move_on_after(KEY_S):
        try:
            await session.balance()
        except AuthenticationError:
            raise
        except ApiModelsError as error:  # orders will tell
            logger.warning("the API does not say whether the key is good: %s", error)


async def _hand_back(worker: Worker[Any]) -> None:
    """Give others at once what *worker* was given and has not begun."""
    with anyio.move_on_after(HAND_BACK_S):
        try:
            for priority in worker.priorities:
                await _hand_on(worker, worker.stream_key + priority)
        except (*UNUSABLE, ExceptionGroup) as error:
            logger.warning("what was not begun is handed on later: %s", error)


async def _hand_on(worker: Worker[Any], stream: str) -> None:
    found: Any = await worker.redis.xpending(
        stream, REDIS_GROUP, "-", "+", HANDED_BACK_MAX, consumer=worker.id
    )
    left = [each.identifier for each in found]
    if not left:
        return
    claimed: Any = await worker.redis.xclaim(stream, REDIS_GROUP, worker.id, 0, left)
    async with worker.redis.pipeline(transaction=True) as pipe:
        for entry in claimed:
            pipe.xadd(stream, dict(entry.field_values))
            pipe.xack(stream, REDIS_GROUP, [entry.identifier])
            pipe.xdel(stream, [entry.identifier])
