"""``apimodels recover``: fetches what earlier programs paid for and never got."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Annotated, Final

from attrs import define, field
from cyclopts import Parameter

from apimodels_async import (
    ApiModelsError,
    JournalError,
    OutcomeUnknownError,
    ResultExpiredError,
    TaskNotFoundError,
)
from apimodels_async.cli.commands.orders import note_if_journal, ordered_at
from apimodels_async.cli.completion import complete_path
from apimodels_async.cli.context import command_context, open_session
from apimodels_async.cli.destinations import read_out
from apimodels_async.cli.errors import ExitCode, exit_code
from apimodels_async.cli.options import Common, Flag, StorePlace
from apimodels_async.cli.output import Output, dollars, short_prompt, spinner
from apimodels_async.cli.store import (
    existing_store,
    known_request,
    record_files,
    store_address,
)
from apimodels_async.cli.terminal.tables import Column, Rows
from apimodels_async.stores import OrderState, read_history

if TYPE_CHECKING:
    from collections.abc import Callable

    from apimodels_async import ImageResult
    from apimodels_async.cli.context import CommandContext
    from apimodels_async.cli.store import Store
    from apimodels_async.models import SavedAt
    from apimodels_async.stores import RecoveredOrder

COLUMNS: Final = (
    *(Column("file"), Column("cost", right=True), Column("task", rank=1)),
    Column("prompt"),
)
AT_ONCE: Final = 50
"""Orders that are waited for and saved at the same time."""
LOST: Final = (OutcomeUnknownError, ResultExpiredError, TaskNotFoundError)
"""Ends after which no picture can be had."""
OPEN: Final = (OrderState.INTENDED, OrderState.ACCEPTED, OrderState.UNKNOWN)


async def recover(
    *,
    store: StorePlace = None,
    out: Annotated[
        str, Parameter(("--out", "-o"), completer=complete_path)
    ] = os.curdir,
    drop_lost: Flag = False,
    common: Common = Common(),
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
    output, kept = Output(common.json), existing_store(store)
    folder = out if out.endswith("/") else f"{out or os.curdir}/"
    read_out(folder)
    session = open_session(common, kept)
    async with command_context(session, output) as context:
        recovery = Recovery(context, kept, folder, drop_lost)
        try:
            with spinner(output, "looking for orders") as say:
                await recovery.run(say)
        finally:  # what was saved before Ctrl-C is told, too
            recovery.rows.close()
    output.note(recovery.summary(session.base_url))
    if not recovery.count:
        await note_if_journal(output, kept)
    return recovery.worst


@define(eq=False)
class Recovery:
    """One run of ``apimodels recover``."""

    context: CommandContext
    store: Store
    folder: str
    """Ends in a separator: it is made if it is missing."""
    drop_lost: bool
    rows: Rows = field(init=False)
    worst: ExitCode = field(init=False, default=ExitCode.OK)
    saved: int = field(init=False, default=0)
    failed: int = field(init=False, default=0)
    lost: int = field(init=False, default=0)
    """Nobody can fetch their pictures."""
    others: int = field(init=False, default=0)
    """They belong to programs that live, or died less than a lease ago."""

    def __attrs_post_init__(self) -> None:
        """Print each order as it is saved; on a terminal all of them in the end."""
        self.rows = Rows(self.context.output, COLUMNS, at_once=1)

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
                result, self.folder, request=known_request(order.record)
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
        self.rows.add(
            " ".join(map(str, paths)),
            dollars(result.credits),
            order.task_id or "-",
            short_prompt(order.prompt),
        )
        self.context.output.record(
            "recovered",
            idempotency_key=order.idempotency_key,
            model=order.model,
            prompt=order.prompt,
            task_id=order.task_id,
            credits=result.credits,
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
        lost = isinstance(error, LOST)
        self.lost += lost
        self.failed += not lost
        when, prompt = ordered_at(order.record), short_prompt(order.prompt)
        self.context.output.note(f"Ordered {when}, {order.model}: {prompt}", "")
        self.context.output.error(error)
        if self.drop_lost and lost:
            try:
                await order.ack()
            except JournalError as trouble:
                self.context.output.error(trouble)

    def summary(self, base_url: str) -> str:
        """Return what became of all."""
        others = ""
        if self.others:
            others = (
                f" Orders of programs that run, or died just now: {self.others}; if "
                f"one did, run this again in {self.store.lease_s:.0f} s."
            )
        if not self.count:
            now = " for now" if self.others else ""
            place = store_address(self.store)
            return f"Nothing is left{now} to fetch in {place} from {base_url}.{others}"
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
