"""
A batch whose orders workers carry out: the rest of it is a session's, unchanged.

Theory of operation: an item is written into the journal, put into the queue, and waited
for. What an earlier run left open in the journal is put again under the same
idempotency key: the queue has one job for it, and the workers' store one order, so that
it is attached, wherever it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, cast

from attrs import define, field

from apimodels_async._adapters import Adapters, NoObserver
from apimodels_async._api import requests
from apimodels_async._api.checks import refuse
from apimodels_async._core.files.object_urls import BUCKETS, read_object_url
from apimodels_async._core.money.resume import OrderState
from apimodels_async._io.config import is_local
from apimodels_async._saving import Saver
from apimodels_async._text import printable
from apimodels_async.errors import (
    DownloadError,
    GenerationFailedError,
    SessionClosedError,
)
from apimodels_async.integrations.streaq.jobs import Job, dump_request
from apimodels_async.models import ImageResult
from apimodels_async.policies import RetryPolicy, Timeouts
from apimodels_async.stores.store import ask, opened, scope_of

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable, Generator, Iterable
    from pathlib import Path

    from apimodels_async._core.money.orders import OrderRecord
    from apimodels_async._io.http.network import Network
    from apimodels_async._ports import Request
    from apimodels_async.batch.parts import Bought
    from apimodels_async.errors import ApiModelsError
    from apimodels_async.integrations.streaq.jobs import Answer, SaveTo
    from apimodels_async.integrations.streaq.waiting import Waiter, Waiting
    from apimodels_async.models import AnyRequest
    from apimodels_async.stores.journals import Journals
    from apimodels_async.stores.redis.store import RedisStore
    from apimodels_async.stores.sent import SentOrders
    from apimodels_async.stores.sent_order import SentOrder

LEFT_OPEN: Final = frozenset({OrderState.INTENDED, OrderState.UNKNOWN})
"""States of which the workers may know more than the journal."""
MAX_DOWNLOADS: Final = 16
"""As of a session."""


class Queue(Protocol):
    """The part of an ``OrderQueue`` that a batch needs."""

    store: RedisStore
    base_url: str
    network: Network
    waiting: Waiting
    journals: Journals

    def on_close(self, close: Callable[[], Awaitable[None]]) -> None:
        """Have *close* awaited when the queue is left."""
        ...


def destination(
    given: str | os.PathLike[str] | None,
) -> tuple[str | os.PathLike[str] | None, str | None]:
    """
    Return the folder to which pictures are fetched here, or where workers save them.

    Raises:
        InvalidRequestError: An address that cannot be used.
    """
    url = read_object_url(given, "download_to")
    if url is None:
        return given, None
    if url.scheme not in BUCKETS:
        refuse("download_to", given, "s3://, gs:// or az://: workers reach no other")
    return None, str(given)


@define(eq=False, repr=False)
class QueuedOrder:
    """A job that has not ended here; awaited, it is the result."""

    _orders: QueuedOrders
    _record: SentOrder
    _waiter: Waiter

    @property
    def task_id(self) -> str | None:
        """The id of its task, once a worker told it."""
        return self._waiter.task_id

    def __await__(self) -> Generator[Any, None, ImageResult]:
        """Wait for the result, and write it down; cancelled, the job goes on."""
        return self._result().__await__()

    async def _result(self) -> ImageResult:
        answer = await self._orders.queue.waiting.answer_to(self._waiter)
        # No await from here on: what was told is written by a task of the journal's.
        self._orders.answered(self._record.what.number, answer)
        outcome: ImageResult | ApiModelsError | None = answer.result or answer.error
        if isinstance(outcome, ImageResult):
            self._record.settled(outcome)
            return outcome
        error = outcome or DownloadError("a worker's answer was empty", charged=None)
        self._record.settled(error)
        raise error


@define(eq=False, repr=False)
class QueuedOrders:
    """Buys by having workers buy: a ``Buyer``."""

    queue: Queue
    _name: str
    save_to: SaveTo = False
    """Where workers save: as of a job."""
    observer: NoObserver = field(init=False, factory=NoObserver)
    _lost: set[str] = field(init=False, factory=set[str])
    """Keys of orders that are ordered anew though they may have been charged."""
    _answers: dict[int, Answer] = field(init=False, factory=dict[int, "Answer"])
    """Of items whose pictures are not accounted for yet, by number."""

    async def order(
        self,
        request: AnyRequest,  # noqa: ARG002  the record has it, as it is sent
        record: SentOrder | None = None,
        *,
        patient: bool = False,  # noqa: ARG002  workers are
    ) -> Bought:
        """Put the order of *record* into the queue; it is in the journal before."""
        record = cast("SentOrder", record)  # a queue's batch has a journal
        known = await record.begin(None)
        if known is not None:
            return await self.take_up(record, known)
        key = self._key(record.idempotency_key)
        if key in self._lost:
            self._lost.discard(key)
            await self._ask_store("forget", key)
        return self._enqueue(record, fresh=True)

    async def look(self, record: SentOrder) -> OrderRecord | None:
        """
        Return what became of it; None: it is new, or to be ordered anew.

        What the journal has left open is in the queue, or workers have ended it since:
        ordered anew, and counted twice, is only what their store says is lost.
        """
        told = record.anew
        record.anew = told - LEFT_OPEN
        known = await record.look()
        record.anew = told
        if known is None or known.state not in told:
            return known
        key = self._key(record.idempotency_key)
        there = await self._ask_store("find", key)
        lost = known.state is OrderState.UNKNOWN
        if there is not None:
            abandoned = there.state is OrderState.INTENDED and not there.owned
            lost = there.state is OrderState.UNKNOWN or abandoned
        if lost:
            self._lost.add(key)
        return None if lost else known

    async def take_up(self, record: SentOrder, known: OrderRecord) -> Bought:
        """Return what became of it; what is open, workers and their store know."""
        if known.result is not None:
            return known.result
        if known.state is OrderState.FAILED:
            why = printable(known.error or "the generation failed")
            raise GenerationFailedError(why, fail_message=why, task_id=known.task_id)
        # Of what is unknown the store may know more by now than the last answer said.
        try:
            return self._enqueue(record, fresh=known.state is OrderState.UNKNOWN)
        except SessionClosedError as error:
            error.charged = None  # an earlier run may have put it
            raise

    def keep(self, fate: object) -> None:
        """Keep nothing: the workers' store has it."""

    def _key(self, key: str) -> str:
        return f"{self._name}/{key}"

    async def _ask_store(self, question: Literal["find", "forget"], key: str) -> Any:
        """Ask the workers' store; what it forgets may be paid for twice."""
        store = self.queue.store
        async with opened(store):
            scope = scope_of(store, self.queue.base_url)
            return await ask(getattr(store, question), scope, key)

    def _job(self, key: str, body: dict[str, Any], number: int | None) -> Job:
        address = self.queue.base_url
        return Job(key, body, self.save_to, number, base_url=address)

    def _enqueue(self, record: SentOrder, *, fresh: bool) -> QueuedOrder:
        encoded = cast("Request", record.encoded)  # as of all that is about to be sent
        body = dump_request(encoded, record.what.model)
        key = self._key(record.idempotency_key)
        job = self._job(key, body, record.what.number)
        waiter = self.queue.waiting.enqueue(job, record.found, fresh=fresh)
        return QueuedOrder(self, record, waiter)

    def answered(self, number: int | None, answer: Answer) -> None:
        """Keep where the pictures of an item are until that is asked for."""
        if (
            number is not None
            and answer.result is not None
            and self.save_to is not False
        ):
            self._answers[number] = answer

    async def saved(self, index: int, request: AnyRequest, key: str) -> Answer:
        """Return the answer that says where the pictures of item *index* are."""
        answer = self._answers.pop(index, None)
        if answer is not None:
            return answer
        # It was paid for in an earlier run, and not saved: a worker saves it, free.
        key = self._key(key)
        body = dump_request(requests.encode(request), requests.model_of(request))
        job, waiting = self._job(key, body, index), self.queue.waiting
        return await waiting.answer_to(waiting.enqueue(job, fresh=True))


