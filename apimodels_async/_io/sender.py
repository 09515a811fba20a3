"""
Sends a call until it is answered, refused, or of unknown fate: one retry loop for all.

Reading the answer is part of a try, because an HTTP 200 can carry a 429. What the
answer brings (a task to track, money spent) is the caller's, once, after the loop.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from attrs import define, field

from apimodels_async._api.refusals import salvage_task_id
from apimodels_async._core.money.retry import (
    answer_error,
    failure_error,
    info_of,
    pause_before_retry,
)
from apimodels_async._core.money.retry_budget import RetryBudget
from apimodels_async._ports import Reply, Sent
from apimodels_async.errors import ApiModelsError, RateLimitError

if TYPE_CHECKING:
    from collections.abc import Callable

    from apimodels_async._api.calls import Call
    from apimodels_async._ports import Clock, Failure, Kind, Transport
    from apimodels_async.policies import RetryPolicy

T = TypeVar("T")


@define(eq=False)
class Sender:
    """The retry loop around a transport."""

    _transport: Transport
    _clock: Clock
    _policy: RetryPolicy
    _draw: Callable[[], float]
    """Uniform in 0-1: the jitter."""
    _places: int = 100
    """Most requests at once. More would queue inside the connection pool, where each
    costs memory and the wait counts as a timeout."""
    _gate: asyncio.Semaphore = field(init=False)
    _retries: RetryBudget = field(init=False, factory=RetryBudget)

    def __attrs_post_init__(self) -> None:
        self._gate = asyncio.Semaphore(self._places)

    async def send(self, call: Call[T], sent: Sent | None = None) -> T:
        """
        Send *call* and return its answer as the call reads it.

        Args:
            sent: Says, while this waits and also if it is cancelled, whether a request
                is out that may have been taken.

        Raises:
            OutcomeUnknownError: A paid request was sent and its fate is not known.
            ApiModelsError: Refused, unreadable, or never sent, after retries.
        """
        sent = sent or Sent()
        kind, attempt = call.request.kind, 0
        self._retries.earn(self._clock.time())
        while True:
            attempt += 1
            async with self._gate:
                answer = await self._transport.send(call.request, sent)
            trouble: Failure | ApiModelsError
            if isinstance(answer, Reply):
                try:
                    return call.read(answer)
                except ApiModelsError as error:
                    trouble = error
            else:
                trouble = answer
            pause = pause_before_retry(
                kind, trouble, attempt, self._policy, self._draw()
            )
            if pause is None or not self._affordable(kind, trouble):
                raise _explain(call, sent, trouble, answer)
            sent.at = None  # that try is over and was not taken
            await self._clock.sleep(pause)

    def _affordable(self, kind: Kind, trouble: Failure | ApiModelsError) -> bool:
        # A 429 is no outage: the API is there, says when, and is asked 4 times at most.
        # A paid request that may go again never left: to the API it is no request, and
        # a moment without connections must not fail the orders beyond the tenth.
        if kind.paid or isinstance(trouble, RateLimitError):
            return True
        return self._retries.spend(self._clock.time())


def _explain(
    call: Call[T],
    sent: Sent,
    trouble: Failure | ApiModelsError,
    answer: Reply | Failure,
) -> ApiModelsError:
    kind, info = call.request.kind, info_of(call.request, sent)
    salvaged = salvage_task_id(answer.body)
    if isinstance(trouble, ApiModelsError):
        return answer_error(kind, trouble, info, salvaged)
    return failure_error(kind, trouble, info, salvaged)
