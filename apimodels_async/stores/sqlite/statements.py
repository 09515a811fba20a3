"""
What a SQLite store asks of its tables, and what their rows hold.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from apimodels_async._core.money.orders import BEFORE, ENDED
from apimodels_async._core.money.resume import OrderState

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Sequence

    from apimodels_async.stores.store import HistoryQuery


def words(states: Collection[OrderState]) -> str:
    """Return *states* as SQL has a list."""
    return f"({', '.join(sorted(repr(each.value) for each in states))})"


# unixepoch() is of SQLite 3.38, its 'subsec' of 3.42.
NOW: Final = "((julianday('now') - 2440587.5) * 86400.0)"
NAMES: Final = (
    *("attempt", "idempotency_key", "digest", "model", "prompt", "request", "price"),
    *("state", "task_id", "result", "error", "files", "nonce", "number"),
    *("handed_over", "intended_at", "ended_at"),
)
COLUMNS: Final = (
    f"{', '.join(NAMES)}, EXISTS (SELECT 1 FROM owners "
    f"WHERE owners.owner = orders.owner AND alive_until > {NOW}), {NOW} - intended_at"
)
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
LAST: Final = """
SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'orders'
"""
BEGIN: Final = """
INSERT INTO orders (attempt, scope, idempotency_key, digest, model, prompt, request,
    price, number, owner, nonce, replaces, intended_at, state, current, handed_over)
VALUES {rows} ON CONFLICT (scope, idempotency_key) WHERE current DO NOTHING
"""
ACCEPTED: Final = f"""
WITH new (attempt, task_id) AS (VALUES {{rows}})
UPDATE orders SET state = 'accepted', task_id = new.task_id FROM new
WHERE orders.attempt = new.attempt AND state IN {words(BEFORE[OrderState.ACCEPTED])}
"""
COMPLETED: Final = f"""
WITH new (attempt, task_id, cost, result) AS (VALUES {{rows}})
UPDATE orders SET state = 'completed', task_id = coalesce(new.task_id, orders.task_id),
    cost = new.cost, result = new.result, error = NULL, ended_at = {NOW} FROM new
WHERE orders.attempt = new.attempt AND state IN {words(BEFORE[OrderState.COMPLETED])}
"""
ENDED_ELSE: Final = f"""
UPDATE orders SET state = ?, task_id = coalesce(?, task_id), error = ?, ended_at = {NOW}
WHERE attempt = ? AND state IN """
HANDED_OVER: Final = """
WITH new (attempt) AS (VALUES {rows})
UPDATE orders SET handed_over = 1 FROM new
WHERE orders.attempt = new.attempt AND NOT handed_over
"""
"""What it changes nothing in is not written to the disk again."""
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


def for_all(
    db: sqlite3.Connection, statement: str, rows: Sequence[Sequence[object]]
) -> int:
    """Execute *statement* with all *rows* at once, and return how many it changed."""
    row = f"({', '.join('?' * len(rows[0]))})"
    sql = statement.format(rows=", ".join([row] * len(rows)))
    return db.execute(sql, list(chain.from_iterable(rows))).rowcount


def history_of(scope: str, query: HistoryQuery) -> tuple[str, list[object]]:
    """Return the statement that reads a page of it, and its values but the last two."""
    wanted: list[tuple[str, object]] = [("scope = ?", scope)]
    if query.state is not None:
        wanted.append(("state = ?", query.state.value))
    if query.model is not None:
        wanted.append(("model = ?", query.model))
    if query.since is not None:
        wanted.append(("intended_at >= ?", query.since.timestamp()))
    where = " AND ".join(condition for condition, _ in wanted)
    sql = (
        f"SELECT {COLUMNS} FROM orders WHERE {where} AND attempt < ? "
        "ORDER BY attempt DESC LIMIT ?"
    )
    return sql, [value for _, value in wanted]


def fields_in(row: Sequence[Any]) -> dict[str, Any]:
    """Return the fields of a record in *row*, which has ``COLUMNS``."""
    return dict(zip((*NAMES, "owned", "age_s"), row, strict=True))
