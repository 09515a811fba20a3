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

        Promises and errors are those of ``apimodels_async.Session.recover``.
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

        Arguments and errors are those of ``apimodels_async.Session.history``.
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

        This is how to order again what is of unknown fate, and **may pay twice**. It
        returns and raises what ``apimodels_async.Session.forget`` does.
        """
        return self._portal.call(self._inner.forget, idempotency_key)

    def ack(self, idempotency_key: str) -> bool:
        """
        Say that what was ordered under a key is dealt with: nobody recovers it any
        more. Idempotent.

        Returns and raises what ``apimodels_async.Session.ack`` does.
        """
        return self._portal.call(self._inner.ack, idempotency_key)

    def find(self, idempotency_key: str) -> OrderRecord | None:
        """
        Return what the store knows of an idempotency key; None: nothing.

        Errors are those of ``apimodels_async.Session.find``.
        """
        return self._portal.call(self._inner.find, idempotency_key)
