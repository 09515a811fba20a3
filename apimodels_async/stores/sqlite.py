"""
Orders in one SQLite file, readable with plain SQL, for any number of processes.
"""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from apimodels_async._api.checks import check_path
from apimodels_async._core.money.orders import (
    BEFORE,
    ENDED,
    LEASE_S,
    Claim,
    OrderRecord,
)
from apimodels_async._core.money.records import dump_result
from apimodels_async._core.money.resume import OrderState
from apimodels_async.errors import JournalError
from apimodels_async.stores._rows import COLUMNS, DAMAGE, NOW, read_row, read_text

if TYPE_CHECKING:
    import os
    import sqlite3
    from collections.abc import Callable, Collection, Sequence
    from datetime import timedelta

    from apimodels_async._core.money.orders import NewOrder
    from apimodels_async.models import ImageResult
    from apimodels_async.stores._writer import Writer
    from apimodels_async.stores.store import HistoryQuery

T = TypeVar("T")

logger = logging.getLogger("apimodels_async.stores")


def _words(states: Collection[OrderState]) -> str:
    return f"({', '.join(sorted(repr(each.value) for each in states))})"


VERSION: Final = 3
"""1 and 2 are journals of batches."""
SCHEMA: Final = (
    """
CREATE TABLE orders (
    attempt INTEGER PRIMARY KEY AUTOINCREMENT,
    scope TEXT NOT NULL,            -- address of the API, name of the account
    idempotency_key TEXT NOT NULL,
    current INTEGER NOT NULL,       -- 1: the one that the key names
    digest TEXT NOT NULL,           -- of what was ordered
    model TEXT NOT NULL,
    prompt TEXT,
    request TEXT NOT NULL,          -- JSON, as sent
    price TEXT,                     -- US dollars, by the published hint
    state TEXT NOT NULL,            -- intended accepted completed failed refused
                                    -- unknown
    task_id TEXT,
    cost TEXT,                      -- US dollars, as the API stated it
    result TEXT,                    -- JSON
    error TEXT,
    files TEXT,                     -- JSON
    owner TEXT NOT NULL,            -- the session that answers for it
    nonce TEXT,                     -- of its callback address
    handed_over INTEGER NOT NULL,   -- 1: its end reached a caller
    intended_at REAL NOT NULL,      -- seconds since 1970, UTC
    ended_at REAL
)""",
    """
CREATE UNIQUE INDEX current_orders ON orders (scope, idempotency_key) WHERE current""",
    """
CREATE INDEX open_orders ON orders (scope, attempt)
    WHERE NOT handed_over AND state NOT IN ('failed', 'refused')""",
    """
CREATE TABLE owners (owner TEXT PRIMARY KEY, alive_until REAL NOT NULL)""",
)
RENEW: Final = (
    f"INSERT INTO owners VALUES (?, {NOW} + {LEASE_S}) "
    "ON CONFLICT (owner) DO UPDATE SET alive_until = excluded.alive_until"
)
FIND: Final = (
    f"SELECT {COLUMNS} FROM orders WHERE scope = ? AND idempotency_key = ? AND current"
)
READ: Final = f"SELECT {COLUMNS} FROM orders WHERE attempt = ?"
BEGIN: Final = f"""
INSERT INTO orders (scope, idempotency_key, current, digest, model, prompt, request,
    price, state, owner, nonce, handed_over, intended_at)
VALUES (?, ?, 1, ?, ?, ?, ?, ?, 'intended', ?, ?, 0, {NOW})
"""
ACCEPTED: Final = (
    "UPDATE orders SET state = 'accepted', task_id = ? WHERE attempt = ? AND state IN "
)
ENDING: Final = f"""
UPDATE orders SET state = ?, task_id = coalesce(?, task_id), cost = ?, result = ?,
    error = ?, ended_at = {NOW} WHERE attempt = ? AND state IN """
LEFT: Final = f"""
SELECT {COLUMNS} FROM orders
WHERE scope = ? AND NOT handed_over AND state NOT IN ('failed', 'refused')
    AND NOT EXISTS (SELECT 1 FROM owners WHERE owners.owner = orders.owner
        AND alive_until > {NOW})
ORDER BY attempt
"""


ATTEMPT_MAX: Final = 2**63 - 1
PAGE: Final = 200
"""Rows read in one transaction."""


PRUNE: Final = f"""
DELETE FROM orders WHERE ended_at < {NOW} - ? AND state IN {_words(ENDED)}
"""


