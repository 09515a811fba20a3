"""
What a session tells of its store: the history, and what earlier processes left.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

from apimodels_async._api import checks, requests
from apimodels_async._core.money.orders import (
    ORDERED_ANEW,
    Standing,
    check_key,
    standing_of,
)
from apimodels_async._core.money.resume import OrderState
from apimodels_async._io.config import resolve_base_url
from apimodels_async.errors import (
    ConfigurationError,
    GenerationFailedError,
    InvalidRequestError,
)
from apimodels_async.models import ImageResult
from apimodels_async.stores.sent_order import LOOK_S, UNDER_WAY_S, SentOrder
from apimodels_async.stores.store import HistoryQuery, ask, scope_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
    from os import PathLike

    from apimodels_async._core.money.orders import OrderRecord
    from apimodels_async.models import AnyRequest
    from apimodels_async.stores.redis.store import RedisStore
    from apimodels_async.stores.sent import SentOrders
    from apimodels_async.stores.sqlite.store import SqliteStore
    from apimodels_async.stores.store import OrderStore

    Product = Awaitable[ImageResult] | ImageResult
    TakeUp = Callable[[SentOrder, OrderRecord], Awaitable[Product]]

NO_STORE: Final = "this session has no store: Session(store='orders.sqlite')"
ADDRESS: Final = re.compile(r"[a-z][a-z0-9+.-]*://")
PAGE: Final = 100
"""Orders read from the store at once."""


@define(eq=False)
class RecoveredOrder:
    """
    An order that an earlier process paid for, or may have, and never saw the end of.

    It is this session's now; until :meth:`ack` it is recovered again by the next one.
    """

    record: OrderRecord
    """As the store has it."""
    _take_up: TakeUp
    _log: SentOrder
    _product: Product | None = field(init=False, default=None)

    @property
    def idempotency_key(self) -> str:
        """Its name; a random one where it was given none."""
        return self.record.idempotency_key

    @property
    def task_id(self) -> str | None:
        """The vendor's id, where one is known."""
        return self.record.task_id

    @property
    def prompt(self) -> str | None:
        """What to draw."""
        return self.record.prompt

    @property
    def model(self) -> str:
        """Model id."""
        return self.record.model

    @property
    def state(self) -> OrderState:
        """How far it had got when it was recovered."""
        return self.record.state

    @property
    def request(self) -> AnyRequest:
        """
        What was ordered, as a request value.

        Raises:
            InvalidRequestError: This release would not send it.
        """
        return request_of(self.record)

    async def result(self) -> ImageResult:
        """
        Return its result, waiting for it; free, nothing is ordered.

        Raises:
            OutcomeUnknownError: Nobody knows whether it was charged.
            GenerationFailedError: The task failed; it is not charged.
            As :meth:`TaskHandle.result`.
        """
        if self._product is None:
            self._product = await self._take_up(self._log, self.record)
        if isinstance(self._product, ImageResult):
            return self._product
        return await self._product

    async def ack(self) -> None:
        """
        Say that it is dealt with: nobody recovers it again. Idempotent.

        Raises:
            JournalError: That cannot be written down.
        """
        await ask(self._log.orders.store.handed_over, self.record.attempt)

    def __repr__(self) -> str:
        return (
            f"<RecoveredOrder {self.idempotency_key} {self.state.value} "
            f"{self.task_id or '-'}>"
        )


def request_of(record: OrderRecord) -> AnyRequest:
    """
    Return the request of *record*, its callback address left out.

    Raises:
        InvalidRequestError: This release would not send it.
    """
    try:
        body = json.loads(record.request)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        msg = f"the request of order {record.idempotency_key!r} cannot be read"
        raise InvalidRequestError(msg)
    body.pop("callBackUrl", None)
    return requests.read_request({**body, "model": record.model})