@define(eq=False, repr=False)
class WorkersFolder:
    """Where workers save the pictures of a batch: a ``Folder``."""

    _orders: QueuedOrders

    async def check(self) -> None:
        """Leave that to the workers, who have the rights."""

    async def find(self, files: Iterable[str]) -> tuple[Path | str, ...]:
        """Return where *files* are, as the workers said."""
        return tuple(files)

    async def save(
        self,
        result: ImageResult,
        index: int,
        request: AnyRequest,
        idempotency_key: str | None,
    ) -> tuple[list[Path | str], DownloadError | None]:
        """Return where the pictures of item *index* are."""
        answer = await self._orders.saved(index, request, idempotency_key or "")
        error = answer.error
        if error is None or isinstance(error, DownloadError):
            return [*answer.paths], error
        why = f"not saved: {error.message}"
        return [*answer.paths], DownloadError(why, task_id=result.task_id)


@define(eq=False, repr=False)
class QueueParts:
    """What a batch on *queue* is run with: a ``Maker`` and its ``Parts``."""

    _queue: Queue
    _name: str
    ordering: QueuedOrders = field(init=False)
    orders: None = field(init=False, default=None)
    _adapters: Adapters = field(init=False, factory=Adapters)
    _saver: Saver | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self.ordering = QueuedOrders(self._queue, self._name)

    def folder(self, save_to: str | None) -> WorkersFolder:
        """Return where workers save to: *save_to*, else where they were told to."""
        self.ordering.save_to = save_to
        return WorkersFolder(self.ordering)

    def open(self) -> QueueParts:
        """
        Return this.

        Raises:
            SessionClosedError: The queue is closed.
        """
        if self._queue.waiting.closed:
            msg = "the queue is closed; nothing was put there"
            raise SessionClosedError(msg, charged=False)
        return self

    def journal(self, path: Path) -> SentOrders:
        """Return the orders in the journal at *path*, not opened yet."""
        return self._queue.journals.at(path)

    @property
    def saver(self) -> Saver:
        """The way of files of this machine; it has no key."""
        if self._saver is None:
            base_url, timeouts = self._queue.base_url, Timeouts()
            files = self._adapters.files(
                self._adapters.clock(),
                timeouts,
                RetryPolicy(),
                _ask_nobody,
                local=is_local(base_url),
                network=self._queue.network,
                lent=None,
            )
            self._saver = Saver(
                files, self._adapters.sink, MAX_DOWNLOADS, timeouts.download
            )
            self._queue.on_close(self._saver.aclose)
        return self._saver


async def _ask_nobody(_task_id: str) -> ImageResult | None:
    """Without a key the API is not asked for a fresh address."""
    return None
