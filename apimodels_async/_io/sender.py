"""
Sends a request until it is answered, refused, or of unknown fate.

A paid request (an *order*) runs in a task of its own, which this sender holds:
cancelling the caller must not cut a request that may already have been charged.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from attrs import define, field

from apimodels_async._api.responses import salvage_task_id
from apimodels_async._core.money.retry import (
    answer_error,
    failure_error,
    pause_before_retry,
    unknown_error,
)
from apimodels_async._core.money.retry_budget import RetryBudget
from apimodels_async._ports import Reply, Sent
from apimodels_async.errors import (
    ApiModelsError,
    OutcomeUnknownError,
    RateLimitError,
    RequestInfo,
    SessionClosedError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from apimodels_async._ports import Clock, Failure, Kind, Request, Transport
    from apimodels_async.policies import RetryPolicy

T = TypeVar("T")
Rescue: TypeAlias = "Callable[[OutcomeUnknownError], Awaitable[T | None]]"


@define(eq=False)
class Order(Generic[T]):
    """
    One paid request under way.
    """

    request: Request
    sent: Sent = field(factory=Sent)
    """Of the current try; a refused try is replaced before the next one."""
    abandoned: bool = False
    """Its caller was cancelled after it was sent."""


@define(eq=False)
class Sender:
    """
    The retry loop around a transport, and the owner of orders.
    """

    _transport: Transport
    _clock: Clock
    _policy: RetryPolicy
    _draw: Callable[[], float]
    """Uniform in 0-1: the jitter."""
    _places: int = 100
    """Most requests at once. More would queue inside the connection pool, where each
    costs memory and the wait counts as a timeout."""
    _gate: asyncio.Semaphore = field(init=False)
    _budget: RetryBudget = field(init=False, factory=RetryBudget)
    unknown: int = field(init=False, default=0)
    """Orders of unknown fate so far."""
    orphans: list[Any] = field(init=False, factory=list[Any])
    """What became of orders whose caller was cancelled: products and unknown fates."""
    _orders: dict[asyncio.Task[object], Order[object]] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self._gate = asyncio.Semaphore(self._places)

    async def call(self, request: Request, read: Callable[[Reply], T]) -> T:
        """
        Send a request that costs nothing and return its answer as *read* reads it.

        Raises:
            ApiModelsError: Refused, unreadable, or nobody answered, after retries.
        """
        order: Order[T] = Order(request)
        return await self._send(order, read)

    async def order(
        self,
        request: Request,
        read: Callable[[Reply], T],
        rescue: Rescue[T] | None = None,
    ) -> T:
        """
        Send a paid request once; return its answer as *read* reads it.

        If the caller is cancelled after the headers left, the request goes on, and
        *read* still sees its answer. If its fate is unknown, *rescue* may find it.

        Raises:
            OutcomeUnknownError: It was sent and its fate is not known.
            ApiModelsError: It was refused, or never sent.
        """
        order: Order[T] = Order(request)
        runner = asyncio.get_running_loop().create_task(
            self._see_through(order, read, rescue),
            name=f"apimodels-order {request.path}",
        )
        self._orders[runner] = order  # type: ignore[assignment]  # held, not read
        runner.add_done_callback(self._forget)
        before = _cancellations()
        try:
            return await asyncio.shield(runner)
        except asyncio.CancelledError:
            if not runner.cancelled() or _cancellations() > before:
                self._abandon(order, runner)
                raise
        raise self._cut(order)  # by abort(), not by our caller

    def _abandon(self, order: Order[Any], runner: asyncio.Task[Any]) -> None:
        if runner.done():  # in this very turn: _forget() still saw a reader
            self._keep(self._fate(order, runner))
        elif order.sent.at is None:
            runner.cancel()  # nothing left this machine: nothing to keep
        else:
            order.abandoned = True

    def _forget(self, runner: asyncio.Task[object]) -> None:
        order = self._orders.pop(runner)
        fate = self._fate(order, runner)
        self.unknown += isinstance(fate, OutcomeUnknownError)
        if order.abandoned:
            self._keep(fate)

    def _fate(self, order: Order[Any], runner: asyncio.Task[Any]) -> object:
        if runner.cancelled():
            return self._cut(order)
        # Asked for, it counts as retrieved: an abandoned one has no reader.
        return runner.exception() or runner.result()

    def _keep(self, fate: object) -> None:
        if isinstance(fate, OutcomeUnknownError) or not isinstance(fate, BaseException):
            self.orphans.append(fate)

    def _cut(self, order: Order[Any]) -> ApiModelsError:
        if order.sent.at is None:
            return SessionClosedError(
                "the session closed before the request was sent", charged=False
            )
        info = _info(order.request, order.sent)
        return unknown_error(
            f"{info.method} {info.path} was cut when the session closed", info
        )

    async def _see_through(
        self,
        order: Order[T],
        read: Callable[[Reply], T],
        rescue: Rescue[T] | None = None,
    ) -> T:
        try:
            return await self._send(order, read)
        except OutcomeUnknownError as error:
            product = await rescue(error) if rescue is not None else None
            if product is None:
                raise
            return product

    async def _send(self, order: Order[T], read: Callable[[Reply], T]) -> T:
        attempt = 0
        self._budget.earn(self._clock.time())
        while True:
            attempt += 1
            order.sent = Sent()
            async with self._gate:
                answer = await self._transport.send(order.request, order.sent)
            trouble: Failure | ApiModelsError
            if isinstance(answer, Reply):
                try:
                    return read(answer)
                except ApiModelsError as error:
                    trouble = error
            else:
                trouble = answer
            pause = pause_before_retry(
                order.request.kind, trouble, attempt, self._policy, self._draw()
            )
            if pause is None or not self._affordable(order.request.kind, trouble):
                raise self._explain(order, trouble, answer)
            order.sent = Sent()  # that try is over and was not taken
            await self._clock.sleep(pause)

    def _affordable(self, kind: Kind, trouble: Failure | ApiModelsError) -> bool:
        # A 429 is no outage: the API is there, says when, and is asked 4 times at most.
        # A paid request that may go again never left: to the API it is no request, and
        # a moment without connections must not fail the orders beyond the tenth.
        if kind.paid or isinstance(trouble, RateLimitError):
            return True
        return self._budget.spend(self._clock.time())

    def _explain(
        self,
        order: Order[T],
        trouble: Failure | ApiModelsError,
        answer: Reply | Failure,
    ) -> ApiModelsError:
        info = _info(order.request, order.sent)
        salvaged = salvage_task_id(answer.body)
        if not isinstance(trouble, ApiModelsError):
            return failure_error(order.request.kind, trouble, info, salvaged)
        return answer_error(order.request.kind, trouble, info, salvaged)

    @property
    def under_way(self) -> int:
        """
        How many orders have no answer yet.
        """
        return len(self._orders)

    async def drain(self) -> None:
        """
        Wait until every order has its answer; their own timeouts bound this.
        """
        while self._orders:
            await asyncio.wait(set(self._orders))

    def abort(self) -> None:
        """
        Cut the orders still under way; those waiting are told the fate is unknown.
        """
        for runner in self._orders:
            runner.cancel()


def _cancellations() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0


def _info(request: Request, sent: Sent) -> RequestInfo:
    path, _, _ = request.path.partition("?")
    digest = hashlib.sha256(request.body).hexdigest()[:16] if request.body else None
    return RequestInfo(request.method, path, digest, sent.at, request.nonce)
