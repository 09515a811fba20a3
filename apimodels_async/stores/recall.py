"""
What a session tells of its store: the history, and what earlier processes left.

Few sessions have a store: all the rest is imported where there is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from apimodels_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from apimodels_async._core.money.orders import OrderRecord
    from apimodels_async._core.money.resume import OrderState
    from apimodels_async.stores.recovered import RecoveredOrder, TakeUp
    from apimodels_async.stores.sent import SentOrders

NO_STORE: Final = "this session has no store: Session(store='orders.sqlite')"


class StoredOrders:
    """What ``Session`` can do because it has a store. Everything here is free."""

    def _orders(self) -> tuple[SentOrders | None, TakeUp]:
        """Return the session's orders in its store, and what takes one up."""
        raise NotImplementedError

    def _need_store(self) -> tuple[SentOrders, TakeUp]:
        orders, take_up = self._orders()
        if orders is None:
            raise ConfigurationError(NO_STORE)
        return orders, take_up

    async def recover(self) -> AsyncIterator[RecoveredOrder]:
        """
        Yield what earlier sessions paid for, or may have, and never handed over.

        Each belongs to this session from then on; over all processes that share the
        store one alone gets it. Ends when nothing is left. An order whose session was
        killed is recovered once its lease of a minute has run out.

        Raises:
            ConfigurationError: The session has no store.
            JournalError: The store cannot be used.
        """
        orders, take_up = self._need_store()
        from apimodels_async.stores.recovered import RecoveredOrder
        from apimodels_async.stores.sent_order import SentOrder

        await orders.open()
        while True:
            record = await orders.recover()
            if record is None:
                return
            yield RecoveredOrder(record, take_up, SentOrder.follow(orders, record))

    async def history(
        self,
        *,
        state: OrderState | str | None = None,
        model: str | None = None,
        since: datetime | None = None,
        text: str | None = None,
    ) -> AsyncIterator[OrderRecord]:
        """
        Yield every attempt the store knows, newest first, read page by page.

        Args:
            state: Only these: intended, accepted, completed, failed, refused, unknown.

            model: Only of this model id.

            since: Only those ordered then or later; with its zone.

            text: Only those with this in their prompt, in any case.

        Raises:
            ConfigurationError: The session has no store.
            InvalidRequestError: No such state, or *since* without a zone.
            JournalError: The store cannot be used.
        """
        orders, _ = self._need_store()
        from apimodels_async.stores.reading import pages_of, query_of

        query = query_of(state, model, since, text)
        await orders.open()
        async for record in pages_of(orders.store, orders.scope, query):
            yield record

    async def forget(self, idempotency_key: str) -> bool:
        """
        Forget what a key names: the next order under it is a new one, and is sent.

        This is how to order again what is of unknown fate, and **may pay twice**. Its
        attempts stay in the history.

        Returns:
            Whether the key named an order.

        Raises:
            ConfigurationError: The session has no store.
            InvalidRequestError: *idempotency_key* is not 1-255 printable characters.
            JournalError: The store cannot be used.
        """
        orders, _ = self._need_store()
        return await orders.forget(idempotency_key)

    async def ack(self, idempotency_key: str) -> bool:
        """
        Say that what was ordered under a key is dealt with: nobody recovers it any
        more. Idempotent.

        For orders with ``manual_ack=True``; the others count as handed over once their
        result is returned. It never cancels anything: one that is pending goes on.

        Returns:
            Whether the key names an order.

        Raises:
            ConfigurationError: The session has no store.
            InvalidRequestError: *idempotency_key* is not 1-255 printable characters.
            JournalError: That cannot be written down.
        """
        orders, _ = self._need_store()
        return await orders.ack(idempotency_key)

    async def find(self, idempotency_key: str) -> OrderRecord | None:
        """
        Return what the store knows of an idempotency key; None: nothing.

        Raises:
            ConfigurationError: The session has no store.
            InvalidRequestError: *idempotency_key* is not 1-255 printable characters.
            JournalError: The store cannot be used.
        """
        orders, _ = self._need_store()
        return await orders.find(idempotency_key)
