"""
Waits for the answers of workers; puts what is to be worked at.

Theory of operation: one task per queue, while anybody waits. It puts what has gathered,
in chunks, and reads the answers of all that are waited for with one command a chunk.
Nothing is pushed, so nothing is missed: a broker that restarts, or an answer that came
while nobody looked, changes nothing. What the broker forgot is put again.
"""

from __future__ import annotations

import asyncio
import logging
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from attrs import define, evolve, field
from streaq.constants import REDIS_GROUP

from apimodels_async.errors import (
    JournalError,
    SessionClosedError,
)
from apimodels_async.integrations.streaq.broker import IDLE_S, UNUSABLE, in_words
from apimodels_async.integrations.streaq.progress import progress_key
from apimodels_async.integrations.streaq.putting import CHUNK, chunked, put_jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from apimodels_async.integrations.streaq.broker import BrokerWorker
    from apimodels_async.integrations.streaq.jobs import Answer, Job
    from apimodels_async.integrations.streaq.reading import AnswerReader

logger: logging.Logger = logging.getLogger("apimodels_async.worker")

LOOK_S: Final = 0.25
"""Seconds between two looks for answers."""
AGAIN_S: Final = 30.0
"""After which a job that is waited for is put again, in case the broker forgot it."""
COUNT_S: Final = 10.0
"""Between two counts of the workers."""


@define(eq=False)
class Waiter:
    """One who waits for a job."""

    job: Job
    accepted: Callable[[str], object]
    """Called with its task, once that is known."""
    ended: asyncio.Future[Answer]
    fresh: bool
    """Whether an answer that is there is an old one, and does not count."""
    put_at: float | None = None
    """When it was last put; None: it is not there yet."""
    task_id: str | None = None


