"""
Orders in a Redis server (7.0 or newer) or Valkey, for any number of machines.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import uuid
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from apimodels_async._api.checks import check_span
from apimodels_async._core.money.orders import (
    BEFORE,
    ENDED,
    HOSTED,
    LEASE_S,
    ORDERED_ANEW,
    Claim,
)
from apimodels_async._core.money.pictures import digests_in, put_back, take_out
from apimodels_async._core.money.records import dump_result, read_amount
from apimodels_async._core.money.resume import OrderState
from apimodels_async.errors import ConfigurationError, JournalError
from apimodels_async.stores.records import DAMAGE, load_record, read_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import timedelta

    from apimodels_async._core.money.orders import NewOrder, OrderRecord
    from apimodels_async.models import ImageResult
    from apimodels_async.stores.redis.calls import Calls
    from apimodels_async.stores.store import HistoryQuery

logger = logging.getLogger("apimodels_async.stores")

ATTEMPT_MAX: Final = 2**53 - 1
PAGE: Final = 200
"""Attempts in one answer: a script holds up everybody."""
SCHEMES: Final = {
    "redis": "redis",
    "rediss": "rediss",
    "unix": "unix",
    "valkey": "redis",
    "valkeys": "rediss",
}
"""Of an address -> as redis-py has it."""
PICTURE_S: Final = 86_400
"""For which a picture waits to be named; then no order did."""


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

    Raises:
        ConfigurationError: *url* is none, or redis-py is not installed.
    """

    def __init__(self, url: str, *, scope: str = "", name: str = "apimodels") -> None:
        self.scope = scope
        self.lease_s = LEASE_S
        self._url, self._address = _checked(url)
        self._name = f"{{{name}}}"
        self._calls: dict[asyncio.AbstractEventLoop, tuple[Calls, int]] = {}
        """Loop -> its connections, and for how many sessions."""
        self._patience_s: float | None = None
        self._lost: dict[str, tuple[str, str]] = {}
        """Claims without an answer, and whose they were."""
        self._damaged: set[int] = set()
        """Attempts that the log has named."""

    @classmethod
    def unchecked(
        cls,
        url: str,
        *,
        lease_s: float = LEASE_S,
        patience_s: float | None = None,
        scope: str = "",
        name: str = "apimodels",
    ) -> RedisStore:
        """
        Return a store with a lease of any length, for tests.

        A session that is silent for five sixths of *lease_s* sends no order, and what
        a killed one sent is of unknown fate that much sooner. A server that is away is
        tried for *patience_s* seconds, instead of 15.
        """
        store = cls(url, scope=scope, name=name)
        store.lease_s, store._patience_s = lease_s, patience_s
        return store

    def __repr__(self) -> str:
        return f"<RedisStore {self._address} {self._name}>"

    @property
    def address(self) -> str:
        """The address of the server, without user and password."""
        return self._address

    @property
    def damaged(self) -> frozenset[int]:
        """Attempts that were left out of lists, as they cannot be read."""
        return frozenset(self._damaged)

    async def open(self) -> None:
        """See :class:`OrderStore`."""
        from apimodels_async.stores.redis.calls import PATIENCE_S, Calls
        from apimodels_async.stores.redis.server import look_at_server

        loop = asyncio.get_running_loop()
        for each in list(self._calls):
            if each.is_closed():  # it ended without its sessions being closed
                del self._calls[each]
        if loop not in self._calls:
            calls = Calls(self._url, self._name, self._patience_s or PATIENCE_S)
            try:
                await look_at_server(calls)
            except BaseException:
                await calls.aclose()
                raise
            if loop not in self._calls:  # by another session, meanwhile
                self._calls[loop] = calls, 0
            else:
                await calls.aclose()
        calls, users = self._calls[loop]
        self._calls[loop] = calls, users + 1

    async def aclose(self) -> None:
        """See :class:`OrderStore`."""
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
        """See :class:`OrderStore`."""
        request, pictures = take_out(order.request)
        await self._keep(pictures)
        fields = {
            "scope": order.scope,
            "idempotency_key": order.idempotency_key,
            "digest": order.digest,
            "model": order.model,
            "prompt": order.prompt,
            "request": request,
            "price": None if order.price is None else str(order.price),
            "owner": order.owner,
            "nonce": order.nonce,
            "number": None if order.number is None else str(order.number),
        }
        await self._take_back()
        call = uuid.uuid4().hex
        words = (_words(anew), _words(ORDERED_ANEW), " ".join(digests_in(request)))
        try:
            granted, found = await self._open.run_durably(
                "begin", self.lease_s, call, *words, *_flat(fields)
            )
        except (JournalError, asyncio.CancelledError):
            # It may be granted all the same, and nobody would ever send it.
            self._lost[call] = order.scope, order.idempotency_key
            raise
        if granted:
            attempt, intended_at = found
            record = order.record(int(attempt), float(intended_at))
            return Claim(granted=True, record=record)
        return Claim(granted=False, record=await self._read_whole(found))

    async def _take_back(self) -> None:
        for call, (scope, idempotency_key) in list(self._lost.items()):
            words = (_words({OrderState.INTENDED}), _words(ENDED), _words(ORDERED_ANEW))
            place = (scope, idempotency_key, call)
            await self._open.run_durably("take_back", *place, *words)
            self._lost.pop(call, None)

    async def accepted(self, attempt: int, task_id: str) -> None:
        """See :class:`OrderStore`."""
        before = _words(BEFORE[OrderState.ACCEPTED])
        await self._open.run_durably("accepted", attempt, before, task_id)

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
        pictures: dict[tuple[str, str], bytes] = {}
        if result is not None:
            text, pictures = take_out(dump_result(result))
            cost = None if result.credits is None else str(result.credits)
            await self._keep(pictures)
        fields = {"task_id": task_id, "cost": cost, "result": text, "error": error}
        await self._open.run_durably(
            "ended",
            attempt,
            _words(BEFORE[state]),
            _words(ENDED),
            _words(ORDERED_ANEW),
            " ".join(digests_in(text or "")),
            state.value,
            *_flat(fields),
        )

    async def handed_over(self, *attempts: int) -> None:
        """See :class:`OrderStore`."""
        for start in range(0, len(attempts), PAGE):
            await self._open.run("handed_over", *attempts[start : start + PAGE])

    async def saved(self, attempt: int, files: Sequence[str]) -> None:
        """See :class:`OrderStore`."""
        await self._open.run("saved", attempt, json.dumps(list(files)))

    async def uploaded(self, scope: str, address: str, digest: str) -> None:
        """See :class:`OrderStore`."""
        await self._open.run("uploaded", scope, address, digest)

    async def contents(
        self, scope: str, addresses: Collection[str]
    ) -> Mapping[str, str]:
        """See :class:`OrderStore`."""
        known = await self._open.ask("HMGET", f"uploads:{scope}", *addresses)
        return {
            address: digest.decode()
            for address, digest in zip(addresses, known, strict=True)
            if digest is not None
        }

    async def money(self, scope: str, prefix: str) -> tuple[Decimal, Decimal]:
        """See :class:`OrderStore`."""
        spent = reserved = Decimal(0)
        after: str | bytes = f"[{prefix}"
        while after:
            rows, after = await self._open.run("money", scope, prefix, after, PAGE)
            for row in rows:
                state, price, cost = (each and each.decode() for each in row)
                if state == OrderState.COMPLETED.value:
                    spent += read_amount(cost or price or "0")
                elif state not in {each.value for each in ORDERED_ANEW}:
                    reserved += read_amount(price or "0")
        return spent, reserved

    async def find(self, scope: str, idempotency_key: str) -> OrderRecord | None:
        """See :class:`OrderStore`."""
        row = await self._open.run("find", scope, idempotency_key)
        return None if row is None else await self._read_whole(row)

    async def find_task(self, scope: str, task_id: str) -> OrderRecord | None:
        """See :class:`OrderStore`."""
        row = await self._open.run("find_task", scope, task_id)
        return None if row is None else await self._read_whole(row)

    async def forget(self, scope: str, idempotency_key: str) -> bool:
        """See :class:`OrderStore`."""
        return bool(await self._open.run_durably("forget", scope, idempotency_key))

    async def renew(self, owner: str) -> None:
        """See :class:`OrderStore`."""
        await self._open.run("renew", owner, self.lease_s)
        await self._take_back()

    async def release(self, owner: str) -> None:
        """See :class:`OrderStore`."""
        await self._open.run("release", owner)

    async def recover(self, scope: str, owner: str) -> OrderRecord | None:
        """See :class:`OrderStore`."""
        after = 0
        while True:
            call = uuid.uuid4().hex
            row = await self._open.run_durably(
                "recover", scope, owner, self.lease_s, call, after
            )
            if row is None:
                return None
            after = int(_fields(row)["attempt"])
            if self._readable(row):
                return await self._read_whole(row)

    async def history(
        self, scope: str, query: HistoryQuery, *, before: int | None, limit: int
    ) -> list[OrderRecord]:
        """See :class:`OrderStore`."""
        below = before or ATTEMPT_MAX
        found: list[OrderRecord] = []
        while True:
            rows = await self._open.run("page", scope, below, PAGE)
            for row in rows:
                below = int(_fields(row)["attempt"])
                if not self._readable(row):
                    continue
                # Pictures stay names: a page of them would be a gigabyte.
                record = _record(_fields(row))
                if query.fits(record):
                    found.append(record)
                    if len(found) == limit:
                        return found
            if len(rows) < PAGE:
                return found

    async def prune(self, older_than: timedelta) -> int:
        """See :class:`OrderStore`."""
        check_span("older_than", older_than)
        seconds = older_than.total_seconds()
        hosted = (older_than + HOSTED).total_seconds()
        count: int = 0
        while True:
            old, addresses = await self._open.run("prune", seconds, hosted, PAGE)
            count += old
            if not old and not addresses:
                return count

    async def _keep(self, pictures: Mapping[tuple[str, str], bytes]) -> None:
        for (_, digest), data in pictures.items():
            # Until an attempt names it, and then for as long as one does.
            key = f"picture:{digest}"
            await self._open.ask("SET", key, data, "NX", "EX", PICTURE_S)
            await self._open.ask("EXPIRE", key, PICTURE_S, "GT")  # it was there

    async def _read_whole(self, row: Sequence[bytes]) -> OrderRecord:
        fields = _fields(row)
        contents: dict[str, bytes] = {}
        for digest in digests_in(b"".join(row)):
            data = await self._open.ask("GET", f"picture:{digest}")
            if data is not None:
                contents[digest] = data

        def read(_media_type: str, digest: str) -> bytes | None:
            return contents.get(digest)

        try:
            return _record(fields, lambda text: put_back(text, read))
        except DAMAGE as error:
            msg = f"the store on Redis is damaged: {error}"
            raise JournalError(msg) from None

    def _readable(self, row: Sequence[bytes]) -> bool:
        """Return whether *row* can be read; one that cannot hides no other."""
        fields = _fields(row)
        try:
            _record(fields)
        except DAMAGE as error:
            attempt = int(fields["attempt"])
            if attempt not in self._damaged:
                self._damaged.add(attempt)
                msg = "order %s in the store on Redis is damaged and left out: %s"
                logger.error(msg, attempt, error)  # noqa: TRY400
            return False
        return True


