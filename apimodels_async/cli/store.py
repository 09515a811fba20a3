"""
The store of a command: which one, and the one order that a command places in it.
"""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from attrs import define

from apimodels_async import ConfigurationError, InvalidRequestError, JournalError
from apimodels_async.stores import RedisStore, SqliteStore
from apimodels_async.stores.places import store_at
from apimodels_async.stores.recovered import request_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from apimodels_async.cli.context import CommandContext
    from apimodels_async.cli.options import Remembering
    from apimodels_async.models import AnyRequest, SavedAt
    from apimodels_async.stores import OrderRecord, OrderStore

Store = SqliteStore | RedisStore

STORE_VARIABLE: Final = "APIMODELS_STORE"


def find_store(given: str | None) -> Store | None:
    """Return the store at *given*, else at ``APIMODELS_STORE``; None: neither."""
    place = given if given is not None else os.environ.get(STORE_VARIABLE) or None
    return None if place is None else store_at(place)


def store_address(store: Store) -> str:
    """Return where *store* is, without a password."""
    return str(store.path) if isinstance(store, SqliteStore) else store.address


def existing_store(given: str | None) -> Store:
    """
    Return the store, for a command that reads it.

    Raises:
        ConfigurationError: None is named, or the file is not there; it is not made.
    """
    store = find_store(given)
    if store is None:
        msg = f"no store is named: give --store PATH, or set {STORE_VARIABLE}"
        raise ConfigurationError(msg)
    if isinstance(store, SqliteStore) and not store.path.exists():
        msg = f"there is no store at {store.path}"
        raise ConfigurationError(msg)
    return store


@define(eq=False)
class StoredOrder:
    """The order of one command, and what its store has of it."""

    store: OrderStore | None
    key: str | None
    """Its idempotency key; with a store there is one, be it random."""

    @classmethod
    def begin(cls, remembering: Remembering) -> Self:
        """
        Return where the order of a command with these options is remembered.

        Raises:
            ConfigurationError: A key without a store.
        """
        store, key = find_store(remembering.store), remembering.idempotency_key
        if store is None and key is not None:
            msg = (
                "--idempotency-key needs a store: give --store PATH, or set "
                f"{STORE_VARIABLE}"
            )
            raise ConfigurationError(msg)
        if store is not None and key is None:
            key = uuid.uuid4().hex
        return cls(store, key)

    def ordered_before(self, context: CommandContext) -> bool | None:
        """
        Return whether an earlier command bought it; None: without a store.

        To be asked once the API has answered. The session orders nothing else.
        """
        if self.store is None:
            return None
        return context.session.stats().submitted == 0

    async def request(self, context: CommandContext) -> AnyRequest | None:
        """Return what was ordered, as the store has it; None: it cannot tell."""
        record = None
        if self.store is not None and self.key is not None:
            with suppress(JournalError):  # the picture is there, under another name
                record = await context.session.find(self.key)
        return None if record is None else known_request(record)

    async def delivered(
        self, context: CommandContext, paths: Iterable[SavedAt], *, whole: bool
    ) -> None:
        """
        Write down where its pictures are; what cannot be is said, not raised.

        With a store only this hands it over (*manual_ack*).

        Args:
            whole: All that was wanted of it is there: nobody needs to recover it.
        """
        if self.store is None or self.key is None:
            return
        try:
            record = await context.session.find(self.key)
            if record is not None:
                await record_files(self.store, record.attempt, paths)
            if whole:
                await context.session.ack(self.key)
        except JournalError as error:  # the picture is there, and paid for
            context.output.note(f"Its files are not in the history: {error}", "yellow")


def known_request(record: OrderRecord) -> AnyRequest | None:
    """Return what was ordered; None: this release would not send it."""
    try:
        return request_of(record)
    except InvalidRequestError:  # its picture is there all the same
        return None


async def record_files(
    store: OrderStore, attempt: int, paths: Iterable[SavedAt]
) -> None:
    """
    Write down where the pictures of an attempt are; nothing where there are none.

    Raises:
        JournalError: The store cannot be used.
    """
    # An address is what it is.
    files = [each if isinstance(each, str) else str(each.absolute()) for each in paths]
    if files:
        await store.saved(attempt, files)
