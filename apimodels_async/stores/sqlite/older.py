"""
Journals of earlier releases (versions 1 and 2), brought over to a store.

Their keys were digests of the request's bytes. They are computed anew from the request,
in canonical form, and numbered anew, so that the same source finds its items again.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from apimodels_async._api.requests import PATHS
from apimodels_async._core.files.names import load_files
from apimodels_async._core.money.digests import digest_of
from apimodels_async._core.money.orders import BATCH_SCOPE, ORDERED_ANEW
from apimodels_async._core.money.records import Keys

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

COLUMNS: Final = (
    "key, number, model, request, price, state, task_id, cost, result, file, error, "
    "CAST(strftime('%s', intended_at) AS REAL), CAST(strftime('%s', ended_at) AS REAL)"
)
INSERT: Final = """
INSERT INTO orders (scope, idempotency_key, current, digest, model, prompt, request,
    price, state, task_id, cost, result, error, files, number, owner, nonce,
    handed_over, intended_at, ended_at)
VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', ?, 0, coalesce(?, 0), ?)
"""


def bring_over(connection: sqlite3.Connection, version: int) -> None:
    """
    Copy the items of a journal, within a transaction; its own table is dropped.

    Raises:
        ValueError: A row is damaged.
    """
    nonce = "nonce" if version > 1 else "NULL"
    rows = connection.execute(f"SELECT {COLUMNS}, {nonce} FROM items ORDER BY number")
    equal: dict[str, list[Sequence[Any]]] = defaultdict(list)
    for row in rows.fetchall():
        try:
            equal[_digest(row[0], row[3])].append(row)
        except (ValueError, TypeError, RecursionError) as error:
            msg = f"item {row[1]} is damaged: {error}"
            raise ValueError(msg) from None
    for values in _values(equal):
        connection.execute(INSERT, values)
    connection.execute("DROP TABLE items")


def _values(equal: dict[str, list[Sequence[Any]]]) -> Iterator[Sequence[object]]:
    keys = Keys()
    for digest, rows in equal.items():
        # What may be paid for first: a source with fewer equal items than were ordered
        # finds those, and buys nothing.
        for row in sorted(rows, key=lambda row: row[5] in ORDERED_ANEW):
            _, number, model, request, price, state, task_id, *rest = row
            cost, result, file, error, intended_at, ended_at, nonce = rest
            files = json.dumps(load_files(file)) if file else None
            yield (
                *(BATCH_SCOPE, keys.name_of(digest), digest, model, _prompt(request)),
                *(request, price, state, task_id, cost, result, error, files, number),
                *(nonce, intended_at, ended_at),
            )


def _digest(key: object, request: object) -> str:
    if not isinstance(key, str) or not isinstance(request, str):
        msg = "another thing where text belongs"
        raise TypeError(msg)
    body = json.loads(request)
    old = key.partition("-")[0]
    for path in PATHS:
        digest = hashlib.sha256(path.encode() + b"\0" + request.encode()).digest()
        if digest[:16].hex() == old:
            return digest_of(path, body)
    msg = "the key of an item is not that of its request"
    raise ValueError(msg)


def _prompt(request: str) -> str | None:
    prompt = json.loads(request).get("prompt")
    return prompt if isinstance(prompt, str) else None