class SqliteStore:
    """
    Orders in the SQLite file at *path*, made if it is missing.

    Any number of sessions, event loops and processes of one machine may use one file;
    not over a network file system, whose locks cannot be trusted. It is safe against
    kill -9 and power cuts. Where SQLite is older than 3.51.3, whose write-ahead log can
    be corrupted by several connections, it keeps a rollback journal.

    Args:
        path: Its folder is made if it is missing.

        scope: Name of the account, where several accounts share the file at one API
            address; the API's key names none, and is changed now and then.

    Raises:
        InvalidRequestError: *path* is no path.
    """

    def __init__(self, path: str | os.PathLike[str], *, scope: str = "") -> None:
        check_path("store", path)
        self.scope = scope
        self._path = Path(path).absolute()
        self._writers: list[Writer] = []
        """One for each time it was opened."""
        self._damaged: set[int] = set()
        """Attempts that the log has named."""

    def __repr__(self) -> str:
        return f"<SqliteStore {self._path}>"

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    async def open(self) -> None:
        """See :class:`OrderStore`."""
        loop = asyncio.get_running_loop()
        opening = loop.run_in_executor(None, self._acquire)
        try:
            writer = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_let_go)
            raise
        self._writers.append(writer)

    def _acquire(self) -> Writer:
        from apimodels_async.stores._writer import Writer  # and sqlite3 with it

        return Writer.acquire(self._path, lambda db: prepare(db, self._path))

    async def aclose(self) -> None:
        """See :class:`OrderStore`."""
        if not self._writers:
            return
        writer = self._writers.pop()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # that of its session is closed
            writer.release()
            return
        await asyncio.shield(loop.run_in_executor(None, writer.release))

    async def begin(self, order: NewOrder, anew: Collection[OrderState]) -> Claim:
        """See :class:`OrderStore`."""
        place = (order.scope, order.idempotency_key)
        values = (
            *(*place, order.digest, order.model, order.prompt, order.request),
            None if order.price is None else str(order.price),
            *(order.owner, order.nonce),
        )

        def work(db: sqlite3.Connection) -> Claim:
            db.execute(RENEW, (order.owner,))
            found = db.execute(FIND, place).fetchone()
            if found is not None:
                record = self._read(found)
                if record.state not in anew:
                    return Claim(granted=False, record=record)
                sql = "UPDATE orders SET current = 0 WHERE attempt = ?"
                db.execute(sql, (record.attempt,))
            attempt = db.execute(BEGIN, values).lastrowid
            row = db.execute(READ, (attempt,)).fetchone()
            return Claim(granted=True, record=self._read(row))

        return await self._do(work)

    async def accepted(self, attempt: int, task_id: str) -> None:
        """See :class:`OrderStore`."""
        sql = ACCEPTED + _words(BEFORE[OrderState.ACCEPTED])
        await self._write(sql, task_id, attempt)

    async def ended(
        self,
        attempt: int,
        state: OrderState,
        *,
        task_id: str | None = None,
        result: ImageResult | None = None,
        error: str | None = None,
    ) -> None:
        """See :class:`OrderStore`."""
        text = cost = None
        if result is not None:
            text = dump_result(result)
            cost = None if result.credits is None else str(result.credits)
        sql = ENDING + _words(BEFORE[state])
        await self._write(sql, state.value, task_id, cost, text, error, attempt)

    async def handed_over(self, attempt: int) -> None:
        """See :class:`OrderStore`."""
        sql = "UPDATE orders SET handed_over = 1 WHERE attempt = ?"
        await self._write(sql, attempt)

    async def saved(self, attempt: int, files: Sequence[str]) -> None:
        """See :class:`OrderStore`."""
        text = json.dumps(list(files), ensure_ascii=False)
        sql = "UPDATE orders SET files = ? WHERE attempt = ?"
        await self._write(sql, text, attempt)

    async def find(self, scope: str, idempotency_key: str) -> OrderRecord | None:
        """See :class:`OrderStore`."""
        place = (scope, idempotency_key)
        row = await self._do(lambda db: db.execute(FIND, place).fetchone())
        return None if row is None else self._read(row)

    async def forget(self, scope: str, idempotency_key: str) -> bool:
        """See :class:`OrderStore`."""
        sql = (
            "UPDATE orders SET current = 0 "
            "WHERE scope = ? AND idempotency_key = ? AND current"
        )
        place = (scope, idempotency_key)
        return await self._do(lambda db: db.execute(sql, place).rowcount > 0)

    async def renew(self, owner: str) -> None:
        """See :class:`OrderStore`."""
        await self._write(RENEW, owner)

    async def release(self, owner: str) -> None:
        """See :class:`OrderStore`."""
        await self._write("DELETE FROM owners WHERE owner = ?", owner)

    async def recover(self, scope: str, owner: str) -> OrderRecord | None:
        """See :class:`OrderStore`."""

        def work(db: sqlite3.Connection) -> OrderRecord | None:
            db.execute(RENEW, (owner,))
            rows = db.execute(LEFT, (scope,))
            found = next((row for row in rows if self._readable(row)), None)
            rows.close()
            if found is None:
                return None
            attempt = found[0]
            db.execute(
                "UPDATE orders SET owner = ? WHERE attempt = ?", (owner, attempt)
            )
            return self._read(db.execute(READ, (attempt,)).fetchone())

        return await self._do(work)

    async def history(
        self, scope: str, query: HistoryQuery, *, before: int | None, limit: int
    ) -> list[OrderRecord]:
        """See :class:`OrderStore`."""
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
        values = [value for _, value in wanted]
        text, below = (query.text or "").casefold(), before or ATTEMPT_MAX
        found: list[OrderRecord] = []
        while True:
            rows = await self._rows(sql, (*values, below, PAGE))
            for row in rows:
                below = row[0]
                if text in str(row[4] or "").casefold() and self._readable(row):
                    found.append(self._read(row))
                    if len(found) == limit:
                        return found
            if len(rows) < PAGE:
                return found

    async def prune(self, older_than: timedelta) -> int:
        """See :class:`OrderStore`."""
        seconds = older_than.total_seconds()
        return await self._do(lambda db: db.execute(PRUNE, (seconds,)).rowcount)

    async def _rows(self, query: str, values: Sequence[object]) -> list[Any]:
        return await self._do(lambda db: db.execute(query, values).fetchall())

    async def _write(self, statement: str, *values: object) -> None:
        await self._do(lambda db: db.execute(statement, values))

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if not self._writers:  # an order can outlive its session
            msg = f"the store {self._path} is closed"
            raise JournalError(msg)
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._writers[-1].put(work, done)
        # Shielded: a cancelled waiter must not undo what the thread is committing.
        return await asyncio.shield(done)

    def _read(self, row: Sequence[Any]) -> OrderRecord:
        try:
            return read_row(row)
        except DAMAGE as error:
            msg = f"the store {self._path} is damaged: {error}"
            raise JournalError(msg) from None

    def _readable(self, row: Sequence[Any]) -> bool:
        """Return whether *row* can be read; one that cannot hides no other."""
        try:
            read_row(row)
        except DAMAGE as error:
            if row[0] not in self._damaged:
                self._damaged.add(row[0])
                msg = "order %s (%r) in the store %s is damaged and left out: %s"
                logger.error(msg, row[0], row[1], self._path, error)  # noqa: TRY400
            return False
        return True


