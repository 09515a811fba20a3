"""
The only file that buys: from a request value to what the API's answer brings.

Rules of this file:
1. Every order is sent by a task of ours, and by nothing else: a cancelled caller must
   not cut a request that may already have been charged.
2. The sender may repeat a request that was not taken; what was bought is registered,
   tracked and recorded once, after it.
3. What was bought stays with us (under way, or in ``orphans``) until the very step in
   which the caller's code gets it.

Theory of operation:
1. ``order()`` encodes the request, which is where bad input is refused, and starts the
   order's task: record, send, register, record. It waits for that task shielded. What
   was ordered before under the same idempotency key is not sent: what became of it is
   the product.
2. A cancelled waiter cancels an order whose headers have not left, as nothing is bought
   by it. Any other is marked abandoned, and what becomes of it is an orphan.
3. Between two awaits nothing else runs: the product is registered in the step in which
   its answer was read, so there is no moment in which a task is bought and unknown.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from attrs import define, field

from apimodels_async._api import calls, requests
from apimodels_async._core.money.resume import OrderState
from apimodels_async._core.money.retry import info_of, unknown_error
from apimodels_async._core.polling.entry import Entry
from apimodels_async._io.shielded import end_of
from apimodels_async._text import printable
from apimodels_async.errors import (
    ApiModelsError,
    GenerationFailedError,
    OutcomeUnknownError,
    SessionClosedError,
)
from apimodels_async.handle import PaidRequest, TaskHandle, is_cut
from apimodels_async.models import ImageResult, TaskSnapshot, TaskState

if TYPE_CHECKING:
    from collections.abc import Callable

    from apimodels_async._core.counters import Counters
    from apimodels_async._core.money.orders import OrderRecord
    from apimodels_async._io.pacer import StartPacer
    from apimodels_async._io.sender import Sender
    from apimodels_async._io.tracker import Tracker
    from apimodels_async._lost_orders import LostOrders
    from apimodels_async._ports import EndListener, Observer
    from apimodels_async.handle import Product
    from apimodels_async.models import AnyRequest, ImageRequest
    from apimodels_async.stores.sent_order import SentOrder
    from apimodels_async.webhooks.expected import ExpectedCallbacks


@define(eq=False, repr=False)
class Ordering:
    """Buys for one session. Must be made in its loop."""

    _sender: Sender
    _tracker: Tracker
    _pacer: StartPacer
    _counters: Counters
    _callbacks: ExpectedCallbacks | None
    observer: Observer
    lost: LostOrders
    orphans: list[Product | OutcomeUnknownError] = field(init=False, factory=list)
    """What became of orders whose caller was cancelled; oldest first."""
    _unheard: dict[asyncio.Task[Product], PaidRequest] = field(init=False, factory=dict)
    """Orders that have ended, and whose callers have not run since."""
    _under_way: dict[asyncio.Task[Product], PaidRequest] = field(
        init=False, factory=dict
    )
    _closed: SessionClosedError | None = field(init=False, default=None)
    _on_idle: Callable[[], object] | None = field(init=False, default=None)

    async def complete(
        self, request: AnyRequest, record: SentOrder | None = None
    ) -> ImageResult:
        """Order *request* and wait for its result; raises as ``images.generate``."""
        await self._pacer.take()
        product: Product | None = None
        try:
            with self.observer.ordering(request, _key_of(record)) as accepted:
                product = await self.order(request, record)
                if isinstance(product, TaskHandle):
                    accepted(product.task_id)
                    result = await product
                else:
                    result = product
        except ApiModelsError:  # carries what is known of the task
            raise
        except BaseException:  # cancelled, or the observer raised
            self.keep(product)
            raise
        if record is not None:
            record.handed_over()  # no await from here on: the caller has it
        return result

    async def submit(
        self, request: ImageRequest, record: SentOrder | None = None
    ) -> TaskHandle:
        """Order *request* and return its task's handle; raises as ``images.submit``."""
        await self._pacer.take()
        product: Product | None = None
        try:
            with self.observer.ordering(request, _key_of(record)) as accepted:
                product = await self.order(request, record)
                if isinstance(product, TaskHandle):
                    accepted(product.task_id)
        except BaseException:
            self.keep(product)
            raise
        return self._handle(product, request.model, record)

    async def follow(self, record: SentOrder, known: OrderRecord) -> TaskHandle:
        """Return the handle of what was recorded before; as ``take_up``."""
        product = await self.take_up(record, known)
        return self._handle(product, known.model, record)

    def _handle(
        self, product: Product, model: str, record: SentOrder | None
    ) -> TaskHandle:
        if isinstance(product, TaskHandle):
            return product
        # One that was bought before may have a task.
        task_id, state = product.task_id or "", TaskState.COMPLETED
        done = Entry(task_id, model, state, product, record=record)
        return TaskHandle(done, self._tracker)

    async def order(
        self,
        request: AnyRequest,
        record: SentOrder | None = None,
        *,
        patient: bool = False,
    ) -> Product:
        """
        Send *request* once; return what its answer brings, or else its callback.

        Args:
            patient: A 429 never fails it.

        Raises:
            InvalidRequestError: Refused here. Nothing was sent.
            JournalError: *record* cannot be begun. Nothing was sent.
            OutcomeUnknownError: It was sent and its fate is not known.
            ApiModelsError: It was refused, or never sent.
        """
        paid = self._prepare(request, record)
        paid.patient = patient
        self._check_open()
        runner = asyncio.get_running_loop().create_task(
            self._carry_out(paid), name=f"apimodels-order {paid.call.request.path}"
        )
        self._under_way[runner] = paid
        if record is not None:
            record.orders.hold_open(runner)
        runner.add_done_callback(self._ended)
        # Not in a finally block: that also runs when a dead loop's coroutine is
        # collected, and then nobody has heard.
        try:
            await end_of(runner)
        except asyncio.CancelledError:  # of our caller; abort() ends the wait alone
            self._abandon(paid, runner)
            raise
        self._ended(runner)  # an eager task may have ended before we waited for it
        self._unheard.pop(runner, None)
        return paid.cut() if runner.cancelled() else runner.result()

    def _prepare(self, request: AnyRequest, record: SentOrder | None) -> PaidRequest:
        callbacks, expected = self._callbacks, None
        model, group = requests.model_of(request), requests.group_of(request)
        if callbacks is None or requests.callback_of(request) is not None:
            encoded = None if record is None else record.encoded
            call = calls.create(request, encoded=encoded)
        else:
            nonce = callbacks.callback.new_nonce()
            address = callbacks.callback.address(nonce)
            call = calls.create(requests.call_back(request, address), nonce)
            expected = callbacks.expect(model, record, nonce)
        return PaidRequest(model, group, call, record, expected)

    def _check_open(self, bought: str | None = None) -> None:
        if self._closed is not None:
            error = self._closed.fresh(task_id=bought)
            if bought is not None:  # that task may be charged; no order was unsent
                error.charged = None
            raise error
        self._tracker.check_usable(bought)

    async def _carry_out(self, paid: PaidRequest) -> Product:
        """The straight line of one order, in its own task."""
        record = paid.record
        if record is None:
            return await self._buy(paid)
        known = await record.begin(paid.call.request.nonce)
        if known is not None:
            paid.known = True
            paid.product = await self.take_up(record, known)
            return paid.product
        try:
            self._check_open()  # the session may have closed since
            product = await self._buy(paid)
        except ApiModelsError as error:
            await record.ended(error)
            raise
        except (Exception, asyncio.CancelledError):
            # Cut, or a user's limit raised. Waited for, as this task is waited for when
            # the loop ends: what was never sent must not count as lost for ever.
            await record.ended(paid.cut_error())
            raise
        if isinstance(product, TaskHandle):
            await record.accepted(product.task_id)
        else:
            await record.ended(product)
        return product

    async def _buy(self, paid: PaidRequest) -> Product:
        product: Product | OutcomeUnknownError
        try:
            created = await self._sender.order(
                paid.call, paid.sent, patient=paid.patient
            )
            product = self._adopt(paid, created)
        except OutcomeUnknownError as error:
            product = error
        if isinstance(product, OutcomeUnknownError):
            # Outside of the block: no error of ours has another behind it.
            product = await self.lost.find(paid, product)
        paid.product = product
        return product

    async def look(self, record: SentOrder) -> OrderRecord | None:
        """Return what became of an order before, if that is an answer."""
        return await record.look()

    async def take_up(self, record: SentOrder, known: OrderRecord) -> Product:
        """
        Return what became of an order that was recorded before; nothing is sent.

        Raises:
            GenerationFailedError: It failed, and is not to be ordered anew.
            OutcomeUnknownError: Nobody knows.
        """
        if known.result is not None:
            return known.result
        if known.state is OrderState.ACCEPTED:
            return self.attach(known.task_id or "", known.model, record)
        if known.state is OrderState.FAILED:
            why = printable(known.error or "the generation failed")
            raise GenerationFailedError(why, fail_message=why, task_id=known.task_id)
        return await self.lost.find_recorded(record, known)

    def _adopt(self, paid: PaidRequest, created: TaskSnapshot | ImageResult) -> Product:
        entry: Entry | None = None
        product: Product
        if isinstance(created, ImageResult):
            product = created
        else:
            entry = self._track(paid, created)
            product = TaskHandle(entry, self._tracker)
            if not entry.done:  # until it ends; see the tracker
                entry.permit, paid.sent.permit = paid.sent.permit, None
        if self._callbacks is not None and paid.expected is not None:
            self._callbacks.answered(paid.expected, entry)
        self._counters.accepted(product)
        return product

    def _track(self, paid: PaidRequest, created: TaskSnapshot) -> Entry:
        ledger, task_id = self._tracker.ledger, created.task_id
        # One connection's answers can shift by one; two orders never share a task, not
        # even one that has ended since. The id says nothing about this order then.
        if ledger.knows(task_id):
            info = info_of(paid.call.request, paid.sent)
            msg = (
                f"{info.method} {info.path} was sent, and the answer named task "
                f"{task_id} for a second order"
            )
            raise unknown_error(msg, info)
        ledger.claimed.add(task_id)
        entry = Entry(
            task_id,
            paid.model,
            created.state,
            group=paid.group,
            expects_callback=paid.expected is not None,
            record=paid.record,
        )
        entry.outcome = created.result or created.error
        if entry.outcome is not None:
            self._counters.ended(entry.task_id, entry.outcome)
            if entry.record is not None:
                entry.record.settled(entry.outcome)
            return entry
        try:
            self._tracker.watch(entry)
        except SessionClosedError as error:  # the tracker broke since: keep the id
            error.task_id, error.charged = task_id, None
            error.task_ids = (*error.task_ids, task_id)
            entry.outcome = error
        return entry

    def take_orphans(self) -> tuple[Product | OutcomeUnknownError, ...]:
        """Return the orphans, oldest first, and keep them no longer."""
        taken = tuple(self.orphans)
        self.drop_orphans(len(taken))
        return taken

    def drop_orphans(self, count: int) -> None:
        """Forget the oldest *count* orphans: somebody has them."""
        del self.orphans[:count]  # a statement: no call that Ctrl-C could follow

    def adopt_late(self, entry: Entry) -> None:
        """Keep a task whose order was already reported as of unknown fate."""
        if entry.record is not None:
            entry.record.found(entry.task_id)
        handle = TaskHandle(entry, self._tracker)
        self._counters.accepted(handle)
        self.orphans.append(handle)

    def attach(
        self,
        task_id: str,
        model: str | None = None,
        record: EndListener | None = None,
    ) -> TaskHandle:
        """
        Take up a task by its id: nothing is sent, and nothing is bought.

        Args:
            record: Where its end is to be written down.

        Raises:
            SessionClosedError: Nothing is tracked any more.
        """
        self._check_open(task_id)
        entry = self._tracker.ledger.get(task_id)
        if entry is None:
            entry = Entry(task_id, model, attached=True)
            self._tracker.watch(entry)
        entry.follow(record)
        self._tracker.ledger.keep(entry)
        return TaskHandle(entry, self._tracker)

    # --- whose caller is gone -----------------------------------------------------

    def _abandon(self, paid: PaidRequest, runner: asyncio.Task[Product]) -> None:
        if self._unheard.pop(runner, None) is not None:  # _ended() still saw a reader
            self.keep(paid.fate(runner))
            return
        paid.abandoned = True
        if runner.done():  # we were cancelled before that, and run before its callback
            self._ended(runner)
        elif paid.unsent:
            runner.cancel()  # nothing left this machine: nothing to keep

    def _ended(self, runner: asyncio.Task[Product]) -> None:
        """Let an order go that has ended; by its caller or its callback, the first."""
        paid = self._under_way.pop(runner, None)
        if paid is None:
            return
        if paid.sent.permit is not None:  # the order has ended without a task
            paid.sent.permit.release()
        fate = paid.fate(runner)
        if not paid.known:
            self._counters.unknown += isinstance(fate, OutcomeUnknownError)
        struck = is_cut(runner) and not runner.cancelled()  # its caller is told of that
        if paid.abandoned or struck:
            self.keep(fate)
        else:
            self._unheard[runner] = paid
        self._tell_if_idle()

    def keep(self, fate: object) -> None:
        """Keep what was bought, or may have been, for a caller who is gone."""
        if isinstance(fate, (TaskHandle, ImageResult, OutcomeUnknownError)):
            self.orphans.append(fate)

    # --- closing ------------------------------------------------------------------

    @property
    def under_way(self) -> int:
        """How many orders have no answer yet."""
        return len(self._under_way)

    @property
    def left_open(self) -> list[Product | BaseException]:
        """What becomes of orders nobody has heard of if their loop turns no more."""
        left = {**self._unheard, **self._under_way}
        return [paid.fate(runner) for runner, paid in left.items()]

    def call_when_idle(self, callback: Callable[[], object]) -> None:
        """Call *callback* once no order is under way, in a later step of the loop."""
        self._on_idle = callback
        self._tell_if_idle()

    def _tell_if_idle(self) -> None:
        if self._on_idle is not None and not self._under_way:
            asyncio.get_running_loop().call_soon(self._on_idle)
            self._on_idle = None

    def stop(self, error: SessionClosedError) -> None:
        """
        Refuse further orders with *error*, and end those that are not sent.

        These wait for a connection, between two tries, or for their record.
        """
        self._closed = error
        for runner, paid in self._under_way.items():
            if paid.unsent:
                runner.cancel()

    async def drain(self, seconds: float | None = None) -> None:
        """Wait until every order has its answer, or for *seconds*."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._under_way:
                    await asyncio.wait(set(self._under_way))

    def abort(self) -> None:
        """Cut the orders still under way; their fate is unknown."""
        for runner in self._under_way:
            runner.cancel()


def _key_of(record: SentOrder | None) -> str | None:
    return None if record is None else record.idempotency_key
