"""
The last steps before money is spent: what is confirmed, written down and opened.
"""

from __future__ import annotations

import contextlib
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import anyio.to_thread

from apimodels_async import ConfigurationError, PollPolicy, Session
from apimodels_async.cli.batch_run import Run
from apimodels_async.cli.batch_summary import tell_summary
from apimodels_async.cli.batch_tally import REPLAYED, Tally
from apimodels_async.cli.confirm import confirm
from apimodels_async.cli.demo import INTERVAL_S
from apimodels_async.cli.emulate import serving
from apimodels_async.cli.options import Common
from apimodels_async.cli.records import holder, read_states
from apimodels_async.cli.work import open_session
from apimodels_async.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from apimodels_async.cli.batch_options import Again
    from apimodels_async.cli.folder import Folder, Plan
    from apimodels_async.cli.output import Output
    from apimodels_async.cli.sheet import Sheet
    from apimodels_async.cli.survey import Survey

PER_ROW_USD: Final = 5
"""In the embedded emulator's account: more than any model costs."""


async def start(
    folder: Folder,
    plan: Plan,
    sheet: Sheet,
    found: Survey,
    again: Again,
    output: Output,
) -> int:
    """
    Run the batch and return its exit code.

    Raises:
        ConfigurationError: Another process is at work there, or it cannot be written.
        InvalidRequestError: An answer is needed that nobody gives.
        JournalError: The journal cannot be used; nothing was sent.
    """
    pid = await anyio.to_thread.run_sync(holder, folder.journal)
    if pid is not None:
        msg = (
            f"another process (pid {pid}) is at work in {folder.path}: let it end, or "
            "see how far it is: apimodels ls DIR"
        )
        raise ConfigurationError(msg)
    before = await anyio.to_thread.run_sync(read_states, folder.journal)
    if again.resubmit_unknown:
        await confirm(before, output, yes=again.yes)
    replays = set(REPLAYED)
    if again.retry_failed:
        replays -= {"failed"}
    if again.resubmit_unknown:
        replays -= {"unknown", "intended"}
    async with _session(plan, found) as session:
        await anyio.to_thread.run_sync(folder.write, plan, sheet)
        _announce(plan, found, output)
        tally = Tally(
            total=plan.ordered,
            before=before,
            max_pending=plan.max_pending,
            started_at=time.monotonic(),
            replays=frozenset(replays),
        )
        run = Run(
            folder=folder,
            plan=plan,
            tally=tally,
            output=output,
            retry_failed=again.retry_failed,
            resubmit_unknown=again.resubmit_unknown,
        )
        await run.go(session)
    return await tell_summary(run)


@contextlib.asynccontextmanager
async def _session(plan: Plan, found: Survey) -> AsyncIterator[Session]:
    """
    Yield the session, not yet open, on the API or on an emulator inside.
    """
    if plan.speed is None:
        yield open_session(
            Common(base_url=plan.base_url, poll_interval=plan.poll_interval)
        )
        return
    credits_ = Decimal(100 + PER_ROW_USD * found.ordered)
    server = Emulator(port=0, speed=plan.speed, credits=credits_)
    async with serving(server):
        polling = PollPolicy.unchecked(interval=INTERVAL_S / plan.speed)
        yield Session(server.api_key, base_url=server.base_url, polling=polling)


def _announce(plan: Plan, found: Survey, output: Output) -> None:
    part = f"shard {plan.shard}: {found.ordered} of " if plan.shard else ""
    prices = f"${found.usd} by published hints"
    if found.unpriced:
        prices += f", {found.unpriced} rows without a price"
    where = ""
    if plan.speed is not None:
        where = (
            f"; on an emulator at {plan.speed:g} times the real speed, no real money"
        )
    output.note(f"{part}{found.rows} rows, {prices}{where}")
    if plan.max_cost is not None and found.usd > plan.max_cost:
        output.note(f"It will stop before --max-cost ${plan.max_cost} is passed.")
