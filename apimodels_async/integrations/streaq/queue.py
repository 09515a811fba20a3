"""
The other end of the queue: where orders are put, and answers waited for.
"""

from __future__ import annotations

import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Literal, Self

from attrs import frozen
from streaq import TaskStatus
from streaq.constants import REDIS_RETRY

from apimodels_async._adapters import Adapters
from apimodels_async._api import checks, requests
from apimodels_async._io.config import resolve_base_url
from apimodels_async._io.http.network import resolve_network
from apimodels_async._runtime import journals_in
from apimodels_async._secret import hidden
from apimodels_async._text import Value
from apimodels_async.batch.source import items_of
from apimodels_async.errors import ConfigurationError, InvalidRequestError
from apimodels_async.integrations.streaq.broker import (
    UNUSABLE,
    cannot_open,
    in_words,
    make_worker,
    no_lifespan,
)
from apimodels_async.integrations.streaq.jobs import (
    QUEUE,
    Answer,
    Job,
    dump_request,
    job_id,
)
from apimodels_async.integrations.streaq.progress import (
    JobState,
    Progress,
    progress_key,
)
from apimodels_async.integrations.streaq.putting import Chunk, put_new
from apimodels_async.integrations.streaq.reading import AnswerReader, damaged, read_job
from apimodels_async.integrations.streaq.waiting import Waiting
from apimodels_async.stores.redis.store import RedisStore

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
    from decimal import Decimal
    from types import TracebackType

    from apimodels_async._io.http.network import Network
    from apimodels_async.batch import Batch
    from apimodels_async.integrations.streaq.broker import BrokerWorker
    from apimodels_async.integrations.streaq.jobs import SaveTo
    from apimodels_async.models import AnyRequest
    from apimodels_async.stores.journals import Journals

logger: logging.Logger = logging.getLogger("apimodels_async.worker")


@frozen(eq=False, repr=False, kw_only=True)
class QueueStats(Value):
    """What is known of a queue."""

    waiting: int
    """Jobs that this process waits for."""
    workers: int | None
    """Alive; None: not counted yet."""
    trouble: str | None
    """Why the broker cannot be used, while that is so."""


