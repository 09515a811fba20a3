"""
Where orders are remembered, so that each idempotency key is bought once.

    session = Session(store="orders.sqlite")
    result = await session.images.generate("a fox", idempotency_key="chat42/msg17")

A store outlives processes: what one paid for and never saw, the next one finds by
``session.recover()``, and ``session.history()`` lists every order there was.
"""

from importlib import import_module
from typing import TYPE_CHECKING

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

# Lazy: every session asks this package for its Protocol, and few have a store.
_HOMES = {
    "BEFORE": "_core.money.orders",
    "Claim": "_core.money.orders",
    "ENDED": "_core.money.orders",
    "HOSTED": "_core.money.orders",
    "HistoryQuery": "stores.store",
    "LEASE_S": "_core.money.orders",
    "MemoryStore": "stores.memory",
    "NewOrder": "_core.money.orders",
    "ORDERED_ANEW": "_core.money.orders",
    "OrderRecord": "_core.money.orders",
    "OrderState": "_core.money.resume",
    "OrderStore": "stores.store",
    "RecoveredOrder": "stores.recovered",
    "RedisStore": "stores.redis.store",
    "SqliteStore": "stores.sqlite.store",
    "find_order": "stores.reading",
    "forget_order": "stores.reading",
    "is_replaceable": "_core.money.orders",
    "read_history": "stores.reading",
}

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


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"apimodels_async.{_HOMES[name]}"), name)
