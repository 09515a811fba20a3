"""
Where orders are remembered, so that each idempotency key is bought once.

    session = Session(store="orders.sqlite")
    result = await session.images.generate("a fox", idempotency_key="chat42/msg17")

A store outlives processes: what one paid for and never saw, the next one finds by
``session.recover()``, and ``session.history()`` lists every order there was.
"""

from typing import TYPE_CHECKING

from apimodels_async._io.lazy import lazy_names

if TYPE_CHECKING:
    from apimodels_async._core.money.orders import (
        BEFORE,
        ENDED,
        HOSTED,
        LEASE_S,
        ORDERED_ANEW,
        Claim,
        NewOrder,
        OrderRecord,
        is_replaceable,
    )
    from apimodels_async._core.money.resume import OrderState
    from apimodels_async.stores.memory import MemoryStore
    from apimodels_async.stores.reading import find_order, forget_order, read_history
    from apimodels_async.stores.recovered import RecoveredOrder
    from apimodels_async.stores.redis.store import RedisStore
    from apimodels_async.stores.sqlite.store import SqliteStore
    from apimodels_async.stores.store import HistoryQuery, OrderStore
else:
    # Lazy: every session asks this package for its Protocol, and few have a store.
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "_core.money.orders": (
                "BEFORE",
                "Claim",
                "ENDED",
                "HOSTED",
                "LEASE_S",
                "NewOrder",
                "ORDERED_ANEW",
                "OrderRecord",
                "is_replaceable",
            ),
            "_core.money.resume": ("OrderState",),
            "stores.memory": ("MemoryStore",),
            "stores.reading": ("find_order", "forget_order", "read_history"),
            "stores.recovered": ("RecoveredOrder",),
            "stores.redis.store": ("RedisStore",),
            "stores.sqlite.store": ("SqliteStore",),
            "stores.store": ("HistoryQuery", "OrderStore"),
        },
    )

__all__ = [
    "BEFORE",
    "ENDED",
    "HOSTED",
    "LEASE_S",
    "ORDERED_ANEW",
    "Claim",
    "HistoryQuery",
    "MemoryStore",
    "NewOrder",
    "OrderRecord",
    "OrderState",
    "OrderStore",
    "RecoveredOrder",
    "RedisStore",
    "SqliteStore",
    "find_order",
    "forget_order",
    "is_replaceable",
    "read_history",
]