class StoredOrders:
    """What ``Session`` can do because it has a store. Everything here is free."""

    def _orders(self) -> tuple[SentOrders | None, TakeUp]:
        """Return the session's orders in its store, and what takes one up."""
        raise NotImplementedError

    def _need_store(self) -> tuple[SentOrders, TakeUp]:
        orders, take_up = self._orders()
        if orders is None:
            raise ConfigurationError(NO_STORE)
        return orders, take_up

    async def recover(self) -> AsyncIterator[RecoveredOrder]:
        """
        Yield what earlier sessions paid for, or may have, and never handed over.

        Each belongs to this session from then on; over all processes that share the
        store one alone gets it. Ends when nothing is left. An order whose session was
        killed is recovered once its lease of a minute has run out.

        Raises:
            ConfigurationError: The session has no store.
            JournalError: The store cannot be used.
        """
        orders, take_up = self._need_store()
        await orders.open()
        while True:
            record = await orders.recover()
            if record is None:
                return
            yield RecoveredOrder(record, take_up, SentOrder.follow(orders, record))

    async def history(
        self,
        *,
        state: OrderState | str | None = None,
        model: str | None = None,
        since: datetime | None = None,
        text: str | None = None,
    ) -> AsyncIterator[OrderRecord]:
        """
        Yield every attempt the store knows, newest first, read page by page.

        Args:
            state: Only these: intended, accepted, completed, failed, refused, unknown.

            model: Only of this model id.

            since: Only those ordered then or later; with its zone.

            text: Only those with this in their prompt, in any case.

        Raises:
            ConfigurationError: The session has no store.
            InvalidRequestError: No such state, or *since* without a zone.
            JournalError: The store cannot be used.
        """
        orders, _ = self._need_store()
        query = _query(state, model, since, text)
        await orders.open()
        async for record in _pages(orders.store, orders.scope, query):
            yield record

    async def forget(self, idempotency_key: str) -> bool:
        """
        Let an idempotency key name nothing: the next order under it is sent anew.

        This is how to order again what is of unknown fate, and **may pay twice**. Its
        attempts stay in the history.

        Returns:
            Whether the key named an order.

        Raises:
            ConfigurationError: The session has no store.
            JournalError: The store cannot be used.
        """
        orders, _ = self._need_store()
        await orders.open()
        key = check_key(idempotency_key)
        return await ask(orders.store.forget, orders.scope, key)

    async def ack(self, idempotency_key: str) -> bool:
        """
        Say that what was ordered under a key is dealt with: nobody recovers it any
        more. Idempotent.

        For orders with ``manual_ack=True``; the others count as handed over once their
        result is returned. It never cancels anything: one that is pending goes on.

        Returns:
            Whether the key names an order.

        Raises:
            ConfigurationError: The session has no store.
            JournalError: That cannot be written down.
        """
        orders, _ = self._need_store()
        record = await self.find(idempotency_key)
        if record is not None:
            await ask(orders.store.handed_over, record.attempt)
        return record is not None

    async def find(self, idempotency_key: str) -> OrderRecord | None:
        """
        Return what the store knows of an idempotency key; None: nothing.

        Raises:
            ConfigurationError: The session has no store.
            JournalError: The store cannot be used.
        """
        orders, _ = self._need_store()
        await orders.open()
        key = check_key(idempotency_key)
        return await ask(orders.store.find, orders.scope, key)


async def find_sent(
    orders: SentOrders, idempotency_key: str
) -> tuple[SentOrder, OrderRecord]:
    """
    Return what became of an order, once nobody is sending it any more, and its log.

    Raises:
        InvalidRequestError: The key names none.
        GenerationFailedError: It was refused, or failed.
        JournalError: The store cannot be used.
    """
    await orders.open()
    key = check_key(idempotency_key)
    until = orders.clock.time() + UNDER_WAY_S
    while True:
        known = await ask(orders.store.find, orders.scope, key)
        if known is None:
            msg = f"there is no order under idempotency_key={key!r}"
            raise InvalidRequestError(msg, parameter="idempotency_key")
        standing = standing_of(known, known.digest)
        if standing is not Standing.UNDER_WAY or orders.clock.time() >= until:
            break
        await orders.clock.sleep(LOOK_S)
    if known.state in ORDERED_ANEW:
        why = known.error or f"the order was {known.state.value}"
        error = GenerationFailedError(why, fail_message=why, task_id=known.task_id)
        error.idempotency_key = key
        raise error
    return SentOrder.follow(orders, known), known


