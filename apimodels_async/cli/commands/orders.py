"""``apimodels history`` and ``forget``: what a store knows of orders."""

import shlex
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Final

from cyclopts import Parameter

from apimodels_async import ConfigurationError
from apimodels_async.cli.batch.journal import is_journal
from apimodels_async.cli.options import Count, Flag, Model, StorePlace
from apimodels_async.cli.output import Output, dollars, short_prompt
from apimodels_async.cli.store import Store, existing_store, store_address
from apimodels_async.cli.terminal.asking import confirm
from apimodels_async.cli.terminal.tables import Column, Rows
from apimodels_async.errors import CHARGED
from apimodels_async.stores import (
    OrderRecord,
    OrderState,
    SqliteStore,
    find_order,
    forget_order,
    read_history,
)

COLUMNS: Final = (
    *(Column("when"), Column("state", state=True), Column("cost", right=True)),
    *(Column("model", rank=1), Column("task", rank=2), Column("key", rank=3)),
    *(Column("files", rank=4), Column("prompt")),
)

Since = Annotated[datetime | None, Parameter(show_default=False)]


async def history(
    *,
    store: StorePlace = None,
    state: OrderState | None = None,
    model: Model = None,
    since: Since = None,
    text: str | None = None,
    limit: Count = None,
    base_url: str | None = None,
    json: Flag = False,
) -> None:
    """
    List the orders a store knows, newest first; free, needs no key and no network.

    An order is "intended" just before it is sent: if its program is gone, it may
    have been charged. "accepted" has a task; "refused" and "failed" cost nothing.

    Args:
        store: SQLite file or redis://..., else APIMODELS_STORE.

        state: Only orders of this state.

        model: Only orders of this model.

        since: Only orders of this day or later, or of a moment: 2026-11-28T09:30.

        text: Only orders with this in their prompt, upper and lower case alike.

        limit: At most so many.

        base_url: Address of the API they were ordered at, else
            APIMODELS_BASE_URL, else the vendor's.

        json: One JSON object a line instead of text.
    """
    output, kept = Output(json), existing_store(store)
    found = read_history(
        kept,
        base_url=base_url,
        state=state,
        model=model,
        since=None if since is None else since.astimezone(),
        text=text,
    )
    async with aclosing(found):
        count = await print_orders(output, kept, found, limit=limit)
    if not count:
        await note_if_journal(output, kept)


async def print_orders(
    output: Output,
    store: Store,
    found: AsyncIterator[OrderRecord],
    *,
    limit: int | None = None,
) -> int:
    """Print what was *found* in *store*, the first *limit* at most; return how many."""
    rows, count = Rows(output, COLUMNS), 0
    async for record in found:
        count += 1
        rows.add(*_cells(record))
        _print_record(output, record)
        if output.failed or count == limit:
            break
    rows.close()
    if not output.failed:
        # What was paid for at another address is not to be denied.
        hint = "" if count else " fit; those of another address need --base-url"
        output.note(
            f"{count} order{'' if count == 1 else 's'} in {store_address(store)}{hint}"
        )
    return count


async def note_if_journal(output: Output, store: Store) -> None:
    """Say how the orders of a batch are listed, should *store* be its journal."""
    if isinstance(store, SqliteStore) and await is_journal(store.path):
        path = shlex.quote(str(store.path))
        output.note(f"It is the journal of a batch, listed by: apimodels ls {path}")


def _print_record(output: Output, record: OrderRecord, event: str = "order") -> None:
    output.record(
        event,
        idempotency_key=record.idempotency_key,
        attempt=record.attempt,
        state=record.state,
        model=record.model,
        prompt=record.prompt,
        price=record.price,
        credits=record.cost,
        task_id=record.task_id,
        urls=() if record.result is None else record.result.urls,
        files=record.files,
        error=record.error,
        ordered_at=record.intended_at,
        ended_at=record.ended_at,
    )


def ordered_at(record: OrderRecord) -> str:
    """Return when that was, by the local clock."""
    return f"{record.intended_at.astimezone():%Y-%m-%d %H:%M:%S}"


def _cost(record: OrderRecord) -> str:
    return dollars(record.price if record.cost is None else record.cost)


def _cells(record: OrderRecord) -> tuple[str, ...]:
    return (
        ordered_at(record),
        record.state,
        _cost(record) if record.state is OrderState.COMPLETED else "-",
        record.model,
        record.task_id or "-",
        record.idempotency_key,
        " ".join(record.files) or "-",
        short_prompt(record.prompt),
    )


async def forget(
    idempotency_key: str,
    *,
    store: StorePlace = None,
    yes: Flag = False,
    base_url: str | None = None,
    json: Flag = False,
) -> None:
    """
    Forget what an idempotency key names: the next order under it is a new one.

    What it names may be paid for, or may be yet, and is then PAID FOR TWICE: it is
    shown, and you are asked. It stays in the history. Free, needs no API key and no
    network.

    Args:
        idempotency_key: As given when it was ordered.

        store: SQLite file or redis://..., else APIMODELS_STORE.

        yes: Do not ask.

        base_url: Address of the API it was ordered at, else APIMODELS_BASE_URL, else
            the vendor's.

        json: One JSON object a line instead of text.
    """
    output, kept = Output(json), existing_store(store)
    record = await find_order(kept, idempotency_key, base_url=base_url)
    if record is None:
        msg = f"there is no order under {idempotency_key!r} in {store_address(kept)}"
        raise ConfigurationError(msg)
    output.facts(
        key=record.idempotency_key,
        state=record.state,
        cost=_told_cost(record),
        task=record.task_id,
        ordered=ordered_at(record),
        model=record.model,
        prompt=short_prompt(record.prompt) or None,
        error=record.error,
    )
    if record.may_be_charged and not yes:
        await confirm(
            "The next order under this key is sent, and may be paid for twice. Go on?",
            output,
            needed=f"the order under {idempotency_key!r} is {record.state.value} and "
            "may be paid for twice: say so with --yes",
            otherwise="nothing was forgotten",
        )
    await forget_order(kept, idempotency_key, base_url=base_url)
    _print_record(output, record, "forgotten")
    output.note("Forgotten: the next order under this key is sent.")


def _told_cost(record: OrderRecord) -> str:
    if not record.may_be_charged:
        return CHARGED[False]
    if record.state is OrderState.COMPLETED:
        return f"{_cost(record)}, {CHARGED[True]}"
    return f"{_cost(record)}, {CHARGED[None]}"
