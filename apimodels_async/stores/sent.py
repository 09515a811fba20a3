"""
One session's orders in a store: claimed before they are sent, and followed to the end.

Rules of this file:
1. No record, no order. What cannot be recorded afterwards is logged with its task id,
   and the paid result is handed over all the same.
2. What was written is awaited only where somebody would be lied to without it: before
   sending, and before a handle or a picture is given out. The rest is written by tasks
   of ours, which closing waits for.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from attrs import define, field

from apimodels_async._api import requests
from apimodels_async._api.prices import price_of
from apimodels_async._core.money.orders import (
    LEASE_S,
    ORDERED_ANEW,
    NewOrder,
    Standing,
    check_key,
    digest_of,
    standing_of,
)
from apimodels_async._core.money.resume import OrderState, state_after
from apimodels_async.errors import ApiModelsError, JournalError, SessionClosedError
from apimodels_async.models import ImageResult

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from decimal import Decimal

    from apimodels_async._core.money.orders import Claim, OrderRecord
    from apimodels_async._ports import Clock
    from apimodels_async.models import AnyRequest
    from apimodels_async.stores.store import OrderStore

    Again = Callable[[], Coroutine[Any, Any, object]]

T = TypeVar("T")

logger = logging.getLogger("apimodels_async.stores")

LOOK_S: Final = 0.25
"""Seconds between two looks at an order that another caller is sending."""
LOOK_MAX_S: Final = 2.0
UNDER_WAY_S: Final = 300.0
"""After which an order under way elsewhere counts as lost: its end may not have been
written down, though the session that sent it lives on."""
SPARE_S: Final = 10.0
"""Seconds before its end from which a lease counts as ended: clocks differ."""


@define(eq=False)
class Lease:
    """
    How long the others will take this session for alive.

    By both clocks: the monotonic one stands still while a machine sleeps, and the
    other one may be set.
    """

    _clock: Clock
    _until: float = field(init=False, default=float("-inf"))
    _wall_until: float = field(init=False, default=float("-inf"))

    def times(self) -> tuple[float, float]:
        """Return the moment from which a renewal that begins now will count."""
        return self._clock.time(), self._clock.utcnow().timestamp()

    def renewed(self, began: tuple[float, float]) -> None:
        """Note that the store renewed it; that was asked for at *began*."""
        self._until = max(self._until, began[0] + LEASE_S - SPARE_S)
        self._wall_until = began[1] + LEASE_S - SPARE_S

    @property
    def held(self) -> bool:
        """Whether it has not run out."""
        now, wall = self.times()
        return now < self._until and wall < self._wall_until


@define(eq=False)
class SentOrders:
    """What one session has in a store."""

    store: OrderStore
    scope: str
    clock: Clock
    lease: Lease
    owner: str = field(init=False, factory=lambda: uuid.uuid4().hex)
    _opening: asyncio.Lock = field(init=False, factory=asyncio.Lock)
    _opened: bool = field(init=False, default=False)
    _closed: bool = field(init=False, default=False)
    _renewing: asyncio.Task[None] | None = field(init=False, default=None)
    _writes: set[asyncio.Task[Any]] = field(init=False, factory=set)
    unwritten: dict[tuple[int, str], Again] = field(init=False, factory=dict)
    """Attempt and kind of word -> what writes it, where the store failed."""
    contents: dict[str, str] = field(init=False, factory=dict)
    """Address of an upload of ours -> digest of what it holds."""

    async def open(self) -> None:
        """
        Open the store, once.

        Raises:
            JournalError: It cannot be used.
            SessionClosedError: The session has closed.
        """
        if self._opened and not self._closed:
            return
        async with self._opening:
            if self._closed:
                msg = "the session is closed; open a new one"
                raise SessionClosedError(msg)
            if not self._opened:
                await self.store.open()
                self._opened = True
                # Its first renewal is the first order's, or the first recovery's.
                self._renewing = asyncio.get_running_loop().create_task(
                    self._renew(), name="apimodels-lease"
                )

    async def _renew(self) -> None:
        while True:
            await self.clock.sleep(LEASE_S / 4)
            began = self.lease.times()
            try:
                await self.store.renew(self.owner)
            except JournalError as error:
                logger.warning("the lease on orders was not renewed: %s", error)
            else:
                self.lease.renewed(began)
                await self._catch_up()

    async def _catch_up(self) -> None:
        """Write down what the store did not take before."""
        for place, again in list(self.unwritten.items()):
            if self.unwritten.pop(place, None) is not None:
                await asyncio.shield(self.write(again()))
            if place in self.unwritten:  # it still takes nothing
                return

    def record(self, request: AnyRequest, key: str | None) -> SentOrder:
        """
        Return where *request* is to be written down.

        Args:
            key: Its idempotency key; None: a random one.

        Raises:
            InvalidRequestError: The key is no text, or *request* none to be sent.
        """
        key = uuid.uuid4().hex if key is None else check_key(key)
        encoded = requests.encode(request)
        body = (encoded.body or b"").decode()
        return SentOrder(
            orders=self,
            idempotency_key=key,
            digest=digest_of(encoded.path, json.loads(body), self.contents),
            model=requests.model_of(request),
            prompt=request.prompt,
            request=body,
            price=price_of(request),
        )

    async def recover(self) -> OrderRecord | None:
        """
        Take over the oldest order that a dead owner left.

        Raises:
            JournalError: The store cannot be used.
            SessionClosedError: The session has closed: it would take it with it.
        """
        await self.open()
        began = self.lease.times()
        record = await self.store.recover(self.scope, self.owner)
        self.lease.renewed(began)
        return record

    def follow(self, known: OrderRecord) -> SentOrder:
        """Return the log of a recovered order: its end counts once it is acked."""
        log = SentOrder(
            orders=self,
            idempotency_key=known.idempotency_key,
            digest=known.digest,
            model=known.model,
            prompt=known.prompt,
            request=known.request,
            price=known.price,
            hands_over=False,
        )
        log.take_up(known)
        return log

    def write(self, step: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Carry out *step* in a task of ours: whoever waits for it may be cancelled."""
        task = asyncio.get_running_loop().create_task(step, name="apimodels-record")
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        return task

    async def aclose(self) -> None:
        """Finish what is being written, and let the store go; raises nothing."""
        async with self._opening:  # nobody opens it meanwhile, and none will
            self._closed = True
        if not self._opened:
            return
        if self._renewing is not None:
            self._renewing.cancel()
        while self._writes:
            await asyncio.wait(set(self._writes))
        await self._catch_up()
        try:
            await self.store.release(self.owner)
        except JournalError as error:
            logger.warning("orders stay ours for %.0f s: %s", LEASE_S, error)
        await self.store.aclose()