async def read_history(
    store: OrderStore,
    *,
    base_url: str | None = None,
    state: OrderState | str | None = None,
    model: str | None = None,
    since: datetime | None = None,
    text: str | None = None,
) -> AsyncGenerator[OrderRecord, None]:
    """
    Yield every attempt *store* knows, newest first: no session, no API key, no network.

    A SQLite store is not written to, and may be write-protected.

    Args:
        base_url: Address of the API that was ordered at, as for ``Session``.

        state, model, since, text: As for ``Session.history``.

    Raises:
        ConfigurationError: *base_url* is not usable.
        InvalidRequestError: No such state, or *since* without a zone.
        JournalError: The store cannot be used.
    """
    query = _query(state, model, since, text)
    scope = scope_of(store, resolve_base_url(base_url))
    store = _for_reading(store)
    await ask(store.open)
    try:
        async for record in _pages(store, scope, query):
            yield record
    finally:
        await ask(store.aclose)


async def find_order(
    store: OrderStore, idempotency_key: str, *, base_url: str | None = None
) -> OrderRecord | None:
    """
    Return what *store* knows of an idempotency key; as :func:`read_history`, alone.

    Raises:
        ConfigurationError: *base_url* is not usable.
        JournalError: The store cannot be used.
    """
    place = (scope_of(store, resolve_base_url(base_url)), check_key(idempotency_key))
    store = _for_reading(store)
    await ask(store.open)
    try:
        return await ask(store.find, *place)
    finally:
        await ask(store.aclose)


async def forget_order(
    store: OrderStore, idempotency_key: str, *, base_url: str | None = None
) -> bool:
    """
    Do as ``Session.forget``: no session, no API key, no network.

    The next order under the key **may pay twice**.

    Returns:
        Whether the key named an order.

    Raises:
        ConfigurationError: *base_url* is not usable.
        JournalError: The store cannot be used.
    """
    place = (scope_of(store, resolve_base_url(base_url)), check_key(idempotency_key))
    await ask(store.open)
    try:
        return await ask(store.forget, *place)
    finally:
        await ask(store.aclose)


def store_at(place: str | PathLike[str]) -> SqliteStore | RedisStore:
    """
    Return the store at *place*, not opened yet: a file, or the address of a server.

    Raises:
        ConfigurationError: No store has such an address, or what it needs is missing.
        InvalidRequestError: It is no path.
    """
    # Few sessions have one.
    if isinstance(place, str) and ADDRESS.match(place):
        from apimodels_async.stores.redis.store import RedisStore

        return RedisStore(place)
    from apimodels_async.stores.sqlite.store import SqliteStore

    return SqliteStore(place)


def _for_reading(store: OrderStore) -> OrderStore:
    from apimodels_async.stores.sqlite.store import SqliteStore

    return store.reader() if isinstance(store, SqliteStore) else store


async def _pages(
    store: OrderStore, scope: str, query: HistoryQuery
) -> AsyncIterator[OrderRecord]:
    before: int | None = None
    while True:
        page = await ask(store.history, scope, query, before=before, limit=PAGE)
        for record in page:
            yield record
        if len(page) < PAGE:
            return
        before = page[-1].attempt


def _query(state: Any, model: str | None, since: Any, text: str | None) -> HistoryQuery:
    word = None
    if state is not None:
        words = [each.value for each in OrderState]
        if state not in words:
            checks.refuse("state", state, "one of " + ", ".join(words))
        word = OrderState(state)
    for name, value in (("model", model), ("text", text)):
        if not isinstance(value, str | None):
            checks.refuse(name, value, "text")
    zone = since.utcoffset() if isinstance(since, datetime) else None
    if since is not None and zone is None:
        checks.refuse("since", since, "a datetime with its zone")
    return HistoryQuery(state=word, model=model, since=since, text=text)
