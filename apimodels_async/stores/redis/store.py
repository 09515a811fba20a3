"""
Orders in a Redis server (7.0 or newer) or Valkey, for any number of machines.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

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
from apimodels_async.errors import JournalError
from apimodels_async.stores.records import DAMAGE, load_record
from apimodels_async.stores.redis.calls import Calls

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import timedelta

    from apimodels_async._core.money.orders import NewOrder, OrderRecord
    from apimodels_async.models import ImageResult
    from apimodels_async.stores.store import HistoryQuery

logger = logging.getLogger("apimodels_async.stores")

ATTEMPT_MAX: Final = 2**53 - 1
PAGE: Final = 200
"""Attempts in one answer: a script holds up everybody."""
PICTURE_S: Final = 86_400
"""For which a picture waits to be named; then no order did."""


class RedisStore:
    """
    Orders in the Redis server at *url*: ``redis://host:6379/0``, ``rediss://`` for TLS.

    Any number of sessions, processes and machines may use one server. It must keep what
    it has: opening refuses one that evicts keys, and warns of one without an
    append-only file. Before an order is sent, and before its handle is given out, the
    store waits for the server's disk where the server can tell (Redis 7.2, Valkey).

    Args:
        url: Credentials in it are in no text of this library.

        scope: Name of the account, where several accounts share the server at one API
            address.

        name: Before all keys; of several libraries, or users, on one server.

    Raises:
        ConfigurationError: *url* is none.
    """

    def __init__(self, url: str, *, scope: str = "", name: str = "{apimodels}") -> None:
        self.scope = scope
        self.lease_s = LEASE_S
        self._url = url
        self._name = name
        self._calls: dict[asyncio.AbstractEventLoop, tuple[Calls, int]] = {}
        """Loop -> its connections, and for how many sessions."""
        self._damaged: set[int] = set()
        """Attempts that the log has named."""

    @classmethod
    def unchecked(
        cls, url: str, *, lease_s: float, scope: str = "", name: str = "{apimodels}"
    ) -> RedisStore:
        """Return a store with a lease of any length, for tests."""
        store = cls(url, scope=scope, name=name)
        store.lease_s = lease_s
        return store

    def __repr__(self) -> str:
        return f"<RedisStore {self._name}>"

    async def open(self) -> None:
        """See :class:`OrderStore`."""
        loop = asyncio.get_running_loop()
        calls, users = self._calls.get(loop, (None, 0))
        if calls is not None:
            self._calls[loop] = calls, users + 1
            return
        calls = Calls(self._url, self._name)
        try:
            _check_server(await calls.open())
        except BaseException:
            await calls.aclose()
            raise
        calls, users = self._calls.get(loop, (calls, 0))
        self._calls[loop] = calls, users + 1

    async def aclose(self) -> None:
        """See :class:`OrderStore`."""
        loop = asyncio.get_running_loop()
        calls, users = self._calls.pop(loop, (None, 0))
        if users > 1 and calls is not None:
            self._calls[loop] = calls, users - 1
        elif calls is not None:
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
        granted, row = await self._open.run_durably(
            "begin",
            self.lease_s,
            uuid.uuid4().hex,
            _words(anew),
            _words(ORDERED_ANEW),
            " ".join(digests_in(request)),
            *_flat(fields),
        )
        return Claim(granted=bool(granted), record=await self._read_whole(row))

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

    async def handed_over(self, attempt: int) -> None:
        """See :class:`OrderStore`."""
        await self._open.run("handed_over", attempt)

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
        seconds = older_than.total_seconds()
        hosted, count = (older_than + HOSTED).total_seconds(), 0
        while True:
            old, addresses = await self._open.run("prune", seconds, hosted, PAGE)
            count += old
            if not old and not addresses:
                return count

    async def _keep(self, pictures: Mapping[tuple[str, str], bytes]) -> None:
        for (_, digest), data in pictures.items():
            # Until an attempt names it, and then for as long as one does.
            await self._open.ask(
                "SET", f"picture:{digest}", data, "NX", "EX", PICTURE_S
            )

    async def _read_whole(self, row: Sequence[bytes]) -> OrderRecord:
        fields = _fields(row)
        contents: dict[str, bytes] = {}
        for digest in digests_in(fields.get("request", "") + fields.get("result", "")):
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


def _check_server(info: Mapping[str, Any]) -> None:
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        msg = (
            f"the Redis server evicts keys (maxmemory-policy {policy}), and what it "
            "forgets would be bought again: set maxmemory-policy noeviction"
        )
        raise JournalError(msg)
    if not info.get("aof_enabled"):
        logger.warning(
            "the Redis server has no append-only file (appendonly no): orders that it "
            "forgets in a crash can be bought again"
        )


def _words(states: Collection[OrderState]) -> str:
    return f" {' '.join(each.value for each in states)} "


def _flat(fields: Mapping[str, str | None]) -> list[str]:
    return [each for pair in fields.items() if pair[1] is not None for each in pair]  # type: ignore[misc]


def _fields(row: Sequence[bytes]) -> dict[str, str]:
    texts = [each.decode(errors="surrogateescape") for each in row]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _record(
    fields: Mapping[str, str], put_back: Callable[[str], str] = str
) -> OrderRecord:
    flags = {name: fields.get(name) == "1" for name in ("owned", "handed_over")}
    return load_record({**fields, **flags}, put_back)
