"""
What a SQLite store asks of its tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from apimodels_async._core.money.orders import BEFORE, ENDED
from apimodels_async._core.money.resume import OrderState
from apimodels_async.stores.sqlite.rows import COLUMNS, NAMES, NOW

if TYPE_CHECKING:
    from collections.abc import Collection


def words(states: Collection[OrderState]) -> str:
    """Return *states* as SQL has a list."""
    return f"({', '.join(sorted(repr(each.value) for each in states))})"


PROMPT: Final = NAMES.index("prompt")
STATE: Final = NAMES.index("state")
RENEW: Final = f"""
INSERT INTO owners VALUES (:owner, {NOW} + :lease)
ON CONFLICT (owner) DO UPDATE SET alive_until = excluded.alive_until
    WHERE abs(alive_until - excluded.alive_until) > :lease / 12
"""
"""Writes nothing just after it wrote: a session counts on five sixths of a lease."""
FIND: Final = (
    f"SELECT {COLUMNS} FROM orders WHERE scope = ? AND idempotency_key = ? AND current"
)
FIND_TASK: Final = f"""
SELECT {COLUMNS} FROM orders WHERE scope = ? AND task_id = ?
ORDER BY attempt DESC LIMIT 1
"""
READ: Final = f"SELECT {COLUMNS} FROM orders WHERE attempt = ?"
BEGIN: Final = """
INSERT INTO orders (scope, idempotency_key, current, digest, model, prompt, request,
    price, state, number, owner, nonce, replaces, handed_over, intended_at)
SELECT :scope, :idempotency_key, 1, :digest, :model, :prompt, :request, :price,
    'intended', :number, :owner, :nonce, :replaces, 0, :now
WHERE NOT EXISTS (SELECT 1 FROM orders
    WHERE scope = :scope AND idempotency_key = :idempotency_key AND current)
"""
"""One statement, for most orders: between any two the loop may take the GIL."""
ACCEPTED: Final = f"""
UPDATE orders SET state = 'accepted', task_id = ?
WHERE attempt = ? AND state IN {words(BEFORE[OrderState.ACCEPTED])}
"""
ENDING: Final = f"""
UPDATE orders SET state = ?, task_id = coalesce(?, task_id), cost = ?, result = ?,
    error = ?, ended_at = {NOW} WHERE attempt = ? AND state IN """
TAKE_OVER: Final = """
UPDATE orders SET owner = ?, state = replace(state, 'intended', 'unknown')
WHERE attempt = ?
"""
LEFT: Final = f"""
SELECT {COLUMNS} FROM orders
WHERE scope = ? AND NOT handed_over AND state NOT IN ('failed', 'refused')
    AND NOT EXISTS (SELECT 1 FROM owners WHERE owners.owner = orders.owner
        AND alive_until > {NOW})
ORDER BY attempt
"""
PRUNE: Final = f"""
DELETE FROM orders WHERE ended_at < {NOW} - ? AND state IN {words(ENDED)}
"""
FORGET_UPLOADS: Final = f"DELETE FROM uploads WHERE uploaded_at < {NOW} - ?"
PICTURED: Final = """
SELECT request || coalesce(result, '') FROM orders
WHERE request LIKE '%;sha256,%' OR result LIKE '%;sha256,%'
"""
MONEY: Final = """
SELECT state, price, cost FROM orders
WHERE scope = ? AND substr(idempotency_key, 1, ?) = ?
"""
ATTEMPT_MAX: Final = 2**63 - 1
PAGE: Final = 200
"""Rows read in one transaction."""
