"""
One order of a session in its store: claimed before it is sent, and followed to its end.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self, cast

from attrs import define, evolve, field

from apimodels_async._api import checks, requests
from apimodels_async._api.prices import price_of
from apimodels_async._core.money.orders import (
    ORDERED_ANEW,
    Claim,
    NewOrder,
    Standing,
    is_replaceable,
    standing_of,
)
from apimodels_async._core.money.resume import OrderState, state_after
from apimodels_async._io.shielded import outcome_of
from apimodels_async._text import printable
from apimodels_async.errors import ApiModelsError, JournalError, SessionClosedError
from apimodels_async.models import ImageResult
from apimodels_async.stores.store import ask

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from apimodels_async._core.money.orders import OrderRecord
    from apimodels_async._ports import Request
    from apimodels_async.models import AnyRequest
    from apimodels_async.stores._lease import Lease
    from apimodels_async.stores.sent import SentOrders

logger: logging.Logger = logging.getLogger("apimodels_async.stores")

LOOK_S: Final = 0.25
"""Seconds between two looks at an order that another caller is sending."""
LOOK_MAX_S: Final = 2.0
UNDER_WAY_S: Final = 300.0
"""After which an order under way elsewhere counts as lost: its end may not have been
written down, though the session that claimed it lives on."""


@define(eq=False, repr=False, kw_only=True)
class SentOrder:
    """Where one order is written down: an ``EndListener``, before it is sent too."""

    orders: SentOrders
    what: NewOrder | OrderRecord
    """What is to be claimed, but for the nonce; or what was, in an earlier session."""
    encoded: Request | None = None
    """What is sent if no callback address of ours is added; None: not known."""
    anew: frozenset[OrderState] = ORDERED_ANEW
    """States after which it is ordered anew."""
    hands_over: bool = True
    """Whether its end counts as handed over once a caller has it."""
    durable: bool = field(init=False, default=False)
    """Whether its task, or how it ended, would be known after a crash."""
    named: bool = True
    """Whether others may know its idempotency key."""
    elsewhere: bool = field(init=False, default=False)
    """Whether another caller was seen sending it, or may be: it may be charged."""
    broken: ApiModelsError | None = field(init=False, default=None)
    """Why the store no longer says what became of it."""
    attempt: int = field(init=False, default=0)
    """0: not recorded."""
    _task_id: str | None = field(init=False, default=None)
    _settling: asyncio.Task[None] | None = field(init=False, default=None)
    _outcome: ImageResult | ApiModelsError | None = field(init=False, default=None)
    _given: bool = field(init=False, default=False)

    @classmethod
    async def record(
        cls,
        orders: SentOrders,
        request: AnyRequest,
        key: str | Callable[[str], str] | None,
        *,
        anew: frozenset[OrderState] = ORDERED_ANEW,
        hands_over: bool = True,
        **more: Any,
    ) -> Self:
        """
        Return where *request* is to be written down.

        Args:
            key: Its idempotency key, or what makes it of the request's digest; None: a
                random one.

            anew: States after which it is ordered anew.

            hands_over: Whether its end counts as handed over once a caller has it.

            more: Of the order, or instead of what the request says.

        Raises:
            InvalidRequestError: The key is no text, or *request* none to be sent.
            JournalError: The store cannot be used.
        """
        encoded = requests.encode(request)
        digest = await orders.digest_of(encoded)
        if callable(key):
            key = key(digest)
        name = uuid.uuid4().hex if key is None else checks.check_key(key)
        values: dict[str, Any] = {
            "scope": orders.scope,
            "idempotency_key": name,
            "digest": digest,
            "model": requests.model_of(request),
            "prompt": request.prompt,
            "request": (encoded.body or b"").decode(),
            "price": price_of(request),
            "owner": orders.owner,
            "nonce": None,
        }
        return cls(
            orders=orders,
            what=NewOrder(**values | more),
            encoded=encoded,
            anew=anew,
            hands_over=hands_over,
            named=key is not None,
        )

    @classmethod
    def follow(cls, orders: SentOrders, known: OrderRecord) -> Self:
        """Return the log of a recovered order: its end counts once it is acked."""
        log = cls(orders=orders, what=known, hands_over=False)
        log.take_up(known)
        return log

    @property
    def idempotency_key(self) -> str:
        """Its name; a random one where it was given none."""
        return self.what.idempotency_key

    @property
    def leave(self) -> Lease:
        """What must hold when it is sent: the others may take us for dead."""
        return self.orders.lease

    async def look(self) -> OrderRecord | None:
        """
        Return what became of it before, if that is an answer, and follow it.

        Raises:
            JournalError: The store cannot be used.
        """
        await self.orders.open()
        find, scope = self.orders.store.find, self.orders.scope
        looking = self.orders.write(ask(find, scope, self.idempotency_key))
        known = await outcome_of(looking)
        if known is None or is_replaceable(known, self.anew):
            return None
        if standing_of(known, self.what.digest) is Standing.UNDER_WAY:
            return None
        self.take_up(known)
        return known

    async def begin(self, nonce: str | None) -> OrderRecord | None:
        """
        Claim the order, durable on return.

        Returns:
            None; or what became of it, where it was ordered before: it is not sent.

        Raises:
            InvalidRequestError: Its key names another request.
            JournalError: It cannot be written down, and is not to be sent.
        """
        await self.orders.open()
        # What is followed is there, and is not begun.
        new = evolve(cast("NewOrder", self.what), nonce=nonce)
        pause, until = LOOK_S, self.orders.clock.time() + UNDER_WAY_S
        while True:
            began, seen = self.orders.lease.times(), self.elsewhere
            self.elsewhere = seen or self.named  # until the store answers
            try:
                claim = await self._claim(new)
            except ApiModelsError as error:
                if seen:
                    error.charged = None
                raise
            self.orders.lease.renewed(began)
            if claim.granted:
                self.attempt, self.elsewhere = claim.record.attempt, False
                self._task_id, self.durable = None, False  # those of the one before
                return None
            standing = standing_of(claim.record, self.what.digest)
            late = self.orders.clock.time() >= until
            if standing is not Standing.UNDER_WAY or late:
                self.take_up(claim.record)
                return claim.record
            self.elsewhere = True
            await self.orders.clock.sleep(pause)
            pause = min(pause * 1.5, LOOK_MAX_S)

    async def _claim(self, new: NewOrder) -> Claim:
        claiming = self.orders.write(self._ask_to_begin(new))
        try:
            return await outcome_of(claiming)
        except asyncio.CancelledError:
            # It may be granted all the same, and nobody would ever send it.
            self.orders.write(self._withdraw(claiming))
            raise

    async def _ask_to_begin(self, new: NewOrder) -> Claim:
        claim: object = await ask(self.orders.store.begin, new, self.anew)
        if not isinstance(claim, Claim):  # the store is a user's own
            msg = f"begin() of the store answered {claim!r}, which is no Claim"
            raise JournalError(msg)
        return claim

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
        """Write down its task; what cannot be written is logged, and not raised."""
        self._task_id = task_id
        await outcome_of(self.orders.write(self._accept(task_id)))

    async def may_have(self, task_id: str) -> bool:
        """Return whether no other order is known to have it; raises nothing."""
        orders = self.orders
        asking = orders.write(ask(orders.store.find_task, orders.scope, task_id))
        try:
            known = await outcome_of(asking)
        except JournalError as error:
            logger.warning("task %s is given to no order yet: %r", task_id, error)
            return False
        return known is None or known.attempt == self.attempt

    async def _accept(self, task_id: str) -> None:
        async def write() -> None:
            await self.orders.store.accepted(self.attempt, task_id)
            self.durable = True

        await self._keep(write)

    async def ended(self, outcome: ImageResult | ApiModelsError) -> None:
        """Write down how it ended, if *outcome* is an end; raises nothing."""
        await outcome_of(self.orders.write(self._end(outcome)))

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
        # Of a batch that was left: its next run asks for that task.
        left = self.orders.closed and self.durable
        if self.attempt and not left and outcome is not self._outcome:
            self._outcome = outcome
            self._settling = self.orders.write(self._end(outcome))

    async def written(self) -> None:
        """Wait until how it ended is in the store, or that is in the log."""
        if self._settling is not None:
            await outcome_of(self._settling)

    def found(self, task_id: str) -> None:
        """Write down the task of an order that counted as lost."""
        self._task_id = task_id
        self.orders.write(self._accept(task_id))

    async def saved(self, files: list[str]) -> None:
        """Write down where its pictures are."""
        write = partial(self.orders.store.saved, self.attempt, files)
        await outcome_of(self.orders.write(self._keep(write)))

    def handed_over(self) -> None:
        """Write down that its end reached the caller, without being waited for."""
        # After the session closed nothing can be written: it is recovered once more.
        told = self._given or self.orders.closed
        if self.attempt and self.hands_over and not told:
            self._given = True
            self.orders.handed_over(self.attempt)

    def given(self) -> None:
        """Write down that its end reached a caller who was not to be told before."""
        self.hands_over = True
        self.handed_over()

    async def _keep(self, write: Callable[[], Awaitable[None]]) -> None:
        trouble = "not in the store: order %r, task %s (%r)"
        facts = (self.idempotency_key, self._task_id)
        error = await self.orders.keep(lambda: ask(write), trouble, *facts)
        self.broken = self.broken or error
