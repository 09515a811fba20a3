"""
Orders in one SQLite file, readable with plain SQL, for any number of processes.
"""

from __future__ import annotations

import asyncio
import copy
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from apimodels_async._api.checks import check_path, check_span
from apimodels_async._core.money.orders import HOSTED, LEASE_S, Claim
from apimodels_async._core.money.pictures import digests_in
from apimodels_async._core.money.records import dump_result
from apimodels_async._io.shielded import outcome_of
from apimodels_async._secret import names_server
from apimodels_async.errors import JournalError
from apimodels_async.stores.records import Records, sum_money
from apimodels_async.stores.sqlite.claims import (
    Claims,
    accept_all,
    end_without_result,
    renew,
)
from apimodels_async.stores.sqlite.jobs import Alike
from apimodels_async.stores.sqlite.pictures import PictureFolder
from apimodels_async.stores.sqlite.statements import (
    ATTEMPT_MAX,
    FIND,
    FIND_TASK,
    FORGET_UPLOADS,
    HANDED_OVER,
    MONEY,
    NOW,
    PAGE,
    PICTURED,
    PROMPT,
    PRUNE,
    fields_in,
    for_all,
    history_of,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import timedelta
    from decimal import Decimal

    from apimodels_async._core.money.orders import NewOrder, OrderRecord
    from apimodels_async._core.money.resume import OrderState
    from apimodels_async.models import ImageResult
    from apimodels_async.stores.sqlite.connection import Connection
    from apimodels_async.stores.sqlite.reader import Reader
    from apimodels_async.stores.sqlite.writer import Writer
    from apimodels_async.stores.store import HistoryQuery

T = TypeVar("T")


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
        path = _shown(path)
        check_path("store", path, of_file=True)
        self.scope = scope
        """As given."""
        self.lease_s = LEASE_S
        """Seconds for which an owner counts as alive after it was last heard of."""
        self._path = Path(path).absolute()
        self._writers: list[Writer | Reader] = []
        """One for each time it was opened."""
        self._reads_only = False
        self._makes = True
        """Whether a file that is missing is made."""
        # Beside the file itself: a link to it leads to the same pictures.
        self._pictures = PictureFolder(Path(os.path.realpath(path) + ".files"))
        self._records = Records(f"the store {self._path}")
        self._claims = Claims(self._pictures, self._records)

    @classmethod
    def unchecked(
        cls, path: str | os.PathLike[str], *, lease_s: float, scope: str = ""
    ) -> SqliteStore:
        """
        Return a store with a lease of any length, for tests.

        A session that is silent for five sixths of *lease_s* sends no order, and what
        a killed one sent is of unknown fate that much sooner.
        """
        path = _shown(path)
        store = cls(path, scope=scope)
        store.lease_s = lease_s
        return store

    def reader(self) -> SqliteStore:
        """
        Return this store for reading alone, to be opened by itself.

        It writes nothing, so that its file and folder may be write-protected; only a
        file that was left half written by a kill is mended. None is made.
        """
        store = self.existing()
        store._reads_only = True  # noqa: SLF001
        store._records = Records(self._records.store)  # noqa: SLF001
        return store

    def existing(self) -> SqliteStore:
        """Return this store, to be opened by itself; a missing file is refused."""
        store = copy.copy(self)
        store._writers, store._makes = [], False  # noqa: SLF001
        return store

    def __repr__(self) -> str:
        return f"<SqliteStore {getattr(self, '_path', 'not set up')}>"

    @property
    def damaged(self) -> frozenset[int]:
        """Attempts that were left out of lists, as they cannot be read."""
        return frozenset(self._records.damaged)

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    async def open(self) -> None:
        """See ``OrderStore``."""
        left = False

        def work() -> Writer | Reader | None:
            # Callers who give up at once must not let a queue grow before the others.
            return None if left else self._acquire()

        opening = asyncio.get_running_loop().run_in_executor(None, work)
        try:
            writer = await outcome_of(opening)
        except asyncio.CancelledError:
            left = True
            opening.add_done_callback(_let_go)
            raise
        self._writers.append(cast("Writer | Reader", writer))

    def _acquire(self) -> Writer | Reader:
        # And sqlite3 with them.
        from apimodels_async.stores.sqlite.connection import check_there
        from apimodels_async.stores.sqlite.reader import Reader
        from apimodels_async.stores.sqlite.writer import Writer

        if not self._makes:
            check_there(self._path)
        way = Reader if self._reads_only else Writer
        return way.acquire(self._path, self._prepare)

    def _prepare(self, connection: sqlite3.Connection) -> None:
        from apimodels_async.stores.sqlite.schema import prepare

        prepare(connection, self._path)

    async def aclose(self) -> None:
        """See ``OrderStore``."""
        if not self._writers:
            return
        writer = self._writers.pop()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # that of its session is closed
            writer.release()
            return
        await outcome_of(loop.run_in_executor(None, writer.release))

    async def begin(self, order: NewOrder, anew: Collection[OrderState]) -> Claim:
        """See ``OrderStore``."""
        work = Alike(self._claims.begin, (order, anew, self.lease_s))
        claim: Claim | Sequence[Any] = await self._do(work)
        if isinstance(claim, Claim):
            return claim
        # Here, as reading takes longer than writing, and others wait for their turn.
        return Claim(granted=False, record=await self._read_whole(claim))

    async def accepted(self, attempt: int, task_id: str) -> None:
        """See ``OrderStore``."""
        await self._do(Alike(accept_all, (attempt, task_id)))

    async def ended(
        self,
        attempt: int,
        state: OrderState,
        *,
        task_id: str | None = None,
        result: ImageResult | None = None,
        error: str | None = None,
    ) -> None:
        """See ``OrderStore``."""
        if result is not None:
            cost = None if result.credits is None else str(result.credits)
            end = (attempt, task_id, cost, dump_result(result))
            await self._do(Alike(self._claims.complete, end))
            return
        facts = (attempt, state, task_id, error)
        await self._do(lambda db: end_without_result(db, *facts))

    async def handed_over(self, *attempts: int) -> None:
        """See ``OrderStore``."""
        pages = range(0, len(attempts), PAGE)
        rows = [[(each,) for each in attempts[at : at + PAGE]] for at in pages]
        await self._do(lambda db: [for_all(db, HANDED_OVER, some) for some in rows])

    async def saved(self, attempt: int, files: Sequence[str]) -> None:
        """See ``OrderStore``."""
        text = json.dumps(list(files), ensure_ascii=False)
        sql = "UPDATE orders SET files = ? WHERE attempt = ?"
        await self._write(sql, text, attempt)

    async def uploaded(self, scope: str, address: str, digest: str) -> None:
        """See ``OrderStore``."""
        sql = f"INSERT OR REPLACE INTO uploads VALUES (?, ?, ?, {NOW})"
        await self._write(sql, scope, address, digest)

    async def contents(
        self, scope: str, addresses: Collection[str]
    ) -> Mapping[str, str]:
        """See ``OrderStore``."""
        sql = "SELECT address, digest FROM uploads WHERE scope = ? AND address = ?"

        def work(db: Connection) -> dict[str, str]:
            rows = (db.execute(sql, (scope, each)).fetchone() for each in addresses)
            return dict(row for row in rows if row is not None)

        return await self._do(work)

    async def find(self, scope: str, idempotency_key: str) -> OrderRecord | None:
        """See ``OrderStore``."""
        return await self._find(FIND, scope, idempotency_key)

    async def find_task(self, scope: str, task_id: str) -> OrderRecord | None:
        """See ``OrderStore``."""
        return await self._find(FIND_TASK, scope, task_id)

    async def money(self, scope: str, prefix: str) -> tuple[Decimal, Decimal]:
        """See ``OrderStore``."""
        values = (scope, len(prefix), prefix)
        return await self._do(lambda db: sum_money(db.execute(MONEY, values)))

    async def forget(self, scope: str, idempotency_key: str) -> bool:
        """See ``OrderStore``."""
        sql = (
            "UPDATE orders SET current = 0 "
            "WHERE scope = ? AND idempotency_key = ? AND current"
        )
        place = (scope, idempotency_key)
        return await self._do(lambda db: db.execute(sql, place).rowcount > 0)

    async def renew(self, owner: str) -> None:
        """See ``OrderStore``."""
        await self._do(lambda db: renew(db, owner, self.lease_s))

    async def release(self, owner: str) -> None:
        """See ``OrderStore``."""
        await self._write("DELETE FROM owners WHERE owner = ?", owner)

    async def recover(self, scope: str, owner: str) -> OrderRecord | None:
        """See ``OrderStore``."""
        facts = (scope, owner, self.lease_s)
        return await self._do(lambda db: self._claims.recover(db, *facts))

    async def history(
        self, scope: str, query: HistoryQuery, *, before: int | None, limit: int
    ) -> list[OrderRecord]:
        """See ``OrderStore``."""
        sql, values = history_of(scope, query)
        text, below = (query.text or "").casefold(), before or ATTEMPT_MAX
        found: list[OrderRecord] = []
        while True:
            rows = await self._fetch(sql, *values, below, PAGE)
            for row in rows:
                below = row[0]
                if text not in str(row[PROMPT] or "").casefold():
                    continue
                # Pictures stay names: a page of them would be a gigabyte.
                record = self._records.read_if_whole(fields_in(row))
                if record is not None:
                    found.append(record)
                    if len(found) == limit:
                        return found
            if len(rows) < PAGE:
                return found

    async def prune(self, older_than: timedelta) -> int:
        """See ``OrderStore``."""
        check_span("older_than", older_than)

        def work(db: Connection) -> int:
            count = db.execute(PRUNE, (older_than.total_seconds(),)).rowcount
            hosted = older_than + HOSTED
            db.execute(FORGET_UPLOADS, (hosted.total_seconds(),))
            return count

        def sweep(db: Connection) -> None:
            texts = db.execute(PICTURED)
            # No other process can be between keeping a file and naming it: we have the
            # turn at the store.
            self._pictures.sweep({d for row in texts for d in digests_in(row[0])})

        count = await self._do(work)
        # Once that is durable: what is undone has its pictures still.
        await self._do(sweep)
        return count

    async def _find(self, query: str, *place: str) -> OrderRecord | None:
        rows = await self._fetch(query, *place)
        return await self._read_whole(rows[0]) if rows else None

    async def _fetch(self, query: str, *values: object) -> list[Any]:
        return await self._do(lambda db: db.execute(query, values).fetchall())

    async def _read_whole(self, row: Sequence[Any]) -> OrderRecord:
        """Return the record in *row* with its pictures, which are files."""
        read, fields = self._records.read, fields_in(row)
        if any(isinstance(each, str) and ";sha256," in each for each in row):
            return await asyncio.to_thread(read, fields, self._pictures.put_back)
        return read(fields, self._pictures.put_back)

    async def _write(self, statement: str, *values: object) -> None:
        await self._do(lambda db: db.execute(statement, values).rowcount)

    async def _do(self, work: Callable[[Connection], T]) -> T:
        if not self._writers:  # an order can outlive its session
            msg = f"the store {self._path} is closed"
            raise JournalError(msg)
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._writers[-1].put(work, done)
        return await done


def _shown(path: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """Return *path*, fit for a frame that raises: of an address its beginning."""
    return "redis://" if names_server(path) else path


def _let_go(opening: asyncio.Future[Writer | Reader | None]) -> None:
    if opening.cancelled() or opening.exception() is not None:
        return
    if (writer := opening.result()) is not None:
        release = writer.release
        try:
            opening.get_loop().run_in_executor(None, release)
        except RuntimeError:  # the loop is ending, and its executor has
            release()
