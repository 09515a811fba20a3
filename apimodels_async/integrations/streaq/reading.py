"""
Reads what the broker has of a job: its text, and how it ended.

What cannot be read is that job's trouble, and no other one's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from attrs import define, evolve
from streaq import StreaqError

from apimodels_async._text import printable
from apimodels_async.errors import (
    ConfigurationError,
    DownloadError,
    OutcomeUnknownError,
    UnexpectedResponseError,
)
from apimodels_async.integrations.streaq.broker import DAMAGED
from apimodels_async.integrations.streaq.jobs import (
    DAMAGE,
    NO_ANSWER,
    Answer,
    Job,
    job_id,
    load_answer,
    unreadable,
)
from apimodels_async.stores.store import ask, opened

if TYPE_CHECKING:
    from streaq import Worker

    from apimodels_async.errors import ApiModelsError
    from apimodels_async.stores.redis.store import RedisStore

AGAIN: Final = "Put it again: what was bought is found"
EXPIRED: Final = "Task expired!"
"""streaq's word for a job whose text is gone."""
MISSING: Final = "Missing function"
"""How streaq begins to say that no worker of the queue has the task."""


async def read_job(worker: Worker[Any], key: str, raw: Any) -> Job | None:
    """Return the job of *key* that the broker has as *raw*; None: that is damaged."""
    try:
        job = Job.read((await worker.deserialize(raw))["a"])
        return job if job.id == job_id(key) else None
    except (StreaqError, *DAMAGE):
        return None


def damaged(key: str) -> Answer:
    """Return the answer to a job whose text cannot be read."""
    msg = (
        f"the job of {key!r} cannot be read: it is damaged, or its worker reads no "
        f"JSON. {AGAIN}"
    )
    return Answer.of(key, unreadable(msg))


@define(eq=False)
class AnswerReader:
    """Reads the answers of one queue."""

    _worker: Worker[Any]
    _store: RedisStore

    async def read(self, key: str, raw: Any) -> Answer | None:
        """
        Return the answer that the broker has of a job, its pictures included.

        None: its answer is lost. It was delivered twice, and the second worker found
        its text gone, which streaq writes down in the place of what the first one said.

        Raises:
            JournalError: The store that has them cannot be used.
        """
        try:
            data = await self._worker.deserialize(raw)
            if data["s"]:
                return await self._complete(load_answer(data["r"]))
            why = printable(str(data["r"]), 200)
            if why == EXPIRED:
                return None
            if why.startswith(DAMAGED):
                return damaged(key)
            error: ApiModelsError = OutcomeUnknownError(
                f"a worker failed at {key!r}: {why}. {AGAIN}"
            )
            if why.startswith(MISSING):
                error = ConfigurationError(f"no worker could run it: {why}")
        except UnexpectedResponseError as damage:
            error = damage
        except (StreaqError, *DAMAGE):  # by a worker with another serializer, say
            error = unreadable(NO_ANSWER)
        return Answer.of(key, error)

    async def _complete(self, answer: Answer) -> Answer:
        """Put back the pictures that the API sent inline, out of the store."""
        if answer.kept_in is None:
            return answer
        async with opened(self._store):
            record = await ask(self._store.find, answer.kept_in, answer.idempotency_key)
        if record is None or record.result is None:
            msg = "its picture was sent inline, and the workers' store is another one"
            error = DownloadError(msg, task_id=answer.task_id)
            return Answer.of(answer.idempotency_key, error, tries=answer.tries)
        return evolve(answer, result=record.result, kept_in=None)
