"""
Puts jobs into the queue: in messages of bounded size, one job for each key.
"""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field
from coredis import PureToken
from streaq.utils import now_ms

from apimodels_async._api import requests
from apimodels_async._core.money.digests import digest_of
from apimodels_async.errors import ApiModelsError, InvalidRequestError
from apimodels_async.integrations.streaq.jobs import TASK, Job
from apimodels_async.integrations.streaq.progress import progress_key
from apimodels_async.integrations.streaq.reading import read_job

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from streaq import Worker
    from streaq.task import Task

logger: logging.Logger = logging.getLogger("apimodels_async.worker")

CHUNK: Final = 500
"""Most jobs in one message to the broker."""
CHUNK_BYTES: Final = 4 << 20
"""
Most bytes of them, unless one alone has more, with a picture in it, say: all of a
message is in memory, here and there, and Redis cuts off who sends it 1 GiB.
"""


@define(eq=False)
class Chunk:
    """Jobs for one message to the broker."""

    jobs: list[Job] = field(factory=list[Job])
    _bytes: int = field(init=False, default=0)

    def add(self, job: Job) -> list[Job]:
        """Add *job*; return those that go before it, if it were too much with them."""
        full, more = list[Job](), job.size
        if len(self.jobs) == CHUNK or self._bytes + more > CHUNK_BYTES:
            full, self.jobs, self._bytes = self.jobs, [], 0
        self.jobs.append(job)
        self._bytes += more
        return full


def chunked(jobs: Iterable[Job]) -> Iterator[list[Job]]:
    """Return *jobs* in as many as go into one message; none is empty."""
    chunk = Chunk()
    for job in jobs:
        if full := chunk.add(job):
            yield full
    if chunk.jobs:
        yield chunk.jobs


async def put_jobs(
    worker: Worker[Any], jobs: Iterable[Job], *, fresh: Collection[str]
) -> None:
    """
    Put *jobs*; one that is there already stays as it is.

    Args:
        fresh: Ids of those whose answers, if there are any, do not count.
    """
    places = [worker.results_key + each for each in fresh]
    places += [progress_key(worker.queue_name, each) for each in fresh]
    if places:
        await worker.redis.delete(places)
    await worker.enqueue_many([_task(worker, job) for job in jobs])


async def put_new(worker: Worker[Any], jobs: list[Job]) -> None:
    """
    Put *jobs*; what is there already stays as it is, unless it is damaged.

    Raises:
        InvalidRequestError: A key is that of another one of them: it would be left out
            silently.
    """
    there, digests = set[str](), dict[str, str]()
    places = [worker.task_key + job.id for job in jobs]
    found = await worker.redis.mget(places)
    for job, raw in zip(jobs, found, strict=True):
        queued = None if raw is None else await read_job(worker, job.key, raw)
        if queued is not None:
            there.add(job.id)
            with suppress(ApiModelsError):  # of another release: their store compares
                digests[job.id] = _digest(queued.request)
        digest = _digest(job.request)
        if digests.setdefault(job.id, digest) != digest:
            msg = (
                f"idempotency_key={job.key!r} names another request, which is in "
                "the queue: give this one a key of its own"
            )
            raise InvalidRequestError(msg, parameter="idempotency_key")
    for job, raw in zip(jobs, found, strict=True):
        if raw is not None and job.id not in there and await _replace(worker, job):
            there.add(job.id)
    fresh = [job.id for job in jobs if job.id not in there]
    await put_jobs(worker, jobs, fresh=fresh)


async def _replace(worker: Worker[Any], job: Job) -> bool:
    """Replace the damaged text of *job*; False: a worker has failed it meanwhile."""
    logger.warning("%s: what the queue had of it was damaged", job.key)
    text = await _task(worker, job).serialize(now_ms())
    place = worker.task_key + job.id
    return bool(await worker.redis.set(place, text, condition=PureToken.XX))


def _task(worker: Worker[Any], job: Job) -> Task[Any, Any]:
    task = worker.enqueue_unsafe(TASK, *job.arguments)
    task.id = job.id
    return task


def _digest(request: object) -> str:
    encoded = requests.encode(requests.read_request(request))
    return digest_of(encoded.path, json.loads(encoded.body or b"{}"))
