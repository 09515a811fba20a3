"""``apimodels batch`` and ``apimodels resume``: many pictures, one folder."""

import contextlib
import math
import re
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final

import anyio.to_thread
from attrs import evolve
from cyclopts import Parameter

from apimodels_async import ConfigurationError, InvalidRequestError, Session
from apimodels_async.cli.batch.folder import MAX_PENDING, Folder, Plan
from apimodels_async.cli.batch.journal import read_states
from apimodels_async.cli.batch.preflight import (
    Preflight,
    Shard,
    check_rows,
    confirm_reorder,
    print_prices,
    print_problems,
)
from apimodels_async.cli.batch.progress import REPLAYED, Progress
from apimodels_async.cli.batch.rows import PromptFile, load_prompts
from apimodels_async.cli.batch.run import Run
from apimodels_async.cli.batch.summary import print_summary
from apimodels_async.cli.commands.emulator import emulator_session, serving
from apimodels_async.cli.context import open_session
from apimodels_async.cli.options import (
    Common,
    EmbeddedEmulator,
    Flag,
    Limits,
    Model,
    Reorder,
)
from apimodels_async.cli.output import Output
from apimodels_async.emulator import Emulator
from apimodels_async.stores.sqlite.journal import holder_of

_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:[/\\]")
SPEED: Final = 20.0
PER_ROW_USD: Final = 5
"""In the embedded emulator's account: more than any model costs."""


async def batch(
    file: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    *,
    out: Annotated[Path | None, Parameter(("--out", "-o"), show_default=False)] = None,
    model: Model = None,
    shard: str | None = None,
    dry_run: Flag = False,
    limits: Limits | None = None,
    reorder: Reorder | None = None,
    embedded: EmbeddedEmulator | None = None,
    common: Common | None = None,
) -> int:
    """
    Make a picture of every row of FILE; costs money.

    .txt    one prompt a line; blank lines and lines with # in front are skipped
    .csv    the header names the parameters; empty cells are not given
    .jsonl  one object of parameters, or one prompt as a string, a line

    All rows are checked before anything is sent. The same command again goes on
    where the last run ended, and orders rows that were added to FILE since.

    Ctrl-C stops ordering and finishes what is paid for; a second one leaves at
    once. What was paid for is never lost: the next run finds it.

    Args:
        file: Rows to order; - is prompts from stdin, one a line.

        out: Folder for pictures, index.html, journal.sqlite and batch.json.

        model: For rows that name none; else sparkpix-image.

        shard: 3/16: only rows 3, 19, 35, ...; pictures keep the numbers of the whole
            file. Each shard needs a folder of its own.

        dry_run: Check and price all rows; needs no key and sends nothing.
    """
    common, embedded = common or Common(), embedded or EmbeddedEmulator()
    limits = limits or Limits()
    output = Output(common.json)
    part = Shard.read(shard)
    prompt_file = await anyio.to_thread.run_sync(load_prompts, file)
    found = await _check(prompt_file, model, part, limits.max_cost, output)
    if dry_run:
        print_prices(found, output)
        return 0
    if out is None:
        msg = "--out is missing: the folder for the pictures"
        raise InvalidRequestError(msg, parameter="out")
    if _ADDRESS.match(str(out)):  # it came as a path, which folds two slashes
        msg = (
            "--out is a folder of this machine: it holds the journal, too. Pictures go "
            "to object storage from Python: images.batch(download_to=...)"
        )
        raise InvalidRequestError(msg, parameter="out")
    if embedded.speed is not None and not (
        embedded.emulator and 0 < embedded.speed < math.inf
    ):
        msg = "--speed needs --emulator, and a number above 0"
        raise InvalidRequestError(msg, parameter="speed")
    plan = Plan(
        file=prompt_file.name,
        prompts=f"prompts{prompt_file.suffix}",
        rows=found.rows,
        ordered=found.ordered,
        model=model,
        shard=shard,
        speed=(embedded.speed or SPEED) if embedded.emulator else None,
        poll_interval=common.poll_interval,
        max_pending=limits.max_pending or MAX_PENDING,
        max_cost=limits.max_cost,
    )
    folder = Folder.at(out)
    how = await anyio.to_thread.run_sync(folder.check, plan, prompt_file)
    if how:
        output.note(f"{folder.path}: going on, {how}.")
    return await _start(
        folder, plan, prompt_file, found, reorder or Reorder(), common, output
    )


