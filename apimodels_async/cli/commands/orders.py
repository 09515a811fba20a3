"""``apimodels history``, ``recover`` and ``forget``: what a store knows of orders."""

from __future__ import annotations

import asyncio
import os
import shlex
from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

from attrs import define, field
from cyclopts import Parameter

from apimodels_async import (
    ApiModelsError,
    ConfigurationError,
    InvalidRequestError,
    JournalError,
    OutcomeUnknownError,
    ResultExpiredError,
    TaskNotFoundError,
)
from apimodels_async._io.files.destinations import read_destination
from apimodels_async.cli.asking import confirm
from apimodels_async.cli.batch.journal import is_journal
from apimodels_async.cli.context import command_context, open_session
from apimodels_async.cli.errors import CHARGES, ExitCode, exit_code
from apimodels_async.cli.options import Common, Count, Flag, Model, StorePlace
from apimodels_async.cli.output import Output, spinner, truncated
from apimodels_async.cli.store import existing_store, place_of, record_files
from apimodels_async.cli.tables import Column, Rows
from apimodels_async.stores import (
    OrderState,
    SqliteStore,
    find_order,
    forget_order,
    read_history,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from apimodels_async import ImageResult
    from apimodels_async.cli.context import CommandContext
    from apimodels_async.cli.store import Store
    from apimodels_async.models import AnyRequest, SavedAt
    from apimodels_async.stores import OrderRecord, RecoveredOrder

PROMPT_CHARS: Final = 40
COLUMNS: Final = (
    *(Column("when"), Column("state", state=True), Column("cost", right=True)),
    *(Column("model", rank=1), Column("task", rank=2), Column("key", rank=3)),
    *(Column("files", rank=4), Column("prompt")),
)
AT_ONCE: Final = 50
"""Orders that are waited for and saved at the same time."""
LOST: Final = (OutcomeUnknownError, ResultExpiredError, TaskNotFoundError)
"""Ends after which no picture can be had."""
OPEN: Final = (OrderState.INTENDED, OrderState.ACCEPTED, OrderState.UNKNOWN)

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
        await _say_if_journal(output, kept)


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
        output.note(f"{count} orders in {place_of(store)}{hint}")
    return count


async def _say_if_journal(output: Output, store: Store) -> None:
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


def _when(record: OrderRecord) -> str:
    return f"{record.intended_at.astimezone():%Y-%m-%d %H:%M:%S}"


def _cost(record: OrderRecord) -> str:
    cost = record.cost if record.cost is not None else record.price
    return "-" if cost is None else f"${cost}"


def _cells(record: OrderRecord) -> tuple[str, ...]:
    return (
        _when(record),
        record.state,
        _cost(record) if record.state is OrderState.COMPLETED else "-",
        record.model,
        record.task_id or "-",
        record.idempotency_key,
        " ".join(record.files) or "-",
        truncated(record.prompt or "", PROMPT_CHARS),
    )


async def recover(
    *,
    store: StorePlace = None,
    out: Annotated[str, Parameter(name=("--out", "-o"))] = os.curdir,
    drop_lost: Flag = False,
    common: Common | None = None,
) -> int:
    """
    Fetch what earlier programs paid for and never got; free, orders nothing.

    Each order is waited for and its pictures are saved; only then it counts as
    handed over. Ctrl-C leaves the rest to the next run. What nobody can fetch is
    listed each time: orders of unknown outcome, and pictures that are gone.
    Orders of a program that was killed come a minute after its death.

    Args:
        store: SQLite file or redis://..., else APIMODELS_STORE.

        out: Folder for the pictures, made if missing, or s3://bucket/prefix and its
            like; their names are the prompts'.

        drop_lost: List what nobody can fetch a last time.
    """
    common = common or Common()
    output, kept = Output(common.json), existing_store(store)
    folder = out if out.endswith("/") else f"{out or os.curdir}/"
    read_destination(folder, "out")
    session = open_session(common, kept)
    async with command_context(session, output) as context:
        recovery = Recovery(context, kept, folder, drop_lost)
        with spinner(output, "looking for orders") as say:
            await recovery.run(say)
    output.note(recovery.summary(session.base_url))
    if not recovery.count:
        await _say_if_journal(output, kept)
    return recovery.worst


@define(eq=False)
class Recovery:
    """One run of ``apimodels recover``."""

    context: CommandContext
    store: Store
    folder: str
    """Ends in a separator: it is made if it is missing."""
    drop_lost: bool
    worst: ExitCode = field(init=False, default=ExitCode.OK)
    saved: int = field(init=False, default=0)
    failed: int = field(init=False, default=0)
    lost: int = field(init=False, default=0)
    """Nobody can fetch their pictures."""
    others: int = field(init=False, default=0)
    """They belong to programs that live, or died less than a lease ago."""

    @property
    def count(self) -> int:
        """How many have ended."""
        return self.saved + self.failed + self.lost

    async def run(self, say: Callable[[str], None]) -> None:
        """Fetch all that is left; *say* shows how far it has got."""
        session = self.context.session
        for state in OPEN:
            records = read_history(self.store, base_url=session.base_url, state=state)
            async for record in records:
                self.others += record.owned and not record.handed_over
        orders = [order async for order in session.recover()]
        turns = asyncio.Semaphore(AT_ONCE)

        async def fetch(order: RecoveredOrder) -> None:
            async with turns:
                await self._fetch(order)
            say(f"{self.count} of {len(orders)} orders")

        say(f"0 of {len(orders)} orders")
        try:
            async with asyncio.TaskGroup() as group:
                for order in orders:
                    group.create_task(fetch(order), name="apimodels-recover")
        except asyncio.CancelledError:
            left = len(orders) - self.saved
            self.context.output.note(
                f"{self.saved} saved; {left} are left to the next: apimodels recover",
                "",
            )
            raise

    async def _fetch(self, order: RecoveredOrder) -> None:
        try:
            result = await order.result()
            paths = await self.context.session.download_all(
                result, self.folder, request=_request_of(order)
            )
            await record_files(self.store, order.record.attempt, paths)
            await order.ack()  # it is on disk: nobody needs to fetch it again
        except ApiModelsError as error:
            await self._print_failure(order, error)
        else:
            self.saved += 1
            self._print_saved(order, result, paths)

    def _print_saved(
        self, order: RecoveredOrder, result: ImageResult, paths: list[SavedAt]
    ) -> None:
        output, cost = self.context.output, result.credits
        output.line(
            "  ".join(
                (
                    " ".join(map(str, paths)),
                    "-" if cost is None else f"${cost}",
                    order.task_id or "-",
                    truncated(order.prompt or "", PROMPT_CHARS),
                )
            )
        )
        output.record(
            "recovered",
            idempotency_key=order.idempotency_key,
            model=order.model,
            prompt=order.prompt,
            task_id=order.task_id,
            credits=cost,
            urls=result.urls,
            path=paths[0],
            paths=paths,
            ordered_at=order.record.intended_at,
        )

    async def _print_failure(
        self, order: RecoveredOrder, error: ApiModelsError
    ) -> None:
        error.idempotency_key = order.idempotency_key
        self.worst = max(self.worst, exit_code(error, ordered=True))
        prompt = truncated(order.prompt or "", PROMPT_CHARS)
        words = f"Ordered {_when(order.record)}, {order.model}: {prompt}"
        if not isinstance(error, LOST):
            self.failed += 1
        else:
            self.lost += 1
        self.context.output.note(words, "")
        self.context.output.error(error)
        if self.drop_lost and isinstance(error, LOST):
            try:
                await order.ack()
            except JournalError as trouble:
                self.context.output.error(trouble)

    def summary(self, base_url: str) -> str:
        """Return what became of all."""
        others = ""
        if self.others:
            others = (
                f" {self.others} orders belong to a program that runs, or died just "
                f"now: if it did, run this again in {self.store.lease_s:.0f} s."
            )
        if not self.count:
            found = "of" if not self.others else "for now of"
            place = place_of(self.store)
            return f"Nothing is left {found} {base_url} in {place}.{others}"
        words = f"{self.saved} saved"
        if self.failed:
            words += f", {self.failed} failed"
        if self.lost:
            words += f", {self.lost} lost"
            words += (
                ": not listed again"
                if self.drop_lost
                else ": see apimodels balance; --drop-lost lists them no more"
            )
        return f"{words}.{others}"


def _request_of(order: RecoveredOrder) -> AnyRequest | None:
    try:
        return order.request
    except InvalidRequestError:  # of another release: its picture is there all the same
        return None


async def forget(
    idempotency_key: str,
    *,
    store: StorePlace = None,
    yes: Flag = False,
    base_url: str | None = None,
    json: Flag = False,
) -> None:
    """
    Let an idempotency key name nothing, so that the next order under it is sent.

    What it named may be paid for, or may be yet, and is then PAID FOR TWICE: it is
    told, and you are asked. It stays in the history. Free, needs no key and no network.

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
        msg = f"there is no order under {idempotency_key!r} in {place_of(kept)}"
        raise ConfigurationError(msg)
    output.facts(
        key=record.idempotency_key,
        state=record.state,
        cost=_told_cost(record),
        task=record.task_id,
        ordered=_when(record),
        model=record.model,
        prompt=truncated(record.prompt or "", PROMPT_CHARS) or None,
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
        return CHARGES[False]
    if record.state is OrderState.COMPLETED:
        return f"{_cost(record)}, {CHARGES[True]}"
    return f"{_cost(record)}, {CHARGES[None]}"
