"""
The one task of the queue: order, wait, save, answer.

Rules of this file:
1. The idempotency key makes redelivery harmless: a job that comes again finds in the
   store what it bought. So whatever passes (a store or an API that is away, a worker
   that stops, an account that is throttled) gives the job back, unanswered.
2. An answer says what the order came to, an error included. It is no failure of the
   job: streaq tries nothing again by itself.
3. A message that is delivered again orders nothing anew that has ended: what it was
   answered with is what it is told, a refusal too, which the store has as handed over
   then. A refusal that nobody was answered with (a 429, a stop) is ordered again.
4. What a worker refuses before it asks the store (another API, a newer release) may
   have been charged, if another worker had it before.
"""

from __future__ import annotations

import logging
import math
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from anyio import CancelScope, sleep
from attrs import define, field
from streaq import StreaqRetry

from apimodels_async._api import checks, requests
from apimodels_async._core.money.resume import OrderState
from apimodels_async._io.config import resolve_base_url
from apimodels_async._text import printable
from apimodels_async.errors import (
    ApiModelsError,
    APIStatusError,
    ConfigurationError,
    GenerationFailedError,
    JournalError,
    RateLimitError,
    SessionClosedError,
    TransportError,
)
from apimodels_async.integrations.streaq.broker import PUT_AT, UNUSABLE, in_words
from apimodels_async.integrations.streaq.jobs import (
    KEPT_S,
    TASK,
    Answer,
    Job,
    dump_answer,
    job_id,
)
from apimodels_async.integrations.streaq.progress import progress_key
from apimodels_async.models import ImageRequest, ImageResult
from apimodels_async.policies import RETRY_AFTER_MAX_S
from apimodels_async.stores.store import one_spelling, scope_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from streaq import Worker
    from streaq.task import AsyncRegisteredTask

    from apimodels_async._core.money.orders import OrderRecord
    from apimodels_async.handle import TaskHandle
    from apimodels_async.integrations.streaq.jobs import SaveTo
    from apimodels_async.integrations.streaq.saving import JobSaver
    from apimodels_async.models import AnyRequest
    from apimodels_async.session import Session

logger: logging.Logger = logging.getLogger("apimodels_async.worker")

STORE_AWAY_S: Final = 5
"""Seconds after which a job is tried again whose store could not be used."""
HELD_S: Final = (1.0, 30.0)
"""For which a worker that cannot reach the API keeps a job: at least, at most."""
AT_ONCE: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""When a job that is given back is due: by each worker's clock, however wrong."""
PASSES: Final = (RateLimitError, JournalError, SessionClosedError, TransportError)
"""What gives a job back: no answer to it."""


def _nothing(_answer: Answer, _seconds: float) -> None:
    """Tell nobody."""


