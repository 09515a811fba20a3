"""
What a session tells of its store, waited for instead of awaited.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from apimodels_async.sync.handle import RecoveredOrder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from datetime import datetime

    from apimodels_async.session import Session
    from apimodels_async.stores import OrderRecord, OrderState
    from apimodels_async.sync._portal import Portal

T = TypeVar("T")


class StoredOrders:
    """What ``Session`` can do because it has a store. Everything here is free."""

    _inner: Session
    _portal: Portal

    def recover(self) -> Iterator[RecoveredOrder]:
        """
        Yield what earlier sessions paid for, or may have, and never handed over.

        Each belongs to this session from then on; over all processes that share the
        store one alone gets it. Ends when nothing is left. An order whose session was
        killed is recovered once its lease of a minute has run out.

        Raises:
            ConfigurationError: The session has no store.
            JournalError: The store cannot be used.
        """
        for order in self._each(self._inner.recover):
            yield RecoveredOrder(order.record, order, self._portal)

    def history(
        self,
        *,
        state: OrderState | str | None = None,
        model: str | None = None,
        since: datetime | None = None,
        text: str | None = None,
    ) -> Iterator[OrderRecord]:
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

        def begin() -> AsyncIterator[OrderRecord]:
            return self._inner.history(state=state, model=model, since=since, text=text)

        yield from self._each(begin)

    def _each(self, begin: Callable[[], AsyncIterator[T]]) -> Iterator[T]:
        items = begin()  # left early, it is ended by its own loop

        async def following() -> tuple[T] | None:
            async for item in items:
                return (item,)
            return None

        while found := self._portal.call(following):
            yield found[0]

    def forget(self, idempotency_key: str) -> bool:
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
        return self._portal.call(self._inner.forget, idempotency_key)

    def ack(self, idempotency_key: str) -> bool:
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
        return self._portal.call(self._inner.ack, idempotency_key)

    def find(self, idempotency_key: str) -> OrderRecord | None:
        """
        Return what the store knows of an idempotency key; None: nothing.

        Raises:
            ConfigurationError: The session has no store.
            InvalidRequestError: *idempotency_key* is not 1-255 printable characters.
            JournalError: The store cannot be used.
        """
        return self._portal.call(self._inner.find, idempotency_key)
