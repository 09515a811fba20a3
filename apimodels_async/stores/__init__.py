"""
Where orders are remembered, so that each idempotency key is bought once.

    session = Session(store="orders.sqlite")
    result = await session.images.generate("a fox", idempotency_key="chat42/msg17")

A store outlives processes: what one paid for and never saw, the next one finds by
``session.recover()``, and ``session.history()`` lists every order there was.
"""

from apimodels_async._core.money.orders import Claim, NewOrder, OrderRecord
from apimodels_async._core.money.resume import OrderState
from apimodels_async.stores.memory import MemoryStore
from apimodels_async.stores.recall import (
    RecoveredOrder,
    find_order,
    forget_order,
    read_history,
)
from apimodels_async.stores.sqlite import SqliteStore
from apimodels_async.stores.store import HistoryQuery, OrderStore

__all__ = [
    "Claim",
    "HistoryQuery",
    "MemoryStore",
    "NewOrder",
    "OrderRecord",
    "OrderState",
    "OrderStore",
    "RecoveredOrder",
    "SqliteStore",
    "find_order",
    "forget_order",
    "read_history",
]
