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
import hashlib
import json
import logging
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from attrs import define, field

from apimodels_async._api import requests
from apimodels_async._api.prices import price_of
from apimodels_async._core.money.orders import (
    ORDERED_ANEW,
    NewOrder,
    Standing,
    addresses_in,
    check_key,
    digest_of,
    standing_of,
)
from apimodels_async._core.money.resume import OrderState, state_after
from apimodels_async._text import printable
from apimodels_async.errors import ApiModelsError, JournalError, SessionClosedError
from apimodels_async.models import ImageResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from decimal import Decimal

    from apimodels_async._core.money.orders import Claim, OrderRecord
    from apimodels_async._ports import Clock, Request
    from apimodels_async.models import AnyRequest
    from apimodels_async.stores._lease import Lease
    from apimodels_async.stores.store import OrderStore

T = TypeVar("T")

logger = logging.getLogger("apimodels_async.stores")

LOOK_S: Final = 0.25
"""Seconds between two looks at an order that another caller is sending."""
LOOK_MAX_S: Final = 2.0
UNDER_WAY_S: Final = 300.0
"""After which an order under way elsewhere counts as lost: its end may not have been
written down, though the session that claimed it lives on."""


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
    closed: bool = field(init=False, default=False)
    _renewing: asyncio.Task[None] | None = field(init=False, default=None)
    _writes: set[asyncio.Task[Any]] = field(init=False, factory=set)
    _unwritten: list[Callable[[], Awaitable[None]]] = field(init=False, factory=list)
    """What the store did not take, oldest first; tried again with each renewal."""
    _left: list[asyncio.Task[OrderRecord | None]] = field(init=False, factory=list)
    """Recoveries whose callers were cancelled."""
    contents: dict[str, str] = field(init=False, factory=dict)
    """Address of an upload -> digest of what it holds."""

    async def open(self) -> None:
        """
        Open the store, once.

        Raises:
            JournalError: It cannot be used.
        """
        if self._opened:
            return
        async with self._opening:
            if self.closed:
                msg = "the session is closed; open a new one"
                raise SessionClosedError(msg, charged=False)
            if not self._opened:
                await self.store.open()
                self._opened = True
                # Its first renewal is the first order's, or the first recovery's.
                self._renewing = asyncio.get_running_loop().create_task(
                    self._renew(), name="apimodels-lease"
                )

    async def _renew(self) -> None:
        while True:
            await self.clock.sleep(self.lease.seconds / 4)
            began = self.lease.times()
            try:
                await self.store.renew(self.owner)
            except Exception as error:  # noqa: BLE001  of a user's own store
                logger.warning("the lease on orders was not renewed: %r", error)
            else:
                self.lease.renewed(began)
            await self._write_again()

    async def _write_again(self) -> None:
        for write in tuple(self._unwritten):
            await self.keep(write, "still not in the store (%r)")
            # Not before: closing can cancel this, and then writes what is left. One
            # that failed is in the list twice, and stays at its end.
            self._unwritten.remove(write)

    async def keep(
        self, write: Callable[[], Awaitable[None]], trouble: str, *facts: object
    ) -> Exception | None:
        """
        Carry out *write*, and keep it for later if the store does not take it.

        Args:
            trouble: What the log is told then, with *facts* and the error in it.

        Returns:
            Why the store did not take it.
        """
        # The money is spent: a full disk must not hide what was bought for it.
        try:
            await write()
        except Exception as error:  # noqa: BLE001  of a user's own store
            logger.error(trouble, *facts, error)  # noqa: TRY400
            self._unwritten.append(write)
            return error
        return None

    async def uploaded(self, address: str, data: bytes) -> None:
        """Let the file at *address* count by what it holds."""
        digest = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
        self.contents[address] = digest

        async def write() -> None:
            await self.open()
            await self.store.uploaded(self.scope, address, digest)

        trouble = "not in the store: what was uploaded to %s (%r)"
        await asyncio.shield(self.write(self.keep(write, trouble, address)))

    async def record(
        self,
        request: AnyRequest,
        key: str | None,
        anew: frozenset[OrderState] = ORDERED_ANEW,
    ) -> SentOrder:
        """
        Return where *request* is to be written down.

        Args:
            key: Its idempotency key; None: a random one.

            anew: States after which it is ordered anew.

        Raises:
            InvalidRequestError: The key is no text, or *request* none to be sent.
            JournalError: The store cannot be used.
        """
        key = uuid.uuid4().hex if key is None else check_key(key)
        encoded = requests.encode(request)
        body = (encoded.body or b"").decode()
        return SentOrder(
            orders=self,
            idempotency_key=key,
            digest=await self.digest_of(encoded),
            model=requests.model_of(request),
            prompt=request.prompt,
            request=body,
            price=price_of(request),
            anew=anew,
        )

    async def digest_of(self, encoded: Request) -> str:
        """
        Return the digest of what is ordered by *encoded*.

        Raises:
            JournalError: The store cannot be used.
        """
        body = json.loads(encoded.body or b"{}")
        unknown = addresses_in(body) - self.contents.keys()
        if unknown:  # another process may have uploaded it
            await self.open()
            asking = self.write(self.store.contents(self.scope, sorted(unknown)))
            self.contents.update(await asyncio.shield(asking))
        return digest_of(encoded.path, body, self.contents)

    async def recover(self) -> OrderRecord | None:
        """Take over the oldest order that a dead owner left."""
        while True:
            late = bool(self._left)
            recovering = self._left.pop(0) if late else self.write(self._recover())
            try:
                found = await asyncio.shield(recovering)
            except asyncio.CancelledError:
                self._left.append(recovering)  # ours by now: the next caller gets it
                raise
            if found is not None or not late:
                return found

    async def _recover(self) -> OrderRecord | None:
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
        async with self._opening:
            self.closed = True
        if not self._opened:
            return
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])
        while self._writes:
            await asyncio.wait(set(self._writes))
        await self._write_again()
        if not self._let_go():  # hung up meanwhile
            return
        try:
            await self.store.release(self.owner)
        except Exception as error:  # noqa: BLE001  of a user's own store
            seconds = self.lease.seconds
            logger.warning("orders stay ours for %.0f s: %r", seconds, error)
        try:
            await self.store.aclose()
        except Exception as error:  # noqa: BLE001  same
            logger.warning("the store was not closed: %r", error)

    def _let_go(self) -> bool:
        """Return whether the store was open; from now on it is not."""
        opened, self._opened = self._opened, False
        return opened

    def hang_up(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """Return what is to be begun, without being waited for, as the loop ends."""
        self.closed = True
        if not self._let_go():
            return ()
        return self.store.release(self.owner), self.store.aclose()


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
    anew: frozenset[OrderState] = ORDERED_ANEW
    """States after which it is ordered anew."""
    hands_over: bool = True
    """Whether its end counts as handed over once a caller has it."""
    durable: bool = field(init=False, default=False)
    elsewhere: bool = field(init=False, default=False)
    """Whether another caller was seen sending it: it may be charged."""
    broken: JournalError | None = field(init=False, default=None)
    """Why the store no longer says what became of it."""
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
            except ApiModelsError as error:
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
        claiming = self.orders.write(self.orders.store.begin(new, self.anew))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            # It may be granted all the same, and nobody would ever send it.
            self.orders.write(self._withdraw(claiming))
            raise

    async def _withdraw(self, claiming: asyncio.Task[Claim]) -> None:
        await asyncio.wait([claiming])
        if claiming.cancelled() or claiming.exception() is not None:
            return
        claim = claiming.result()
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
        async def write() -> None:
            await self.orders.store.accepted(self.attempt, task_id)
            self.durable = True

        await self._keep(write)

    async def ended(self, outcome: ImageResult | ApiModelsError) -> None:
        """Write down how it ended, as far as *outcome* is an end."""
        await asyncio.shield(self.orders.write(self._end(outcome)))

    async def _end(self, outcome: ImageResult | ApiModelsError) -> None:
        end = self.orders.store.ended
        if isinstance(outcome, ImageResult):
            self._task_id = task_id = outcome.task_id or self._task_id
            state = OrderState.COMPLETED
            await self._keep(
                partial(end, self.attempt, state, task_id=task_id, result=outcome)
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
        error = printable(str(outcome))  # a lone surrogate could not be stored
        await self._keep(
            partial(end, self.attempt, state, task_id=task_id, error=error)
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

    async def saved(self, files: list[str]) -> None:
        """Write down where its pictures are."""
        if self.attempt:
            write = partial(self.orders.store.saved, self.attempt, files)
            await asyncio.shield(self.orders.write(self._keep(write)))

    def handed_over(self) -> None:
        """Write down that its end reached the caller, without being waited for."""
        # After the session closed nothing can be written: it is recovered once more.
        told = self._given or self.orders.closed
        if self.attempt and self.hands_over and not told:
            self._given = True
            write = partial(self.orders.store.handed_over, self.attempt)
            self.orders.write(self._keep(write))

    async def _keep(self, write: Callable[[], Awaitable[None]]) -> None:
        trouble = "not in the store: order %r, task %s (%r)"
        facts = (self.idempotency_key, self._task_id)
        error = await self.orders.keep(write, trouble, *facts)
        if error is not None and not isinstance(error, JournalError):
            error = JournalError(f"the store cannot be used: {error!r}")
        self.broken = self.broken or error
