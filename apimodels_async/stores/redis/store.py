"""
Orders in a Redis server (7.0 or newer) or Valkey, for any number of machines.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import uuid
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from apimodels_async._api.checks import check_span
from apimodels_async._core.money.orders import BEFORE, ENDED, HOSTED, LEASE_S, Claim
from apimodels_async._core.money.pictures import digests_in, put_back, take_out
from apimodels_async._core.money.records import dump_result
from apimodels_async._core.money.resume import OrderState
from apimodels_async._secret import hidden
from apimodels_async.errors import ConfigurationError, JournalError
from apimodels_async.stores.records import Records, sum_money
from apimodels_async.stores.redis.claims import FREE, Claims
from apimodels_async.stores.redis.pictures import keep_pictures, pictures_in
from apimodels_async.stores.redis.rows import flat, read_fields, words_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import timedelta

    from apimodels_async._core.money.orders import NewOrder, OrderRecord
    from apimodels_async.models import ImageResult
    from apimodels_async.stores.redis.calls import Calls
    from apimodels_async.stores.redis.connection import Connection
    from apimodels_async.stores.store import HistoryQuery

ATTEMPT_MAX: Final = 2**53 - 1
PAGE: Final = 200
"""Attempts in one answer: a script holds up everybody."""


class RedisStore:
    """
    Orders in the Redis or Valkey server at *url*: ``redis://host:6379/0``.

    Any number of sessions, processes and machines may use one server, 7.0 or newer. It
    must keep what it has: opening refuses one that evicts keys, and warns of one that
    answers before its disk has what was written. Before an order is sent, and before
    its handle is given out, the store waits for that disk (Redis 7.2 or newer, Valkey).

    Args:
        url: ``redis://[user:password@]host:port/number``, ``rediss://`` over TLS,
            ``valkey://`` and ``valkeys://`` for the same, or ``unix:///path?db=0``. A
            password in it is in no text of this library.

        scope: Name of the account, where several accounts share the server at one API
            address.

        name: Before all keys, in braces; of several users of one server.

        replicas: How many replicas must have what is to be durable as well, on their
            disks (Redis 7.0: in memory). While fewer do, nothing is ordered.

    Raises:
        ConfigurationError: *url* is none, or *replicas*, or redis-py is not installed.
    """

    def __init__(
        self, url: str, *, scope: str = "", name: str = "apimodels", replicas: int = 0
    ) -> None:
        self.scope = scope
        """As given."""
        self.lease_s = LEASE_S
        """Seconds for which an owner counts as alive after it was last heard of."""
        place, url = hidden(url), ""  # a frame that raises shows locals
        if importlib.util.find_spec("redis") is None:
            msg = (
                "a store on Redis needs redis-py, which is not installed; "
                "run: pip install 'apimodels-async[redis]'"
            )
            raise ConfigurationError(msg)
        from apimodels_async._io.redis import Server

        self._server = Server(place, f"{{{name}}}")
        given: object = replicas
        if not isinstance(given, int) or given < 0:
            msg = f"replicas={given!r} must be a whole number, 0 or more"
            raise ConfigurationError(msg)
        self._replicas = replicas
        self._calls: dict[asyncio.AbstractEventLoop, tuple[Calls, int]] = {}
        """Loop -> its connections, and for how many sessions."""
        self._patience_s: float | None = None
        self._records = Records("the store on Redis")
        self._claims = Claims(lambda: self._open)

    @classmethod
    def unchecked(
        cls,
        url: str,
        *,
        lease_s: float = LEASE_S,
        patience_s: float | None = None,
        **options: Any,
    ) -> RedisStore:
        """
        Return a store with a lease of any length, for tests.

        A session that is silent for five sixths of *lease_s* sends no order, and what
        a killed one sent is of unknown fate that much sooner. A server that is away is
        tried for *patience_s* seconds, instead of 15.
        """
        place, url = hidden(url), ""  # a frame that raises shows locals
        store = cls(place, **options)
        store.lease_s, store._patience_s = lease_s, patience_s
        return store

    def __repr__(self) -> str:
        if not hasattr(self, "_server"):  # it is refused, and a traceback shows locals
            return "<RedisStore>"
        return f"<RedisStore {self.address} {self._server.name}>"

    @property
    def address(self) -> str:
        """The address of the server, without user and password."""
        return self._server.address

    @property
    def damaged(self) -> frozenset[int]:
        """Attempts that were left out of lists, as they cannot be read."""
        return frozenset(self._records.damaged)

    async def open(self) -> None:
        """See ``OrderStore``."""
        from apimodels_async.stores.redis.calls import PATIENCE_S, Calls
        from apimodels_async.stores.redis.server import look_at_server

        loop = asyncio.get_running_loop()
        for each in list(self._calls):
            if each.is_closed():  # it ended without its sessions being closed
                del self._calls[each]
        while loop not in self._calls:
            patience_s = self._patience_s or PATIENCE_S
            calls = Calls(self._connect(), self._server.name, patience_s)
            try:
                await look_at_server(calls, self._replicas)
            except BaseException:
                await calls.aclose()
                raise
            if loop not in self._calls:
                self._calls[loop] = calls, 0
            else:  # by another session, meanwhile; which may have closed it after this
                await calls.aclose()
        calls, users = self._calls[loop]
        self._calls[loop] = calls, users + 1

    def _connect(self) -> Connection:
        """Return the way to the server; a simulation has its own."""
        from apimodels_async._io.redis import ANSWER_S
        from apimodels_async.stores.redis.connection import DISK_S, RedisConnection

        return RedisConnection(self._server.connect(ANSWER_S + DISK_S))

    async def aclose(self) -> None:
        """See ``OrderStore``."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # that of its session is closed, and its connections are
            return
        calls, users = self._calls.pop(loop, (None, 0))
        if calls is None:
            return
        if users > 1:
            self._calls[loop] = calls, users - 1
        else:
            await calls.aclose()

    @property
    def _open(self) -> Calls:
        calls, _ = self._calls.get(asyncio.get_running_loop(), (None, 0))
        if calls is None:  # an order can outlive its session
            msg = "the store on Redis is closed"
            raise JournalError(msg)
        return calls

    async def begin(self, order: NewOrder, anew: Collection[OrderState]) -> Claim:
        """See ``OrderStore``."""
        request, pictures = take_out(order.request)
        await keep_pictures(self._open, pictures)
        granted, found = await self._claims.begin(order, request, anew, self.lease_s)
        if not granted:
            return Claim(granted=False, record=await self._read_whole(found))
        record = order.record(int(found[0]), float(found[1]))
        return Claim(granted=True, record=record)

    async def accepted(self, attempt: int, task_id: str) -> None:
        """See ``OrderStore``."""
        before = words_of(BEFORE[OrderState.ACCEPTED])
        await self._claims.say("accepted", attempt, before, task_id)

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
        text = cost = None
        pictures: dict[tuple[str, str], bytes] = {}
        if result is not None:
            text, pictures = take_out(dump_result(result))
            cost = None if result.credits is None else str(result.credits)
            await keep_pictures(self._open, pictures)
        fields = {"task_id": task_id, "cost": cost, "result": text, "error": error}
        states = words_of(BEFORE[state]), words_of(ENDED), FREE
        digests = " ".join(digests_in(text or ""))
        await self._claims.say(
            "ended", attempt, *states, digests, state.value, *flat(fields)
        )
        if state in ENDED:
            self._claims.begun.pop(attempt, None)

    async def handed_over(self, *attempts: int) -> None:
        """See ``OrderStore``."""
        for start in range(0, len(attempts), PAGE):
            await self._open.run("handed_over", *attempts[start : start + PAGE])

    async def saved(self, attempt: int, files: Sequence[str]) -> None:
        """See ``OrderStore``."""
        await self._open.run("saved", attempt, json.dumps(list(files)))

    async def uploaded(self, scope: str, address: str, digest: str) -> None:
        """See ``OrderStore``."""
        await self._open.run("uploaded", scope, address, digest)

    async def contents(
        self, scope: str, addresses: Collection[str]
    ) -> Mapping[str, str]:
        """See ``OrderStore``."""
        known = await self._open.ask("HMGET", f"uploads:{scope}", *addresses)
        return {
            address: digest.decode()
            for address, digest in zip(addresses, known, strict=True)
            if digest is not None
        }

    async def money(self, scope: str, prefix: str) -> tuple[Decimal, Decimal]:
        """See ``OrderStore``."""
        spent = reserved = Decimal(0)
        after: str | bytes = f"[{prefix}"
        while after:
            rows, after = await self._open.run("money", scope, prefix, after, PAGE)
            words = ([each and each.decode() for each in row] for row in rows)
            more, held = sum_money(words)
            spent, reserved = spent + more, reserved + held
        return spent, reserved

    async def find(self, scope: str, idempotency_key: str) -> OrderRecord | None:
        """See ``OrderStore``."""
        return await self._find("find", scope, idempotency_key)

    async def find_task(self, scope: str, task_id: str) -> OrderRecord | None:
        """See ``OrderStore``."""
        return await self._find("find_task", scope, task_id)

    async def forget(self, scope: str, idempotency_key: str) -> bool:
        """See ``OrderStore``."""
        call = uuid.uuid4().hex
        words = (scope, idempotency_key, call)
        return bool(await self._open.run_durably("forget", *words))

    async def renew(self, owner: str) -> None:
        """See ``OrderStore``."""
        await self._open.run("renew", owner, self.lease_s)
        with suppress(JournalError):  # it is renewed, and they stay in the list
            await self._claims.take_back()

    async def release(self, owner: str) -> None:
        """See ``OrderStore``."""
        await self._claims.release(owner)

    async def recover(self, scope: str, owner: str) -> OrderRecord | None:
        """See ``OrderStore``."""
        while True:
            row = await self._claims.recover(scope, owner, self.lease_s)
            if row is None:
                return None
            if self._records.read_if_whole(read_fields(row)) is not None:
                return await self._read_whole(row)

    async def history(
        self, scope: str, query: HistoryQuery, *, before: int | None, limit: int
    ) -> list[OrderRecord]:
        """See ``OrderStore``."""
        below = before or ATTEMPT_MAX
        found: list[OrderRecord] = []
        count = min(limit, PAGE)
        while True:
            rows = await self._open.run("page", scope, below, count)
            for fields in map(read_fields, rows):
                below = int(fields["attempt"])
                # Pictures stay names: a page of them would be a gigabyte.
                record = self._records.read_if_whole(fields)
                if record is not None and query.fits(record):
                    found.append(record)
                    if len(found) == limit:
                        return found
            if len(rows) < count:
                return found

    async def prune(self, older_than: timedelta) -> int:
        """See ``OrderStore``."""
        check_span("older_than", older_than)
        seconds = older_than.total_seconds()
        hosted = (older_than + HOSTED).total_seconds()
        count: int = 0
        while True:
            old, addresses = await self._open.run("prune", seconds, hosted, PAGE)
            count += old
            if not old and not addresses:
                return count

    async def _find(self, operation: str, *place: str) -> OrderRecord | None:
        row = await self._open.run(operation, *place)
        return None if row is None else await self._read_whole(row)

    async def _read_whole(self, row: Sequence[bytes]) -> OrderRecord:
        fields = read_fields(row)
        contents = await pictures_in(self._open, b"".join(row))

        def read(_media_type: str, digest: str) -> bytes | None:
            return contents.get(digest)

        return self._records.read(fields, lambda text: put_back(text, read))
