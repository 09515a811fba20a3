"""
Claims of orders in a SQLite file, and what becomes of them: each a part of one
transaction, done by the thread that has the connection.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from attrs import define

from apimodels_async._core.money.orders import (
    BEFORE,
    ORDERED_ANEW,
    Claim,
    is_replaceable,
)
from apimodels_async._core.money.resume import OrderState
from apimodels_async.stores.sqlite.statements import (
    ACCEPTED,
    BEGIN,
    COMPLETED,
    ENDED_ELSE,
    FIND,
    LAST,
    LEFT,
    READ,
    RENEW,
    STATE,
    TAKE_OVER,
    fields_in,
    for_all,
    words,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Sequence

    from apimodels_async._core.money.orders import NewOrder, OrderRecord
    from apimodels_async.stores.records import Records
    from apimodels_async.stores.sqlite.connection import Connection
    from apimodels_async.stores.sqlite.pictures import PictureFolder


@define(eq=False)
class Claims:
    """Those in one file. Each method takes the connection, and blocks."""

    _pictures: PictureFolder
    _records: Records

    def begin(
        self,
        db: Connection,
        asked: Sequence[tuple[NewOrder, Collection[OrderState], float]],
    ) -> list[Claim | Sequence[Any]]:
        """
        Return a claim for each order, or the row of what its key names already.

        Args:
            asked: Orders, states after which each is ordered anew, and the seconds for
                which its owner counts as alive from now.
        """
        now = time.time()  # what NOW says: a file and its users have one machine
        (last,) = db.execute(LAST).fetchone()
        new = {attempt: order for attempt, (order, *_) in enumerate(asked, last + 1)}
        for order, _, lease_s in asked:
            renew(db, order.owner, lease_s)
        rows = [self._row(attempt, order, now) for attempt, order in new.items()]
        begun = set(new)
        if for_all(db, BEGIN, rows) < len(rows):
            sql = "SELECT attempt FROM orders WHERE attempt > ?"
            begun &= {found for (found,) in db.execute(sql, (last,))}
        return [
            Claim(granted=True, record=order.record(attempt, now))
            if attempt in begun
            else self._begin_again(db, order, anew, now)
            for attempt, (order, anew, _) in enumerate(asked, last + 1)
        ]

    def _begin_again(
        self,
        db: Connection,
        order: NewOrder,
        anew: Collection[OrderState],
        now: float,
    ) -> Claim | Sequence[Any]:
        """Return a claim on what its key names already, or the row of that."""
        place = (order.scope, order.idempotency_key)
        found: Sequence[Any] = db.execute(FIND, place).fetchone()
        if found[STATE] not in anew:
            return found
        record = self._records.read(fields_in(found))
        if not is_replaceable(record, anew):
            return found
        db.execute("UPDATE orders SET current = 0 WHERE attempt = ?", (record.attempt,))
        replaces = record.attempt if record.may_be_charged else None
        (last,) = db.execute(LAST).fetchone()
        for_all(db, BEGIN, [self._row(last + 1, order, now, replaces)])
        return Claim(granted=True, record=order.record(last + 1, now))

    def _row(
        self, attempt: int, order: NewOrder, now: float, replaces: int | None = None
    ) -> Sequence[object]:
        return (
            *(attempt, order.scope, order.idempotency_key, order.digest, order.model),
            *(order.prompt, self._pictures.take_out(order.request)),
            None if order.price is None else str(order.price),
            *(order.number, order.owner, order.nonce, replaces, now),
            *(OrderState.INTENDED.value, True, False),  # current, not handed over
        )

    def complete(
        self, db: Connection, ends: Sequence[tuple[int, str | None, str | None, str]]
    ) -> None:
        """Let attempts have their tasks, costs and results."""
        rows = [(*end[:-1], self._pictures.take_out(end[-1])) for end in ends]
        for_all(db, COMPLETED, rows)

    def recover(
        self, db: Connection, scope: str, owner: str, lease_s: float
    ) -> OrderRecord | None:
        """Give *owner*, who is alive, the oldest attempt that nobody has any more."""
        renew(db, owner, lease_s)
        rows = db.execute(LEFT, (scope,))
        whole = (self._records.read_if_whole(fields_in(row)) for row in rows)
        found = next((each for each in whole if each is not None), None)
        rows.close()
        if found is None:
            return None
        db.execute(TAKE_OVER, (owner, found.attempt))
        row = db.execute(READ, (found.attempt,)).fetchone()
        return self._records.read(fields_in(row), self._pictures.put_back)


def accept_all(db: sqlite3.Connection, tasks: Sequence[tuple[int, str]]) -> None:
    """Let attempts have their tasks."""
    for_all(db, ACCEPTED, tasks)


def end_without_result(
    db: sqlite3.Connection,
    attempt: int,
    state: OrderState,
    task_id: str | None,
    error: str | None,
) -> None:
    """Let an attempt have ended, or be of unknown fate."""
    values = (state.value, task_id, error, attempt)
    ended = db.execute(ENDED_ELSE + words(BEFORE[state]), values).rowcount
    if not ended or state not in ORDERED_ANEW:
        return
    sql = "SELECT replaces FROM orders WHERE attempt = ? AND current"
    found = db.execute(sql, (attempt,)).fetchone()
    if found is not None and found[0] is not None:
        # The key names the attempt again that this one was made in spite of.
        sql = "UPDATE orders SET current = ? WHERE attempt = ?"
        db.execute(sql, (0, attempt))
        db.execute(sql, (1, found[0]))


def renew(db: Connection, owner: str, lease_s: float) -> None:
    """Count *owner* as alive for a lease from now; once in a transaction."""
    if owner not in db.renewed:
        db.execute(RENEW, {"owner": owner, "lease": lease_s})
        db.renewed.add(owner)
