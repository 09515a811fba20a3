"""
Reads a batch's journal, also while another process writes it.
"""

from __future__ import annotations

import json
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
from attrs import define

from apimodels_async import JournalError
from apimodels_async._core.files.names import is_address, name_in
from apimodels_async._core.money.orders import BATCH_SCOPE, ORDERED_ANEW
from apimodels_async.cli.gallery.card import Card
from apimodels_async.stores import HistoryQuery, OrderState, SqliteStore
from apimodels_async.stores.reading import pages_of
from apimodels_async.stores.store import opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from apimodels_async._core.files.object_urls import ObjectURL
    from apimodels_async.cli.gallery.card import State
    from apimodels_async.models import SavedAt
    from apimodels_async.stores import OrderRecord

PAGE: Final = 1000
"""Orders read at once: a journal is read whole, again and again while it grows."""
SHOWN: Final[dict[OrderState, State]] = {
    OrderState.ACCEPTED: "pending",
    OrderState.COMPLETED: "completed",
    OrderState.FAILED: "failed",
    OrderState.REFUSED: "refused",
    OrderState.UNKNOWN: "unknown",
}


@define
class Totals:
    """
    What the journal adds up to. Amounts in US dollars.
    """

    stated: int = 0
    """Completed, with a cost that the API stated."""
    priced: int = 0
    """Completed; the API stated no cost, the published price counts."""
    spent: Decimal = Decimal(0)
    reserved: Decimal = Decimal(0)
    """On what is on its way or of unknown fate."""


async def is_journal(file: Path) -> bool:
    """
    Return whether *file* is a batch's journal; else it is a session's store.

    Raises:
        JournalError: It is neither.
    """
    store = SqliteStore(file).reader()
    async with opened(store):
        query = HistoryQuery()
        return bool(await store.history(BATCH_SCOPE, query, before=None, limit=1))


async def read_cards(
    journal: Path,
    pictures: Path | ObjectURL | None,
    *,
    running: bool,
    limit: int | None = None,
) -> list[Card]:
    """
    Return what was ordered, by number; nothing if there is no journal yet.

    Args:
        pictures: The folder in which its files are, or the place in object storage,
            wherever that was when they came; None: where they were then.

        running: Whether a batch is at work on it: then what was written down just
            before it is sent is on its way, else of unknown fate.

        limit: Most of them; those that did not complete come first.

    Raises:
        JournalError: It cannot be read, or is damaged.
    """
    records = (await _current(journal)).values()
    cards = [_card(each, pictures, running=running) for each in records]
    cards.sort(key=lambda card: (card.state == "completed", card.number))
    return sorted(cards[:limit], key=lambda card: card.number)


async def read_totals(journal: Path) -> Totals:
    """
    Return the money of all runs together, of what was ordered anew as well.

    Raises:
        JournalError: It cannot be read, or is damaged.
    """
    totals = Totals()
    async for record in _attempts(journal):
        price = record.price or Decimal(0)
        if record.state is OrderState.COMPLETED:
            totals.spent += price if record.cost is None else record.cost
            totals.stated += record.cost is not None
            totals.priced += record.cost is None
        elif record.may_be_charged:
            totals.reserved += price
    return totals


async def read_states(journal: Path) -> dict[int, str]:
    """
    Return number -> the journal's own word for how far it got.

    Raises:
        JournalError: It cannot be read.
    """
    records = (await _current(journal)).values()
    return {record.number or 0: record.state.value for record in records}


async def _current(journal: Path) -> dict[str, OrderRecord]:
    """Return the attempt that counts of each item: the last that may be charged."""
    found: dict[str, OrderRecord] = {}
    async for record in _attempts(journal):  # newest first
        newer = found.setdefault(record.idempotency_key, record)
        if newer.state in ORDERED_ANEW and record.may_be_charged:
            found[record.idempotency_key] = record
    return found


async def _attempts(journal: Path) -> AsyncIterator[OrderRecord]:
    place = anyio.Path(journal)
    if not await place.exists() or not (await place.stat()).st_size:
        return  # a batch is about to make it
    store = SqliteStore(journal).reader()
    async with opened(store):
        async for record in pages_of(store, BATCH_SCOPE, HistoryQuery(), PAGE):
            yield record
        if store.damaged:  # it may be paid for: nothing that is said would be whole
            numbers = ", ".join(map(str, sorted(store.damaged)))
            msg = f"the store {journal} is damaged: attempts {numbers} cannot be read"
            raise JournalError(msg)


def _card(
    record: OrderRecord, pictures: Path | ObjectURL | None, *, running: bool
) -> Card:
    params = _params(record.request)
    seed = params.get("seed")
    time_s = None if record.result is None else record.result.duration_s
    return Card(
        number=record.number or 0,
        model=record.model,
        prompt=record.prompt or "",
        state=SHOWN.get(record.state, "pending" if running else "unknown"),
        price=record.price or Decimal(0),
        cost=record.cost,
        task_id=record.task_id,
        files=tuple(_place(each, pictures) for each in record.files),
        error=record.error,
        seed=seed if isinstance(seed, int) else None,
        time_s=time_s if time_s is not None and isfinite(time_s) else None,
        params=params,
    )


def _place(file: str, pictures: Path | ObjectURL | None) -> SavedAt:
    if pictures is None:
        return file if is_address(file) else Path(file)
    # A folder may have been moved, and is not to lead out of itself.
    name = name_in(file)
    return pictures / name if isinstance(pictures, Path) else pictures.address_of(name)


def _params(request: str) -> dict[str, Any]:
    try:
        body = json.loads(request)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}