def _words(states: Collection[OrderState]) -> str:
    return f" {' '.join(each.value for each in states)} "


def _flat(fields: Mapping[str, str | None]) -> list[str]:
    return [each for pair in fields.items() if pair[1] is not None for each in pair]  # type: ignore[misc]


def _fields(row: Sequence[bytes]) -> dict[str, Any]:
    names, values = row[::2], map(read_text, row[1::2])
    return dict(zip((each.decode() for each in names), values, strict=True))


def _record(
    fields: Mapping[str, Any], put_back: Callable[[str], str] = str
) -> OrderRecord:
    flags = {name: fields.get(name) == "1" for name in ("owned", "handed_over")}
    return load_record({**fields, **flags}, put_back)


def _checked(url: str) -> tuple[str, str]:
    """Return *url* as redis-py has it, and without what is secret in it."""
    if importlib.util.find_spec("redis") is None:
        msg = (
            "a store on Redis needs redis-py, which is not installed; "
            "run: pip install 'apimodels-async[redis]'"
        )
        raise ConfigurationError(msg)
    from apimodels_async.stores.redis.calls import check_address

    scheme, _, rest = url.partition("://")
    known = SCHEMES.get(scheme)
    # Not said as redis-py has it: its words may have a part of a password in them.
    with suppress(ValueError):
        if known is not None:
            check_address(f"{known}://{rest}")
            place = rest.partition("?")[0].rpartition("@")[2]
            return f"{known}://{rest}", f"{scheme}://{place}"
    msg = (
        "store: that is no address of a Redis server; write "
        "redis://[user:password@]host:port/number"
    )
    raise ConfigurationError(msg) from None
