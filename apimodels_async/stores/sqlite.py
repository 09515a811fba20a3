"""
Orders in one SQLite file, readable with plain SQL, for any number of processes.
"""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from attrs import asdict

from apimodels_async._api.checks import check_path
from apimodels_async._core.money.orders import (
    ENDED,
    LEASE_S,
    ORDERED_ANEW,
    Claim,
    OrderRecord,
    is_replaceable,
)
from apimodels_async._core.money.records import dump_result, load_result, read_amount
from apimodels_async._core.money.resume import OrderState
from apimodels_async.errors import JournalError
from apimodels_async.stores._pictures import PictureFolder, digests_in

if TYPE_CHECKING:
    import os
    import sqlite3
    from collections.abc import Callable, Collection, Sequence

    from apimodels_async._core.money.orders import NewOrder
    from apimodels_async.models import ImageResult
    from apimodels_async.stores._writer import Connection, Writer
    from apimodels_async.stores.store import HistoryQuery

T = TypeVar("T")

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
    replaces INTEGER,               -- an attempt of unknown fate before it
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
# unixepoch() is of SQLite 3.38, its 'subsec' of 3.42.
NOW: Final = "((julianday('now') - 2440587.5) * 86400.0)"
COLUMNS: Final = (
    "attempt, idempotency_key, digest, model, prompt, request, price, state, task_id, "
    "result, error, files, nonce, handed_over, intended_at, ended_at, "
    f"EXISTS (SELECT 1 FROM owners WHERE owners.owner = orders.owner "
    f"AND alive_until > {NOW}), {NOW} - intended_at"
)
STATE: Final = COLUMNS.split(", ").index("state")
RENEW: Final = f"""
INSERT INTO owners VALUES (:owner, {NOW} + :lease)
ON CONFLICT (owner) DO UPDATE SET alive_until = excluded.alive_until
    WHERE abs(alive_until - excluded.alive_until) > :lease / 12
"""
"""Writes nothing just after it wrote: a session counts on five sixths of a lease."""
FIND: Final = (
    f"SELECT {COLUMNS} FROM orders WHERE scope = ? AND idempotency_key = ? AND current"
)
READ: Final = f"SELECT {COLUMNS} FROM orders WHERE attempt = ?"
BEGIN: Final = """
INSERT INTO orders (scope, idempotency_key, current, digest, model, prompt, request,
    price, state, owner, nonce, replaces, handed_over, intended_at)
SELECT :scope, :idempotency_key, 1, :digest, :model, :prompt, :request, :price,
    'intended', :owner, :nonce, :replaces, 0, :now
WHERE NOT EXISTS (SELECT 1 FROM orders
    WHERE scope = :scope AND idempotency_key = :idempotency_key AND current)
"""
"""One statement, for most orders: between any two the loop may take the GIL."""
_OPEN: Final = f"state NOT IN ({', '.join(repr(str(each)) for each in sorted(ENDED))})"
ACCEPTED: Final = (
    f"UPDATE orders SET state = 'accepted', task_id = ? WHERE attempt = ? AND {_OPEN}"
)
ENDING: Final = f"""
UPDATE orders SET state = ?, task_id = coalesce(?, task_id), cost = ?, result = ?,
    error = ?, ended_at = {NOW} WHERE attempt = ? AND {_OPEN}
"""
TAKE_OVER: Final = """
UPDATE orders SET owner = ?, state = replace(state, 'intended', 'unknown')
WHERE attempt = ?
"""
LEFT: Final = f"""
SELECT attempt FROM orders
WHERE scope = ? AND NOT handed_over AND state NOT IN ('failed', 'refused')
    AND NOT EXISTS (SELECT 1 FROM owners WHERE owners.owner = orders.owner
        AND alive_until > {NOW})
ORDER BY attempt LIMIT 1
"""
PRUNE: Final = f"""
DELETE FROM orders WHERE ended_at < {NOW} - ? AND NOT ({_OPEN})
"""


PICTURED: Final = """
SELECT request || coalesce(result, '') FROM orders
WHERE request LIKE '%;sha256,%' OR result LIKE '%;sha256,%'
"""


