"""
Which store a place names: the path of a file, or the address of a server.

Few sessions have a store: each kind is imported where there is one.
"""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, cast

from apimodels_async._secret import Secret, hidden, names_server

if TYPE_CHECKING:
    from apimodels_async.stores.redis.store import RedisStore
    from apimodels_async.stores.sqlite.store import SqliteStore
    from apimodels_async.stores.store import OrderStore


def store_of(
    given: str | Secret | PathLike[str] | OrderStore | None,
) -> OrderStore | None:
    """Return the store that is *given*, or is at the place that is."""
    place, given = hidden(given), None  # a frame that raises shows locals
    return store_at(place) if isinstance(place, (Secret, PathLike)) else place


def store_at(place: str | Secret | PathLike[str]) -> SqliteStore | RedisStore:
    """
    Return the store at *place*, not opened yet: a file, or the address of a server.

    What begins like an address is one or is refused, never a path.

    Raises:
        ConfigurationError: No store has such an address, or what it needs is missing.
        InvalidRequestError: It is no path.
    """
    given, place = hidden(place), ""  # a frame that raises shows locals
    text = isinstance(given, Secret)
    if text and names_server(given.reveal()):
        from apimodels_async.stores.redis.store import RedisStore

        return RedisStore(cast("str", given))
    from apimodels_async.stores.sqlite.store import SqliteStore

    return SqliteStore(given.reveal() if text else given)