def _let_go(opening: asyncio.Future[Writer]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        writer = opening.result()
        opening.get_loop().run_in_executor(None, writer.release)


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """
    Make a connection to the file at *path* ready, its tables made if it is new.

    Raises:
        JournalError: It is another program's, of another version, or damaged.
    """
    from apimodels_async.stores._writer import in_turn, set_mode

    connection.text_factory = read_text
    ((version,),) = in_turn(connection, "PRAGMA user_version")
    ((tables,),) = in_turn(connection, "SELECT count(*) FROM sqlite_master")
    if version not in {0, VERSION} or (tables and not version):
        what = "the database of another program"
        if version:
            what = f"of version {version}, and this release writes {VERSION}"
        msg = f"{path} is {what}; nothing was written"
        raise JournalError(msg)
    set_mode(connection)
    ((found,),) = in_turn(connection, "PRAGMA quick_check(1)")
    if found != "ok":
        msg = f"the store {path} is damaged ({found}); nothing was sent"
        raise JournalError(msg)
    in_turn(connection, "BEGIN IMMEDIATE")
    try:
        # Another process may have been here since.
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if not version:
            for statement in SCHEMA:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute(f"DELETE FROM owners WHERE alive_until < {NOW} - 86400")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    in_turn(connection, "COMMIT")