class SqliteStore:
    """
    Orders in the SQLite file at *path*, made if it is missing.

    Any number of sessions, event loops and processes of one machine may use one file;
    not over a network file system, whose locks cannot be trusted. It is safe against
    kill -9 and power cuts. Where SQLite is older than 3.51.3, whose write-ahead log can
    be corrupted by several connections, it keeps a rollback journal.

    Pictures inside requests and results are files in a folder beside it.

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
        self.lease_s = LEASE_S
        self._path = Path(path).absolute()
        self._writer: Writer | None = None
        self._users = 0
        folder = self._path.with_name(self._path.name + ".files")
        self._pictures = PictureFolder(folder)

    @classmethod
    def unchecked(
        cls, path: str | os.PathLike[str], *, lease_s: float, scope: str = ""
    ) -> SqliteStore:
        """
        Return a store with a lease of any length, for tests.

        A session that is silent for five sixths of *lease_s* sends no order, and what
        a killed one sent is of unknown fate that much sooner.
        """
        store = cls(path, scope=scope)
        store.lease_s = lease_s
        return store

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
        self._users += 1
        self._writer = writer

    def _acquire(self) -> Writer:
        from apimodels_async.stores._writer import Writer  # and sqlite3 with it

        return Writer.acquire(self._path, lambda db: prepare(db, self._path))

    async def aclose(self) -> None:
        """See :class:`OrderStore`."""
        writer = self._writer
        if writer is None:
            return
        self._users -= 1
        if not self._users:
            self._writer = None
        loop = asyncio.get_running_loop()
        await asyncio.shield(loop.run_in_executor(None, writer.release))

    async def begin(self, order: NewOrder, anew: Collection[OrderState]) -> Claim:
        """See :class:`OrderStore`."""
        place = (order.scope, order.idempotency_key)
        price = None if order.price is None else str(order.price)
        values = asdict(order, recurse=False) | {"price": price}

        def work(db: Connection) -> Claim | Sequence[Any]:
            self._renew(db, order.owner)
            now = time.time()  # what NOW says: a file and its users have one machine
            new = values | {
                "request": self._pictures.take_out(order.request),
                "replaces": None,
                "now": now,
            }
            begun = db.execute(BEGIN, new)
            if not begun.rowcount:
                found: Sequence[Any] = db.execute(FIND, place).fetchone()
                if found[STATE] not in anew:
                    return found
                record = self._read(found, whole=False)
                if not is_replaceable(record, anew):
                    return found
                sql = "UPDATE orders SET current = 0 WHERE attempt = ?"
                db.execute(sql, (record.attempt,))
                if record.may_be_charged:
                    new["replaces"] = record.attempt
                begun = db.execute(BEGIN, new)
            return Claim(granted=True, record=order.record(begun.lastrowid or 0, now))

        claim = await self._do(work)
        if isinstance(claim, Claim):
            return claim
        # Here, as reading takes longer than writing, and others wait for their turn.
        return Claim(granted=False, record=await self._read_whole(claim))

    async def accepted(self, attempt: int, task_id: str) -> None:
        """See :class:`OrderStore`."""
        await self._write(ACCEPTED, task_id, attempt)

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

        def work(db: Connection) -> None:
            kept = None if text is None else self._pictures.take_out(text)
            values = (state.value, task_id, cost, kept, error, attempt)
            ended = db.execute(ENDING, values).rowcount
            if ended and state in ORDERED_ANEW:
                _point_back(db, attempt)

        await self._do(work)

    async def handed_over(self, attempt: int) -> None:
        """See :class:`OrderStore`."""
        # What it changes nothing in is not written to the disk again.
        sql = "UPDATE orders SET handed_over = 1 WHERE attempt = ? AND NOT handed_over"
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
        return None if row is None else await self._read_whole(row)

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
        await self._do(lambda db: self._renew(db, owner))

    async def release(self, owner: str) -> None:
        """See :class:`OrderStore`."""
        await self._write("DELETE FROM owners WHERE owner = ?", owner)

    async def recover(self, scope: str, owner: str) -> OrderRecord | None:
        """See :class:`OrderStore`."""

        def work(db: Connection) -> OrderRecord | None:
            self._renew(db, owner)
            found = db.execute(LEFT, (scope,)).fetchone()
            if found is None:
                return None
            db.execute(TAKE_OVER, (owner, *found))
            return self._read(db.execute(READ, found).fetchone())

        return await self._do(work)

    async def history(
        self, scope: str, query: HistoryQuery, *, before: int | None, limit: int
    ) -> list[OrderRecord]:
        """See :class:`OrderStore`."""
        wanted: list[tuple[str, object]] = [("scope = ?", scope)]
        if before is not None:
            wanted.append(("attempt < ?", before))
        if query.state is not None:
            wanted.append(("state = ?", query.state.value))
        if query.model is not None:
            wanted.append(("model = ?", query.model))
        if query.since is not None:
            wanted.append(("intended_at >= ?", query.since.timestamp()))
        if query.text:
            wanted.append(("casefold(prompt) LIKE ? ESCAPE '!'", _pattern(query.text)))
        where = " AND ".join(condition for condition, _ in wanted)
        sql = (
            f"SELECT {COLUMNS} FROM orders WHERE {where} ORDER BY attempt DESC LIMIT ?"
        )
        values = [*(value for _, value in wanted), limit]
        rows = await self._do(lambda db: db.execute(sql, values).fetchall())
        # Pictures inside results stay names: a page of them would be a gigabyte.
        return [self._read(row, whole=False) for row in rows]

    async def prune(self, older_than: timedelta) -> int:
        """See :class:`OrderStore`."""

        def work(db: Connection) -> int:
            count = db.execute(PRUNE, (older_than.total_seconds(),)).rowcount
            texts = db.execute(PICTURED)
            # No other process can be between keeping a file and naming it: we have the
            # turn at the store.
            self._pictures.sweep({d for row in texts for d in digests_in(row[0])})
            return count

        return await self._do(work)

    async def _write(self, statement: str, *values: object) -> None:
        await self._do(lambda db: db.execute(statement, values).rowcount)

    def _renew(self, db: Connection, owner: str) -> None:
        if owner not in db.renewed:
            db.execute(RENEW, {"owner": owner, "lease": self.lease_s})
            db.renewed.add(owner)

    async def _do(self, work: Callable[[Connection], T]) -> T:
        writer = self._writer
        if writer is None:  # an order can outlive its session; nobody would answer it
            msg = f"the store {self._path} is closed"
            raise JournalError(msg)
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        writer.put(work, done)
        # Shielded: a cancelled waiter must not undo what the thread is committing.
        return await asyncio.shield(done)

    async def _read_whole(self, row: Sequence[Any]) -> OrderRecord:
        if any(isinstance(each, str) and ";sha256," in each for each in row):
            return await asyncio.to_thread(self._read, row)  # it reads files
        return self._read(row)

    def _read(self, row: Sequence[Any], *, whole: bool = True) -> OrderRecord:
        try:
            return read_row(row, self._pictures.put_back if whole else str)
        except (ValueError, TypeError, OverflowError) as error:
            msg = f"the store {self._path} is damaged: {error}"
            raise JournalError(msg) from None


def _point_back(db: sqlite3.Connection, attempt: int) -> None:
    sql = "SELECT replaces FROM orders WHERE attempt = ? AND current"
    found = db.execute(sql, (attempt,)).fetchone()
    if found is not None and found[0] is not None:
        sql = "UPDATE orders SET current = ? WHERE attempt = ?"
        db.execute(sql, (0, attempt))
        db.execute(sql, (1, found[0]))


def _let_go(opening: asyncio.Future[Writer]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        release = opening.result().release
        try:
            opening.get_loop().run_in_executor(None, release)
        except RuntimeError:  # the loop is ending, and its executor has
            release()


def _pattern(text: str) -> str:
    for special in "!%_":
        text = text.replace(special, f"!{special}")
    return f"%{text.casefold()}%"


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """
    Make a connection to the file at *path* ready, its tables made if it is new.

    Raises:
        JournalError: It is another program's, of another version, or damaged.
    """
    from apimodels_async.stores._writer import in_turn, set_mode

    connection.create_function(
        "casefold", 1, lambda text: text and str(text).casefold(), deterministic=True
    )
    # While another process commits, and after a kill, even reading waits for a turn.
    # The tables first: one that makes the file now makes both together.
    sql = "SELECT count(*) FROM sqlite_master"
    (tables,) = in_turn(connection, sql).fetchone()
    (version,) = in_turn(connection, "PRAGMA user_version").fetchone()
    if version not in {0, VERSION} or (tables and not version):
        what = "the database of another program"
        if version:
            what = f"of version {version}, and this release writes {VERSION}"
        msg = f"{path} is {what}; nothing was written"
        raise JournalError(msg)
    set_mode(connection)
    (found,) = in_turn(connection, "PRAGMA quick_check(1)").fetchone()
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


def read_row(row: Sequence[Any], put_back: Callable[[str], str]) -> OrderRecord:
    """
    Return the record in *row*, of ``COLUMNS``; *put_back* completes texts.

    Raises:
        ValueError: Something else wrote it, or it is damaged.
    """
    texts, rest = row[1:13], row[13:]
    if not all(isinstance(each, str | None) for each in texts):
        msg = "another thing where text belongs"
        raise ValueError(msg)
    key, digest, model, prompt, request, price, state, task_id = texts[:8]
    result, error, files, nonce = texts[8:]
    handed_over, intended_at, ended_at, owned, age_s = rest
    word = OrderState(state)
    if word is OrderState.ACCEPTED and not task_id:
        msg = "an order was accepted, and its task is missing"
        raise ValueError(msg)
    if word is OrderState.COMPLETED and result is None:
        msg = "an order completed, and its result is missing"
        raise ValueError(msg)
    return OrderRecord(
        idempotency_key=key,
        attempt=int(row[0]),
        digest=digest,
        model=model,
        prompt=prompt,
        request=put_back(request),
        price=None if price is None else read_amount(price),
        state=word,
        task_id=task_id,
        result=None if result is None else load_result(put_back(result)),
        error=error,
        files=() if files is None else _names(files),
        nonce=nonce,
        owned=bool(owned),
        handed_over=bool(handed_over),
        intended_at=datetime.fromtimestamp(intended_at, UTC),
        ended_at=None if ended_at is None else datetime.fromtimestamp(ended_at, UTC),
        age_s=float(age_s),
    )


def _names(text: str) -> tuple[str, ...]:
    found = json.loads(text)
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        msg = "a list of files that is none"
        raise ValueError(msg)
    return tuple(found)