@define(eq=False, kw_only=True)
class SentOrder:
    """The record of one order: an ``OrderLog``."""

    orders: SentOrders
    idempotency_key: str
    digest: str
    model: str
    prompt: str | None
    request: str
    price: Decimal | None
    hands_over: bool = True
    """Whether its end counts as handed over once a caller has it."""
    durable: bool = field(init=False, default=False)
    elsewhere: bool = field(init=False, default=False)
    """Whether another caller was seen sending it: it may be charged."""
    attempt: int = field(init=False, default=0)
    """0: not recorded."""
    _task_id: str | None = field(init=False, default=None)
    _given: bool = field(init=False, default=False)

    @property
    def leave(self) -> Lease:
        """What must hold when it is sent: the others may take us for dead."""
        return self.orders.lease

    async def begin(self, nonce: str | None) -> OrderRecord | None:
        """
        Claim the order; return None, or what became of it before.

        Raises:
            InvalidRequestError: Its key names another request.
            JournalError: The store cannot be used.
        """
        await self.orders.open()
        new = NewOrder(
            scope=self.orders.scope,
            idempotency_key=self.idempotency_key,
            digest=self.digest,
            model=self.model,
            prompt=self.prompt,
            request=self.request,
            price=self.price,
            owner=self.orders.owner,
            nonce=nonce,
        )
        pause, until = LOOK_S, self.orders.clock.time() + UNDER_WAY_S
        while True:
            began = self.orders.lease.times()
            try:
                claim = await self._claim(new)
            except JournalError as error:
                if self.elsewhere:
                    error.charged = None
                raise
            self.orders.lease.renewed(began)
            if claim.granted:
                self.attempt, self.elsewhere = claim.record.attempt, False
                return None
            standing = standing_of(claim.record, self.digest)
            late = self.orders.clock.time() >= until
            if standing is not Standing.UNDER_WAY or late:
                self.take_up(claim.record)
                return claim.record
            self.elsewhere = True
            await self.orders.clock.sleep(pause)
            pause = min(pause * 1.5, LOOK_MAX_S)

    async def _claim(self, new: NewOrder) -> Claim:
        claiming = self.orders.write(self.orders.store.begin(new, ORDERED_ANEW))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            # It may be granted all the same, and nobody would ever send it.
            self.orders.write(self._withdraw(claiming))
            raise

    async def _withdraw(self, claiming: asyncio.Task[Claim]) -> None:
        with suppress(JournalError):
            claim = await claiming
            if claim.granted:
                self.attempt = claim.record.attempt
                msg = "its caller was cancelled before it was sent"
                await self.ended(SessionClosedError(msg, charged=False))

    def take_up(self, known: OrderRecord) -> None:
        """Follow an attempt that is there already."""
        self.attempt, self._task_id = known.attempt, known.task_id
        self.durable = known.task_id is not None

    async def accepted(self, task_id: str) -> None:
        """Write down its task."""
        self._task_id = task_id
        await asyncio.shield(self.orders.write(self._accept(task_id)))

    async def _accept(self, task_id: str) -> None:
        store = self.orders.store
        self.durable = await self._tried(
            store.accepted(self.attempt, task_id), lambda: self._accept(task_id)
        )

    async def ended(self, outcome: ImageResult | ApiModelsError) -> None:
        """Write down how it ended, as far as *outcome* is an end."""
        await asyncio.shield(self.orders.write(self._end(outcome)))

    async def _end(self, outcome: ImageResult | ApiModelsError) -> None:
        store = self.orders.store
        if isinstance(outcome, ImageResult):
            await self._tried(
                store.ended(
                    self.attempt,
                    OrderState.COMPLETED,
                    task_id=outcome.task_id,
                    result=outcome,
                ),
                lambda: self._end(outcome),
            )
            return
        outcome.idempotency_key = self.idempotency_key
        state = state_after(outcome, self._task_id)
        task_id = outcome.task_id or self._task_id
        if state is OrderState.ACCEPTED:
            if self._task_id is None and task_id is not None:
                self._task_id = task_id
                await self._accept(task_id)
            return
        await self._tried(
            store.ended(self.attempt, state, task_id=task_id, error=str(outcome)),
            lambda: self._end(outcome),
        )

    def settled(self, outcome: ImageResult | ApiModelsError) -> None:
        """Write down how it ended, without being waited for."""
        if isinstance(outcome, ApiModelsError):
            outcome.idempotency_key = self.idempotency_key
        if self.attempt:
            self.orders.write(self._end(outcome))

    def found(self, task_id: str) -> None:
        """Write down the task of an order that counted as lost."""
        self._task_id = task_id
        self.orders.write(self._accept(task_id))

    def handed_over(self) -> None:
        """Write down that its end reached the caller, without being waited for."""
        if self.attempt and self.hands_over and not self._given:
            self._given = True
            self.orders.write(self._hand_over())

    async def _hand_over(self) -> None:
        write = self.orders.store.handed_over(self.attempt)
        await self._tried(write, self._hand_over, "handed over")

    async def _tried(
        self,
        write: Coroutine[Any, Any, None],
        again: Callable[[], Coroutine[Any, Any, object]],
        word: str = "state",
    ) -> bool:
        # The money is spent: a full disk must not hide what was bought for it.
        unwritten = self.orders.unwritten
        unwritten.pop((self.attempt, word), None)  # this word is newer
        try:
            await write
        except JournalError as error:
            logger.error(  # noqa: TRY400
                "not in the store: order %r, task %s (%s)",
                self.idempotency_key,
                self._task_id,
                error,
            )
            unwritten[self.attempt, word] = again
            return False
        return True