@define(eq=False)
class OrderTask:
    """Orders for one worker."""

    worker: Worker[Any]
    session: Callable[[], Session]
    """The session of this process; it must have a store."""
    saver: JobSaver
    told: Callable[[Answer, float], None] = _nothing
    """Called with each answer, and the seconds it took."""
    registered: AsyncRegisteredTask[Any, Any] = field(init=False)
    closed: bool = field(init=False, default=False)
    """Whether jobs are given back, rather than begun."""
    _scopes: set[CancelScope] = field(init=False, factory=set)
    _cut_off_at: float | None = field(init=False, default=None)
    """Since when the API cannot be reached, by the monotonic clock."""

    def __attrs_post_init__(self) -> None:
        register = self.worker.task(
            name=TASK, max_tries=None, ttl=KEPT_S, silent=True, timeout=None
        )
        self.registered = register(self.order)

    @property
    def under_way(self) -> int:
        """How many jobs are being worked at."""
        return len(self._scopes)

    def cut(self) -> None:
        """Give back what is under way; what is paid for is attached by the next."""
        self.closed = True
        for scope in tuple(self._scopes):
            scope.cancel()

    async def order(
        self,
        request: Any,
        idempotency_key: str,
        save_to: SaveTo = None,
        number: int | None = None,
        anew: bool = True,  # noqa: FBT001, FBT002  from JSON, by position
        base_url: str | None = None,
        *newer: object,
    ) -> dict[str, Any]:
        """
        Order a picture once, save it, and return the answer; costs money.

        Args:
            request: A prompt, or a mapping of the API's parameters, as for a batch.

            idempotency_key: The caller's own name for the order. It is bought once.

            save_to: Address in object storage; None: where this worker was told to;
                False: nowhere.

            number: In its batch, for the names of files.

            anew: Whether it is ordered again if it was refused, or failed, before this
                was put.

            base_url: Address of the API that is meant; None: this worker's.

            newer: What a later release says besides: it is refused, not left out.
        """
        job = Job(
            *(idempotency_key, request, save_to, number, anew is not False, base_url),
            newer,
        )
        began, answer = time.monotonic(), None
        if not self.closed:
            with CancelScope() as scope:
                self._scopes.add(scope)
                try:
                    answer = await self._answer(job)
                finally:
                    self._scopes.discard(scope)
        if answer is None:
            raise StreaqRetry(schedule=AT_ONCE)  # for another worker
        self.told(answer, time.monotonic() - began)
        return dump_answer(answer)

    async def _answer(self, job: Job) -> Answer:
        tries, session = self.registered.context.tries, self.session()
        asked: AnyRequest | None = None
        try:
            _check_release(job.newer)
            _check_address(job.base_url, session.base_url)
            key = checks.check_key(job.key)
            place = self.saver.place_of(job.save_to)
            if job.number is not None:
                checks.check_count("start", job.number, least=0)
            asked = requests.read_request(job.request)
            # In a worker of the user's own nobody says when it was put.
            since = PUT_AT.get(math.inf) if tries > 1 else math.inf
            result = await self._order(session, asked, key, since if job.anew else 0)
        except ApiModelsError as error:
            if asked is None and (tries > 1 or not job.anew):
                error.charged = None  # the store was not asked
            return Answer.of(str(job.key), error, tries=tries)
        kept_in, store = None, self.saver.store
        if store is not None:
            kept_in = scope_of(store, session.base_url)
        paths, trouble = await self.saver.save(session, result, asked, job, place)
        return Answer.of(
            key, result, trouble=trouble, paths=paths, tries=tries, kept_in=kept_in
        )

    async def _order(
        self, session: Session, asked: AnyRequest, key: str, since: float
    ) -> ImageResult:
        """Return what the order brought, or give the job back for what passes."""
        try:
            result = await self._result(session, asked, key, since)
        except RateLimitError as error:
            self._cut_off_at = None
            # In a queue, as in a batch, a 429 fails nobody.
            wait = min(error.retry_after or 1.0, RETRY_AFTER_MAX_S)
            raise StreaqRetry(delay=max(1, math.ceil(wait))) from None
        except JournalError as error:
            logger.warning("%s: the store cannot be used: %s", key, error)
            raise StreaqRetry(delay=STORE_AWAY_S) from None
        except SessionClosedError:
            raise StreaqRetry(schedule=AT_ONCE) from None
        except TransportError as error:  # nothing paid was sent
            await self._hold(error)
            raise StreaqRetry(schedule=AT_ONCE) from None
        except (APIStatusError, GenerationFailedError):  # it was reached
            self._cut_off_at = None
            raise
        self._cut_off_at = None
        return result

    async def _hold(self, error: TransportError) -> None:
        """
        Keep a job for as long as the API has not been reached, within bounds.

        A worker that is cut off would be the quickest, and take all from the others.
        """
        now = time.monotonic()
        if self._cut_off_at is None:
            self._cut_off_at = now
            logger.warning("%s; orders are given back until it can be reached", error)
        at_least, at_most = HELD_S
        await sleep(min(at_most, max(at_least, now - self._cut_off_at)))

    async def _result(
        self, session: Session, asked: AnyRequest, key: str, since: float
    ) -> ImageResult:
        """
        Return what the order brought, whichever delivery of its job sent it.

        Args:
            since: When that can have been at the earliest, in seconds since 1970.
        """
        record = await session.find(key) if since < math.inf else None
        if record is not None and record.intended_at.timestamp() >= since:
            try:
                return await self._ended(key, await session.images.follow(key))
            except GenerationFailedError as error:
                ended = await session.find(key)
                if ended is not None and ended.state is OrderState.FAILED:
                    raise
                if ended is not None and _is_refused(ended) and ended.handed_over:
                    raise ApiModelsError(error.message) from None
        return await self._buy(session, asked, key)

    async def _buy(self, session: Session, asked: AnyRequest, key: str) -> ImageResult:
        try:
            if not isinstance(asked, ImageRequest):
                return await session.images.generate(asked, idempotency_key=key)
            handle = await session.images.submit(asked, idempotency_key=key)
            return await self._ended(key, handle)
        except PASSES:
            raise
        except ApiModelsError:
            # Before it is answered with: cut in between, it is asked for once more.
            record = await session.find(key)
            if record is not None and _is_refused(record):
                await session.ack(key)
            raise

    async def _ended(self, key: str, handle: TaskHandle) -> ImageResult:
        """Return the result of a task; whoever asks meanwhile is told its id."""
        if handle.task_id and not handle.done:
            place = progress_key(self.worker.queue_name, job_id(key))
            try:
                await self.worker.redis.set(place, handle.task_id, ex=KEPT_S)
            except (*UNUSABLE, ExceptionGroup) as error:
                # Whoever asks is told less, and that is all: it is paid for.
                logger.debug("%s: its task is not told: %s", key, in_words(error))
        return await handle


def _check_address(meant: str | None, here: str) -> None:
    """
    Refuse what is meant for another API than this worker orders at.

    Raises:
        ConfigurationError: It is, or cannot be read: a try on an emulator would cost
            real money.
    """
    if meant is None:
        return
    if one_spelling(resolve_base_url(str(meant))) != one_spelling(here):
        msg = (
            f"put for {printable(str(meant))}, and this worker orders at {here}: "
            "give both the same base_url"
        )
        raise ConfigurationError(msg)


def _check_release(newer: tuple[object, ...]) -> None:
    """
    Refuse what says more than this release understands: it may be a limit.

    Raises:
        ConfigurationError: It does.
    """
    if newer:
        msg = (
            "put by a newer release of apimodels-async than this worker's: update the "
            "worker, and put it again"
        )
        raise ConfigurationError(msg)


def _is_refused(record: OrderRecord) -> bool:
    return record.state is OrderState.REFUSED