class OrderQueue:
    """
    Orders for workers on any machines, over a Redis server; an async context manager.

    Needs no API key. It is for one event loop, and left by the task that entered it.

    Args:
        url: ``redis://host:6379/0``, ``rediss://`` for TLS, ``unix://``, or
            ``valkey://`` and ``valkeys://``; credentials in it are in no text of this
            library.

        queue: Its name; as the workers'.

        base_url: Address of the API that the workers order at, else
            ``APIMODELS_BASE_URL``, else the vendor's: to find orders in their store.

        proxy: As for ``Session``, for the pictures that a batch fetches here.

    Raises:
        ConfigurationError: *url* is no address of a Redis server, or *proxy* none of a
            proxy.
    """

    def __init__(
        self,
        url: str,
        *,
        queue: str = QUEUE,
        base_url: str | None = None,
        proxy: str | Literal[False] | None = None,
    ) -> None:
        way, proxy = hidden(proxy), None  # a frame that raises shows locals
        place, url = hidden(url), ""
        where, base_url = hidden(base_url), None
        self._name = queue
        self._worker: BrokerWorker[None] = make_worker(
            place, queue, lifespan=no_lifespan
        )
        self.store: RedisStore = RedisStore(place)
        """Where the workers remember orders."""
        self.base_url: str = resolve_base_url(where)
        """Address of the API that the workers order at."""
        self.network: Network = resolve_network(way, None, None, self.base_url)
        """How pictures are fetched here."""
        self._answers = AnswerReader(self._worker, self.store)
        self.waiting: Waiting = Waiting(self._worker, self._answers)
        """Who waits for what."""
        self.journals: Journals = journals_in(Adapters())
        """Those of batches."""
        closers: list[Callable[[], Awaitable[None]]] = [self.journals.aclose]
        self._closers = closers

    def __repr__(self) -> str:
        return f"<OrderQueue {self._name}>"

    async def __aenter__(self) -> Self:
        """
        Connect.

        Raises:
            ConnectionFailedError: The broker is away.
            ConfigurationError: It cannot be used.
        """
        await self._ask(self._worker.__aenter__())
        self.waiting.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Disconnect; jobs go on."""
        try:
            await self.waiting.aclose()
            for each in self._closers:
                await each()
        finally:
            # Without the error of the body: it would come out as a group.
            try:
                await self._worker.__aexit__(None, None, None)
            except (*UNUSABLE, ExceptionGroup) as trouble:
                logger.debug("the broker was left in trouble: %s", in_words(trouble))

    def on_close(self, close: Callable[[], Awaitable[None]]) -> None:
        """Have *close* awaited when this is left."""
        self._closers.append(close)

    def close(self) -> None:
        """Wait for nothing any more: whoever does gets ``SessionClosedError``."""
        self.waiting.close()

    def stats(self) -> QueueStats:
        """Return what is known of the queue."""
        return QueueStats(
            waiting=len(self.waiting),
            workers=self.waiting.workers,
            trouble=self.waiting.trouble,
        )

    async def put(
        self,
        orders: Iterable[tuple[object, str]] | AsyncIterable[tuple[object, str]],
        *,
        save_to: SaveTo = None,
    ) -> int:
        """
        Put orders there, and return how many; workers buy them.

        Putting one again that waits, or is being worked at, does nothing. One that has
        ended is given to a worker again, which finds it in the store: bought once.

        Args:
            orders: Pairs of what a batch takes (a prompt, a mapping, a request value)
                and its idempotency key. Read in chunks, so there may be any number.

            save_to: Address in object storage for the pictures; None: where the workers
                were told to; False: nowhere.

        Raises:
            InvalidRequestError: One of them is no pair, or cannot be ordered, or its
                key is that of another request in the queue. What was read before it may
                have been put.
            ConnectionFailedError: The broker is away.
        """
        count, chunk = 0, Chunk()
        async with aclosing(items_of(orders)) as source:
            async for order in source:
                await self._put(chunk.add(self._job(*_pair(order), save_to)))
                count += 1
        await self._put(chunk.jobs)
        return count

    async def wait(self, idempotency_key: str) -> Answer:
        """
        Return the answer to what was put under a key; an error is a value in it.

        Cancelled, nothing is lost: the job goes on.

        Raises:
            ConfigurationError: The broker knows no such job.
            SessionClosedError: This was closed first.
        """
        progress = await self.look(idempotency_key)
        if progress.answer is not None:
            return progress.answer
        if progress.state is JobState.MISSING:
            msg = f"nothing is put under {idempotency_key!r}, or it ended long ago"
            raise ConfigurationError(msg)
        raw = await self._ask(
            self._worker.redis.get(self._worker.task_key + job_id(idempotency_key))
        )
        if raw is None:  # it ended in between
            return await self.wait(idempotency_key)
        job = await read_job(self._worker, idempotency_key, raw)
        if job is None:
            return damaged(idempotency_key)
        return await self.waiting.answer_to(self.waiting.enqueue(job, put=False))

    async def look(self, idempotency_key: str) -> Progress:
        """
        Return how far what was put under a key is.

        Raises:
            ConnectionFailedError: The broker is away.
        """
        key, worker = checks.check_key(idempotency_key), self._worker
        job = job_id(key)
        places = [
            worker.results_key + job,
            progress_key(worker.queue_name, job),
            worker.prefix + REDIS_RETRY + job,
        ]
        status = await self._ask(worker.status_by_id(job))
        raw, task_id, tries = await self._ask(worker.redis.mget(places))
        answer = None if raw is None else await self._answers.read(key, raw)
        if answer is not None:
            return Progress(
                state=JobState.ENDED,
                tries=answer.tries,
                task_id=answer.task_id,
                answer=answer,
            )
        state = {
            TaskStatus.NOT_FOUND: JobState.MISSING,
            TaskStatus.DONE: JobState.MISSING,  # its answer is lost
            TaskStatus.RUNNING: JobState.RUNNING,
        }.get(status, JobState.QUEUED)
        return Progress(state=state, tries=int(tries or 0), task_id=task_id)

    def batch(  # noqa: PLR0913  options, all by keyword
        self,
        source: Iterable[object] | AsyncIterable[object],
        *,
        name: str,
        journal: str | os.PathLike[str],
        max_pending: int = 1000,
        max_cost: Decimal | float | None = None,
        price: Callable[[AnyRequest], Decimal | float | None] | None = None,
        download_to: str | os.PathLike[str] | None = None,
        retry_failed: bool = False,
        resubmit_unknown: bool = False,
        start: int = 0,
        step: int = 1,
        model: str | None = None,
        extra: Mapping[str, Any] | None = None,
        **defaults: Any,
    ) -> Batch:
        """
        Have everything in *source* ordered by workers; yield outcomes as they finish.

        As ``session.images.batch``, budget, journal and all; only that workers buy.
        Leaving it, or dying, stops no worker: the same batch again, with the same name
        and journal, takes up what is still under way.

        Args:
            name: Of the batch, before the idempotency keys of its items.

            journal: SQLite file, as for ``session.images.batch``.

            max_pending: Most jobs there at once: enough to keep all workers busy.

            download_to: Directory of this machine, to which the pictures are fetched
                here; or address in object storage (s3, gs, az), to which the workers
                save them. None: workers save where they were told to.

        Raises:
            ConfigurationError: Object storage without obstore.
            InvalidRequestError: A parameter is out of range. Nothing was sent.
        """
        from apimodels_async.batch import Batch
        from apimodels_async.batch.options import read_options
        from apimodels_async.integrations.streaq.batch import QueueParts, destination

        parts = QueueParts(self, checks.check_key(name, "name"))
        here, there = destination(download_to)
        budget, options = read_options(
            defaults={"model": model, "extra": extra, **defaults},
            names=OrderQueue.batch.__kwdefaults__ or (),
            max_pending=max_pending,
            max_cost=max_cost,
            price=price,
            journal=journal,
            name=None,
            download_to=here,
            sidecar=False,
            embed=False,
            retry_failed=retry_failed,
            resubmit_unknown=resubmit_unknown,
            start=start,
            step=step,
            folder=parts.folder(there) if here is None else None,
        )
        return Batch(source, parts, budget, options)

    def _job(self, request: object, key: object, save_to: SaveTo) -> Job:
        asked: AnyRequest = requests.read_request(request)
        body = dump_request(requests.encode(asked), requests.model_of(asked))
        named = checks.check_key(key)
        return Job(named, body, save_to, None, base_url=self.base_url)

    async def _put(self, jobs: list[Job]) -> None:
        if jobs:
            await self._ask(put_new(self._worker, jobs))

    async def _ask(self, question: Any) -> Any:
        trouble: BaseException
        try:
            return await question
        except (*UNUSABLE, ExceptionGroup) as error:
            trouble = error
        raise cannot_open(trouble)


def _pair(order: object) -> tuple[object, object]:
    """Return *order* if it is a pair; a text of two letters would be unpacked, too."""
    match order:
        case [request, key]:  # which neither of those is
            return request, key
        case _:
            msg = (
                f"each order is a pair, such as ('a red fox', 'job-1'), with its "
                f"idempotency key; one is {type(order).__name__}"
            )
            raise InvalidRequestError(msg, parameter="orders")