@define(eq=False)
class Waiting:
    """Who waits for what, on one queue. Must be made in its loop."""

    _worker: BrokerWorker[None]
    _answers: AnswerReader
    workers: int | None = field(init=False, default=None)
    """Alive, when they were last counted."""
    trouble: str | None = field(init=False, default=None)
    """Why the broker cannot be used, while that is so."""
    closed: bool = field(init=False, default=False)
    _waiters: dict[str, list[Waiter]] = field(
        init=False, factory=dict[str, "list[Waiter]"]
    )
    """By the broker's id; none is empty."""
    _woken: asyncio.Event = field(init=False, factory=asyncio.Event)
    _task: asyncio.Task[None] | None = field(init=False, default=None)
    _counted_at: float | None = field(init=False, default=None)

    def __len__(self) -> int:
        return len(self._waiters)

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.get_running_loop().create_task(
            self._run(), name="apimodels-queue"
        )

    async def aclose(self) -> None:
        """Stop looking; who waits gets ``SessionClosedError``."""
        self.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def close(self) -> None:
        """Wait for nothing any more."""
        self.closed = True
        for waiters in self._waiters.values():
            for waiter in waiters:
                if not waiter.ended.done():
                    waiter.ended.set_exception(_closed())
                    waiter.ended.exception()  # some have not begun to wait
        self._waiters.clear()

    def enqueue(
        self,
        job: Job,
        accepted: Callable[[str], object] = str,
        *,
        fresh: bool = False,
        put: bool = True,
    ) -> Waiter:
        """
        Have *job* put with the next ones; to be awaited by ``answer_to``.

        Args:
            accepted: Called with the API's id of its task, once that is known.

            fresh: Whether it is to be worked at again if it has ended; and ordered
                again if it was refused, or failed.

            put: Whether it is to be put now; else it is there already.

        Raises:
            SessionClosedError: This was closed; it was not put by this.
        """
        if self.closed:
            raise _closed(charged=False if put else None)
        loop = asyncio.get_running_loop()
        job = evolve(job, anew=fresh)
        waiter = Waiter(job, accepted, loop.create_future(), fresh)
        if not put:
            waiter.put_at = loop.time()
        self._waiters.setdefault(job.id, []).append(waiter)
        self._woken.set()
        return waiter

    async def answer_to(self, waiter: Waiter) -> Answer:
        """Wait for the answer; cancelled, the job goes on."""
        try:
            return await waiter.ended
        finally:
            self._drop(waiter)

    def _drop(self, waiter: Waiter) -> None:
        others = self._waiters.get(waiter.job.id)
        if others is not None and waiter in others:
            others.remove(waiter)
            if not others:
                del self._waiters[waiter.job.id]

    async def _run(self) -> None:
        try:
            await self._serve()
        finally:
            self.close()

    async def _serve(self) -> None:
        while True:
            if not self._waiters:
                self._woken.clear()
                await self._woken.wait()
            try:
                await self._turn()
            except (*UNUSABLE, ExceptionGroup) as error:
                if self.trouble is None:
                    logger.warning("the broker is away: %s", in_words(error))
                self.trouble = in_words(error)
            else:
                if self.trouble is not None:
                    logger.info("the broker answers again")
                self.trouble = None
            await asyncio.sleep(LOOK_S)

    async def _turn(self) -> None:
        now = asyncio.get_running_loop().time()
        # Before anything is put: what has ended need not be put again.
        there = [each for each, waiters in self._waiters.items() if not _new(waiters)]
        for chunk in _chunks(there, CHUNK):
            await self._look(chunk)
        due = {
            waiters[0].job.id: waiters[0]
            for waiters in self._waiters.values()
            if waiters[0].put_at is None or now - waiters[0].put_at > AGAIN_S
        }
        for jobs in chunked(each.job for each in due.values()):
            some = [due[job.id] for job in jobs]
            new = [each.job.id for each in some if _new([each])]
            await put_jobs(self._worker, jobs, fresh=new)
            for each in some:
                # From now on what became of it counts, also if it is put again.
                each.put_at, each.job = now, evolve(each.job, anew=False)
        if self._counted_at is None or now - self._counted_at > COUNT_S:
            self.workers, self._counted_at = await self._count(), now

    async def _look(self, ids: list[str]) -> None:
        worker = self._worker
        places = [worker.results_key + each for each in ids]
        places += [progress_key(worker.queue_name, each) for each in ids]
        found = await worker.redis.mget(places)
        for job, raw, task_id in zip(
            ids, found[: len(ids)], found[len(ids) :], strict=True
        ):
            if task_id is not None:
                self._tell_accepted(job, str(task_id))
            if raw is None or job not in self._waiters:
                continue
            key = self._waiters[job][0].job.key
            try:
                answer = await self._answers.read(key, raw)
            except JournalError as error:
                logger.warning("%s: its picture is not read yet: %s", key, error)
            else:
                if answer is not None:
                    self._tell(job, answer)
                    continue
                for waiter in self._waiters.get(job, ()):  # to be put again
                    waiter.fresh, waiter.put_at = True, None

    def _tell_accepted(self, job: str, task_id: str) -> None:
        for waiter in self._waiters.get(job, ()):
            if waiter.task_id is None:
                waiter.task_id = task_id
                waiter.accepted(task_id)

    def _tell(self, job: str, answer: Answer) -> None:
        for waiter in self._waiters.pop(job, ()):
            if not waiter.ended.done():
                waiter.ended.set_result(answer)

    async def _count(self) -> int:
        worker, alive = self._worker, set[str]()
        for priority in worker.priorities:
            stream = worker.stream_key + priority
            if not await worker.redis.exists([stream]):
                continue
            for group in await worker.redis.xinfo_groups(stream):
                if group["name"] != REDIS_GROUP:
                    continue
                found: Any = await worker.redis.xinfo_consumers(stream, REDIS_GROUP)
                alive |= {
                    str(each["name"])
                    for each in found
                    # A worker asks at least once in its idle time.
                    if int(each["idle"]) < 2 * IDLE_S * 1000
                }
        return len(alive)


def _closed(*, charged: bool | None = None) -> SessionClosedError:
    msg = "the queue was closed; what was put there goes on"
    error = SessionClosedError(msg)
    error.charged = charged
    return error


def _new(waiters: list[Waiter]) -> bool:
    first = waiters[0]
    return first.fresh and first.put_at is None


def _chunks(source: Iterable[Any], size: int) -> Iterator[list[Any]]:
    left = iter(tuple(source))
    while chunk := list(islice(left, size)):
        yield chunk
