"""
What a store tells without a session: no API key, and no network but the store's own.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from apimodels_async._api import checks
from apimodels_async._core.money.resume import OrderState
from apimodels_async._io.config import check_options, resolve_base_url
from apimodels_async._secret import hidden
from apimodels_async.errors import ConfigurationError
from apimodels_async.stores.places import store_of
from apimodels_async.stores.store import HistoryQuery, ask, opened, scope_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from os import PathLike

    from apimodels_async._core.money.orders import OrderRecord
    from apimodels_async._secret import Secret
    from apimodels_async.stores.store import OrderStore

PAGE: Final = 100
"""Orders read from the store at once."""


async def read_history(
    store: str | PathLike[str] | OrderStore,
    *,
    base_url: str | None = None,
    state: OrderState | str | None = None,
    model: str | None = None,
    since: datetime | None = None,
    text: str | None = None,
) -> AsyncGenerator[OrderRecord, None]:
    """
    Yield every attempt *store* knows, newest first: no session, no API key, no network.

    A SQLite store is not written to, and may be write-protected; none is made.

    Args:
        store: As for ``Session``: path of a SQLite file, ``redis://host/0``, or any
            ``OrderStore``.

        base_url: Address of the API that was ordered at, as for ``Session``.

        state: As for ``Session.history``.

        model: As for ``Session.history``.

        since: As for ``Session.history``.

        text: As for ``Session.history``.

    Raises:
        ConfigurationError: *store* is none, or *base_url* is not usable.
        InvalidRequestError: No such state, or *since* without a zone.
        JournalError: The store cannot be used, or is not there.
    """
    place, store = hidden(store), ""  # a frame that raises shows locals
    where, base_url = hidden(base_url), None
    query = query_of(state, model, since, text)
    kept = _existing(place, reads=True)
    scope = scope_of(kept, resolve_base_url(where))
    async with opened(kept):
        async for record in pages_of(kept, scope, query):
            yield record


async def find_order(
    store: str | PathLike[str] | OrderStore,
    idempotency_key: str,
    *,
    base_url: str | None = None,
) -> OrderRecord | None:
    """
    Return what *store* knows of an idempotency key; as ``read_history``, alone.

    Raises:
        ConfigurationError: *store* is none, or *base_url* is not usable.
        InvalidRequestError: *idempotency_key* is not 1-255 printable characters.
        JournalError: The store cannot be used, or is not there.
    """
    place, store = hidden(store), ""  # a frame that raises shows locals
    where, base_url = hidden(base_url), None
    kept = _existing(place, reads=True)
    scope = scope_of(kept, resolve_base_url(where))
    key = checks.check_key(idempotency_key)
    async with opened(kept):
        return await ask(kept.find, scope, key)


async def forget_order(
    store: str | PathLike[str] | OrderStore,
    idempotency_key: str,
    *,
    base_url: str | None = None,
) -> bool:
    """
    Do as ``Session.forget``: no session, no API key, no network.

    The next order under the key **may pay twice**. *store* is as for ``read_history``.

    Returns:
        Whether the key named an order.

    Raises:
        ConfigurationError: *store* is none, or *base_url* is not usable.
        InvalidRequestError: *idempotency_key* is not 1-255 printable characters.
        JournalError: The store cannot be used, or is not there.
    """
    place, store = hidden(store), ""  # a frame that raises shows locals
    where, base_url = hidden(base_url), None
    kept = _existing(place)
    scope = scope_of(kept, resolve_base_url(where))
    key = checks.check_key(idempotency_key)
    async with opened(kept):
        return await ask(kept.forget, scope, key)


def _existing(
    given: Secret | PathLike[str] | OrderStore, *, reads: bool = False
) -> OrderStore:
    """
    Return the store that is *given*, or is at that place; opening it makes no file.

    Raises:
        ConfigurationError: It is none, and no place of one.
    """
    from apimodels_async.stores.sqlite.store import SqliteStore

    store = store_of(given)
    check_options(store=(store, "begin"))
    if store is None:
        msg = "there is no store None: give its path, its address, or a store"
        raise ConfigurationError(msg)
    if not isinstance(store, SqliteStore):
        return store
    return store.reader() if reads else store.existing()


async def pages_of(
    store: OrderStore, scope: str, query: HistoryQuery, size: int = PAGE
) -> AsyncIterator[OrderRecord]:
    """Yield the records of *query*, read page by page, each of *size* records."""
    before: int | None = None
    while True:
        page = await ask(store.history, scope, query, before=before, limit=size)
        for record in page:
            yield record
        if len(page) < size:
            return
        before = page[-1].attempt


def query_of(
    state: Any, model: str | None, since: Any, text: str | None
) -> HistoryQuery:
    """
    Return what is asked for.

    Raises:
        InvalidRequestError: No such state, or *since* without a zone.
    """
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