async def resume(
    folder: Path,
    *,
    limits: Limits | None = None,
    reorder: Reorder | None = None,
    common: Common | None = None,
) -> int:
    """
    Go on with the batch in FOLDER: attach its tasks, order what was never taken.

    FOLDER holds all that is needed but the key and the address of the API: the
    latter must be the one it was ordered at. Nothing that may have been paid for
    is ordered again unless an option says so.

    Args:
        folder: As given to "apimodels batch --out".
    """
    common, limits = common or Common(), limits or Limits()
    output = Output(common.json)
    place = Folder.at(folder)
    plan = await anyio.to_thread.run_sync(place.started)
    plan = evolve(
        plan,
        poll_interval=common.poll_interval or plan.poll_interval,
        max_pending=limits.max_pending or plan.max_pending,
        max_cost=limits.max_cost or plan.max_cost,
    )
    prompt_file = await anyio.to_thread.run_sync(place.prompt_file, plan)
    found = await _check(prompt_file, plan.model, plan.part, plan.max_cost, output)
    if limits.max_cost is None and plan.max_cost is not None:
        output.note(f"--max-cost ${plan.max_cost} of the last run is in force.")
    return await _start(
        place, plan, prompt_file, found, reorder or Reorder(), common, output
    )


async def _check(
    prompt_file: PromptFile,
    model: str | None,
    part: Shard,
    limit: Decimal | None,
    output: Output,
) -> Preflight:
    def check() -> Preflight:
        return check_rows(prompt_file.rows(model), part, limited=limit is not None)

    found = await anyio.to_thread.run_sync(check)
    print_problems(found, prompt_file.name, output)
    return found


async def _start(
    folder: Folder,
    plan: Plan,
    prompt_file: PromptFile,
    found: Preflight,
    reorder: Reorder,
    common: Common,
    output: Output,
) -> int:
    """
    Run the batch and return its exit code.

    Raises:
        ConfigurationError: Another process is at work there, it cannot be written, or
            it was ordered at another address.
        InvalidRequestError: An answer is needed that nobody gives.
        JournalError: The journal cannot be used; nothing was sent.
    """
    pid = await anyio.to_thread.run_sync(holder_of, folder.journal)
    if pid is not None:
        msg = (
            f"another process (pid {pid}) is at work in {folder.path}: let it end, or "
            "see how far it is: apimodels ls DIR"
        )
        raise ConfigurationError(msg)
    before = await read_states(folder.journal)
    replays = set(REPLAYED)
    if reorder.retry_failed:
        replays -= {"failed"}
    if reorder.resubmit_unknown:
        replays -= {"unknown", "intended"}
    async with _session(plan, found, common) as session:
        if plan.speed is None:
            await anyio.to_thread.run_sync(folder.check_address, session.base_url)
            plan = evolve(plan, base_url=session.base_url)
        if reorder.resubmit_unknown:
            await confirm_reorder(before, output, yes=reorder.yes)
        # Counted now: what the folder says of itself may be wrong.
        plan = evolve(plan, rows=found.rows, ordered=found.ordered)
        await anyio.to_thread.run_sync(folder.write, plan, prompt_file)
        _announce(plan, found, output)
        progress = Progress(
            total=plan.ordered,
            before=before,
            max_pending=min(plan.max_pending, plan.ordered),
            started_at=time.monotonic(),
            replays=frozenset(replays),
        )
        run = Run(
            folder=folder,
            plan=plan,
            progress=progress,
            output=output,
            retry_failed=reorder.retry_failed,
            resubmit_unknown=reorder.resubmit_unknown,
            base_url=common.base_url,
        )
        await run.execute(session)
    return await print_summary(run)


@contextlib.asynccontextmanager
async def _session(
    plan: Plan, found: Preflight, common: Common
) -> AsyncIterator[Session]:
    """Yield the session, not yet open, on the API or on an emulator inside."""
    if plan.speed is None:
        yield open_session(evolve(common, poll_interval=plan.poll_interval))
        return
    credits_ = Decimal(100 + PER_ROW_USD * found.ordered)
    server = Emulator(port=0, speed=plan.speed, credits=credits_)
    async with serving(server):
        yield emulator_session(server, plan.speed)


def _announce(plan: Plan, found: Preflight, output: Output) -> None:
    part = f"shard {plan.shard}: {found.ordered} of " if plan.shard else ""
    prices = f"at most ${found.usd} by published hints"
    if found.unpriced:
        prices += f", {found.unpriced} rows without a price"
    where = f"; ordered at {plan.base_url}"
    if plan.speed is not None:
        where = (
            f"; on an emulator at {plan.speed:g} times the real speed, no real money"
        )
    output.note(f"{part}{found.rows} rows, {prices}{where}")
    if plan.max_cost is not None and found.usd > plan.max_cost:
        output.note(f"It will stop before --max-cost ${plan.max_cost} is passed.")
