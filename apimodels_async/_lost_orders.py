"""
Orders whose answer was lost: whose task a broken answer shows, and where to ask for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from apimodels_async._api import calls
from apimodels_async._api.checks import refuse
from apimodels_async._core.money.retry import disowned, info_of
from apimodels_async.errors import (
    ApiModelsError,
    NotFoundError,
    OutcomeUnknownError,
    UnexpectedResponseError,
)
from apimodels_async.handle import TaskHandle
from apimodels_async.models import Reconciliation, Verdict

if TYPE_CHECKING:
    from apimodels_async._core.counters import Counters
    from apimodels_async._core.money.orders import OrderRecord
    from apimodels_async._io.sender import Sender
    from apimodels_async._io.tracker import Tracker
    from apimodels_async.handle import PaidRequest
    from apimodels_async.stores.sent_order import SentOrder
    from apimodels_async.webhooks.expected import ExpectedCallbacks
    from apimodels_async.webhooks.expected_callback import ExpectedCallback


@define(eq=False, repr=False)
class LostOrders:
    """Finds the tasks of one session's lost orders. Must be made in its loop."""

    _sender: Sender
    _tracker: Tracker
    _counters: Counters
    _callbacks: ExpectedCallbacks | None

    async def find(self, paid: PaidRequest, error: OutcomeUnknownError) -> TaskHandle:
        """
        Return the task of an order that was sent just now, by its callback.

        Raises:
            OutcomeUnknownError: *error*, without a task id that is another order's.
        """
        ledger = self._tracker.ledger
        if error.task_id is not None and ledger.knows(error.task_id):
            error = disowned(error, info_of(paid.call.request, paid.sent))
        shown = error.task_id
        if shown is not None:
            # First come, first served: a later answer that names it is a stray copy,
            # also while this one waits.
            ledger.claimed.add(shown)
        found = await self._wait(paid.expected, shown)
        if found is None:
            raise error
        if shown is not None and shown != found.task_id:
            ledger.claimed.discard(shown)  # its own order's answer may still come
        return found

    async def find_recorded(self, record: SentOrder, known: OrderRecord) -> TaskHandle:
        """
        Return the task of an order that a store has as lost.

        Raises:
            OutcomeUnknownError: Its callback did not come.
        """
        nonce, age_s = known.nonce, max(known.age_s, 0.0)
        if self._callbacks is not None and nonce is not None and known.awaits_callback:
            expected = self._callbacks.expect(known.model, record, nonce, age_s)
            found = await self._wait(expected, None)
            if found is not None:
                await record.accepted(found.task_id)
                return found
        # With the store, that is; few sessions have one.
        from apimodels_async._core.money.orders import lost_words

        error = OutcomeUnknownError(lost_words(known), task_id=known.task_id)
        error.idempotency_key = known.idempotency_key
        raise error

    async def _wait(
        self, expected: ExpectedCallback | None, salvaged: str | None
    ) -> TaskHandle | None:
        if self._callbacks is None or expected is None:
            return None
        entry = await self._callbacks.search.wait_for_task(expected, salvaged)
        if entry is None:
            return None
        entry.follow(expected.record)
        handle = TaskHandle(entry, self._tracker)
        self._counters.accepted(handle)
        return handle

    async def look_up(self, lost: ApiModelsError) -> Reconciliation | None:
        """
        Return what the callback or the API says of a lost order; None: nothing.

        Raises:
            ApiModelsError: The API could not be asked; or *lost* is none of ours.
        """
        if not isinstance(lost, ApiModelsError):
            refuse("error", lost, "the OutcomeUnknownError that an order raised")
        nonce = lost.request.nonce if lost.request is not None else None
        called = self._callbacks and nonce and self._callbacks.task_of(nonce)
        if called:
            return Reconciliation(Verdict.FOUND, "its callback came", called)
        if lost.task_id is None:
            return None
        try:
            snapshot = await self._sender.send(calls.poll(lost.task_id))
        except NotFoundError as error:
            if error.code is None:  # a gateway's page: no word about the task
                raise
            return None
        except UnexpectedResponseError as error:
            if error.charged is not True:
                raise
            reason = f"the task exists and is charged: {error.message}"
        else:
            reason = f"the task exists and is {snapshot.state.value}"
        return Reconciliation(Verdict.FOUND, reason, lost.task_id)
