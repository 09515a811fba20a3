"""
Sends a call until it is answered, refused, or of unknown fate: one retry loop for all.

Reading the answer is part of a try, because an HTTP 200 can carry a 429. What the
answer brings (a task to track, money spent) is the caller's, once, after the loop.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

from attrs import define, field

from apimodels_async._api.refusals import name_the_base, salvage_task_id
from apimodels_async._core.money.retry import (
    answer_error,
    failure_error,
    info_of,
    pause_before_retry,
    unknown_error,
)
from apimodels_async._core.money.retry_budget import RetryBudget
from apimodels_async._ports import Failure, Reply, Sent
from apimodels_async.errors import ApiModelsError, RateLimitError

if TYPE_CHECKING:
    from collections.abc import Callable

    from apimodels_async._api.calls import Call
    from apimodels_async._ports import Clock, OrderLimit, Permit, Transport
    from apimodels_async.policies import RetryPolicy

T = TypeVar("T")

logger: logging.Logger = logging.getLogger("apimodels_async.sender")


@define(eq=False, repr=False)
class GuardedLimit:
    """
    The limit, which may be a user's own: once an order is answered, nothing that its
    permit raises may cost it. What ``acquire`` raises ends an order unsent.
    """

    _limit: OrderLimit
    _warned: bool = field(init=False, default=False)

    async def acquire(self) -> GuardedPermit:
        """Wait until one more order may be sent."""
        return GuardedPermit(await self._limit.acquire(), self)

    def failed(self, method: str) -> None:
        """Log what is being raised: the first time for all to see."""
        level = logging.DEBUG if self._warned else logging.WARNING
        self._warned = True
        msg = "the limit's permit failed in %s(); the order goes on"
        logger.log(level, msg, method, exc_info=True)


@define(eq=False, repr=False)
class GuardedPermit:
    """The one way to a permit, for whoever has it: raises nothing."""

    _permit: Permit
    _limit: GuardedLimit
    deaf: bool = field(init=False, default=False)
    """Whether it was told of a 429 in vain, so that nobody slows down."""

    def taken(self) -> None:
        """Note that the order was answered, by whatever but a 429."""
        self._tell("taken")

    def throttled(self, retry_after: float | None) -> None:
        """Note that it was answered by a 429; gives the permit back."""
        self.deaf = not self._tell("throttled", retry_after)

    def release(self) -> None:
        """Give the permit back: the order has ended. Idempotent."""
        self._tell("release")

    def _tell(self, method: str, *args: object) -> bool:
        try:
            getattr(self._permit, method)(*args)
        except Exception:  # noqa: BLE001  of the user's own code
            self._limit.failed(method)
            return False
        return True


@define(eq=False, repr=False)
class Sender:
    """The retry loop around a transport."""

    _transport: Transport
    _clock: Clock
    _policy: RetryPolicy
    _draw: Callable[[], float]
    """Uniform in 0-1: the jitter."""
    _limit: GuardedLimit = field(converter=GuardedLimit)
    _base_url: str
    """For messages."""
    _retries: RetryBudget = field(init=False, factory=RetryBudget)

    async def send(self, call: Call[T], sent: Sent | None = None) -> T:
        """
        Send a call that costs nothing and return its answer as the call reads it.

        Args:
            sent: Says, while this waits and also if it is cancelled, whether a request
                is out that may have been taken.

        Raises:
            ApiModelsError: Refused, unreadable, or never sent, after retries.
        """
        sent = sent or Sent()
        kind, attempt = call.request.kind, 0
        self._retries.earn(self._clock.time())
        while True:
            attempt += 1
            answer = await self._transport.send(call.request, sent)
            trouble = _read(call, answer)
            if not isinstance(trouble, (Failure, ApiModelsError)):
                return trouble
            pause = pause_before_retry(
                kind, trouble, attempt, self._policy, self._draw()
            )
            if pause is None or not self._affordable(trouble):
                raise self._explain(call, sent, trouble, answer)
            sent.at = None  # that try is over and was not taken
            await self._clock.sleep(max(pause, call.request.spacing_s))

    async def order(self, call: Call[T], sent: Sent, *, patient: bool = False) -> T:
        """
        Send a paid call once; return its answer as the call reads it.

        It waits for a permit before each try, so a 429 to one order slows down all.
        The permit of an order that was taken is left in *sent*.

        Args:
            patient: A 429 never fails it: it waits for as long as the API says.

        Raises:
            OutcomeUnknownError: It was sent and its fate is not known.
            ApiModelsError: Refused, or never sent, after retries.
        """
        refused = failed = 0
        while True:
            permit = await self._limit.acquire()
            try:
                answer = await self._transport.send(call.request, sent)
                found = _read_paid(call, sent, answer)
            except BaseException:
                permit.release()
                raise
            throttled = isinstance(found, RateLimitError)
            if isinstance(found, RateLimitError):
                permit.throttled(found.retry_after)
            else:
                permit.taken()
            if not isinstance(found, (Failure, ApiModelsError)):
                sent.permit = permit
                return found
            permit.release()
            refused, failed = refused + throttled, failed + (not throttled)
            pause = pause_before_retry(
                call.request.kind,
                found,
                refused if throttled else failed,
                self._policy,
                self._draw(),
                patient=patient,
            )
            if pause is None:
                raise self._explain(call, sent, found, answer)
            sent.at = None  # that try is over and was not taken
            if not throttled or permit.deaf:
                await self._clock.sleep(pause)

    def _explain(
        self,
        call: Call[T],
        sent: Sent,
        trouble: Failure | ApiModelsError,
        answer: Reply | Failure,
    ) -> ApiModelsError:
        kind, info = call.request.kind, info_of(call.request, sent)
        salvaged = salvage_task_id(answer.body)
        if isinstance(trouble, Failure):
            return failure_error(kind, trouble, info, salvaged)
        name_the_base(trouble, answer.body, self._base_url, info.path)
        return answer_error(kind, trouble, info, salvaged)

    def _affordable(self, trouble: Failure | ApiModelsError) -> bool:
        # A 429 is no outage: the API is there, says when, and is asked 4 times at most.
        # Orders are not counted: one that may go again never left, and to the API it is
        # no request.
        if isinstance(trouble, RateLimitError):
            return True
        return self._retries.spend(self._clock.time())


def _read(call: Call[T], answer: Reply | Failure) -> T | Failure | ApiModelsError:
    if isinstance(answer, Failure):
        return answer
    try:
        return call.read(answer)
    except ApiModelsError as error:
        return error


def _read_paid(
    call: Call[T], sent: Sent, answer: Reply | Failure
) -> T | Failure | ApiModelsError:
    try:
        return _read(call, answer)
    except Exception as error:
        # A bug of ours, or a machine at its limits: the money is spent all the same.
        info = info_of(call.request, sent)
        msg = f"{info.method} {info.path} was answered, and reading that failed"
        task_id = salvage_task_id(answer.body)
        raise unknown_error(msg, info, task_id=task_id) from error
