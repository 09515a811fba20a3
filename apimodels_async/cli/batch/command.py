"""``apimodels batch`` and ``apimodels resume``: many pictures, one folder."""

import contextlib
import math
import os
import time
import uuid
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import anyio
import anyio.to_thread
from attrs import evolve, field, frozen
from cyclopts import Parameter

from apimodels_async import ConfigurationError, InvalidRequestError
from apimodels_async._text import counted
from apimodels_async.cli.batch.folder import Folder
from apimodels_async.cli.batch.journal import read_states
from apimodels_async.cli.batch.out import BatchOut, bucket_address, choose_folder
from apimodels_async.cli.batch.place import place_of
from apimodels_async.cli.batch.plan import MAX_PENDING, Plan
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
from apimodels_async.cli.batch.source import source_of
from apimodels_async.cli.batch.summary import print_summary
from apimodels_async.cli.broker import (
    NONE,
    address_of,
    check_workers_reach,
    find_broker,
)
from apimodels_async.cli.errors import BROKER_VARIABLE
from apimodels_async.cli.options import (
    Common,
    EmbeddedEmulator,
    Flag,
    Limits,
    Model,
    Out,
    Reorder,
    Workers,
)
from apimodels_async.cli.output import Output

SPEED: Final = 20.0
QUEUED_PENDING: Final = 1000
"""With workers: enough to keep many of them busy."""


@frozen
class Assignment:
    """One batch to be run, and who orders."""

    folder: Folder
    plan: Plan
    started: Plan | None
    """What was in the folder; None: nothing was started there."""
    prompt_file: PromptFile
    found: Preflight
    broker: str | None = field(repr=False)
    """Address of the workers' broker; None: this program orders."""
    workers: Workers


async def batch(  # noqa: PLR0913  options, all by keyword
    file: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    *,
    out: BatchOut = BatchOut(),
    model: Model = None,
    shard: str | None = None,
    dry_run: Flag = False,
    limits: Limits = Limits(),
    reorder: Reorder = Reorder(),
    embedded: EmbeddedEmulator = EmbeddedEmulator(),
    workers: Workers = Workers(),
    common: Common = Common(),
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

    With --broker, workers on any machines order; this program puts the rows into
    their queue, at most --max-pending at once, and needs no key.

    Args:
        file: Rows to order; - is prompts from stdin, one a line.

        model: For rows that name none; else sparkpix-image.

        shard: 3/16: only rows 3, 19, 35, ...; pictures keep the numbers of the whole
            file. Each shard needs a folder of its own; --out in object storage may be
            one for all.

        dry_run: Check and price all rows; needs no key and sends nothing.
    """
    output = Output(common.json)
    part = Shard.read(shard)
    prompt_file = await anyio.to_thread.run_sync(load_prompts, file)
    found = await _check(prompt_file, model, part, limits.max_cost, output)
    if dry_run:
        print_prices(found, output)
        return 0
    place, destination = choose_folder(file, out, shard)
    if embedded.speed is not None and not (
        embedded.emulator and 0 < embedded.speed < math.inf
    ):
        msg = "--speed needs --emulator, and a number above 0"
        raise InvalidRequestError(msg, parameter="speed")
    broker = _find_broker(workers, destination, emulated=embedded.emulator)
    plan = Plan(
        file=prompt_file.name,
        prompts=f"prompts{prompt_file.suffix}",
        rows=found.rows,
        ordered=found.ordered,
        model=model,
        shard=shard,
        speed=(embedded.speed or SPEED) if embedded.emulator else None,
        poll_interval=common.poll_interval,
        max_pending=limits.max_pending
        or (MAX_PENDING if broker is None else QUEUED_PENDING),
        max_cost=limits.max_cost,
        queued_as=None if broker is None else uuid.uuid4().hex,
        out=destination,
    )
    started = await anyio.to_thread.run_sync(place.plan)
    if started is not None:
        how = await anyio.to_thread.run_sync(place.check, started, plan, prompt_file)
        output.note(f"{place.path}: going on, {how}.")
        plan = evolve(plan, queued_as=started.queued_as)
    else:
        await anyio.to_thread.run_sync(place.check_copy, plan, prompt_file)
    job = Assignment(place, plan, started, prompt_file, found, broker, workers)
    return await _start(job, reorder, common, output)


async def resume(
    folder: Path,
    *,
    out: Out = None,
    limits: Limits = Limits(),
    reorder: Reorder = Reorder(),
    workers: Workers = Workers(),
    common: Common = Common(),
) -> int:
    """
    Go on with the batch in FOLDER: attach its tasks, order what was never taken.

    FOLDER holds all that is needed but the key and two addresses: that of the API
    must be the one it was ordered at, and --out in object storage the one that it
    was started with. Nothing that may have been paid for is ordered again unless an
    option says so.

    Args:
        folder: As given to "apimodels batch --out", or --folder.

        out: Where its pictures go, if that is object storage.
    """
    output = Output(common.json)
    place = Folder.at(folder)
    plan = started = await anyio.to_thread.run_sync(place.started)
    place.check_out(plan, None if out is None else bucket_address(out))
    broker = _broker_of(place, plan, workers)
    plan = evolve(
        plan,
        poll_interval=common.poll_interval or plan.poll_interval,
        max_pending=limits.max_pending or plan.max_pending,
        max_cost=limits.max_cost or plan.max_cost,
    )
    prompt_file = await anyio.to_thread.run_sync(place.prompt_file, plan)
    found = await _check(prompt_file, plan.model, plan.part, plan.max_cost, output)
    # Counted now: what the folder says of itself may be wrong.
    plan = evolve(plan, rows=found.rows, ordered=found.ordered)
    if limits.max_cost is None and plan.max_cost is not None:
        output.note(f"--max-cost ${plan.max_cost} of the last run is in force.")
    job = Assignment(place, plan, started, prompt_file, found, broker, workers)
    return await _start(job, reorder, common, output)


def _find_broker(
    workers: Workers, destination: str | None, *, emulated: bool
) -> str | None:
    """
    Return the address of the broker that a new batch is to use.

    Raises:
        ConfigurationError: It cannot be used.
        InvalidRequestError: The options do not fit together.
    """
    if emulated:
        if workers.broker is not None:
            msg = (
                "--emulator is inside this program: start one for all of them "
                "(apimodels emulator), and name it to the workers"
            )
            raise InvalidRequestError(msg, parameter="emulator")
        return None
    broker = find_broker(workers.broker)
    if broker is not None and destination is not None:
        check_workers_reach(destination)
    return broker


def _broker_of(place: Folder, plan: Plan, workers: Workers) -> str | None:
    """
    Return the address of the broker that the batch in *place* goes on with.

    Raises:
        ConfigurationError: None is named that it needs, or it was started without.
    """
    if plan.queued_as is None:
        if workers.broker in {None, NONE}:
            return None
        msg = f"{place.path} was started without workers: leave out --broker"
        raise ConfigurationError(msg)
    broker = find_broker(workers.broker)
    if broker is None:
        msg = (
            f"{place.path} was started with workers: name their broker, --broker "
            f"redis://HOST or {BROKER_VARIABLE}"
        )
        raise ConfigurationError(msg)
    return broker


async def _check(
    prompt_file: PromptFile,
    model: str | None,
    part: Shard,
    limit: Decimal | None,
    output: Output,
) -> Preflight:
    rows, limited = prompt_file.rows(model), limit is not None
    check = partial(check_rows, rows, part, limited=limited)
    found = await anyio.to_thread.run_sync(check)
    print_problems(found, prompt_file.name, output)
    return found


async def _start(
    job: Assignment, reorder: Reorder, common: Common, output: Output
) -> int:
    """
    Run the batch and return its exit code.

    Raises:
        ConfigurationError: Another process is at work there, it cannot be written, or
            it was ordered at another address.
        InvalidRequestError: An answer is needed that nobody gives.
        JournalError: The journal cannot be used; nothing was sent.
    """
    folder, plan = job.folder, job.plan
    await anyio.to_thread.run_sync(folder.check_free)
    before = await read_states(folder.journal)
    replays = set(REPLAYED)
    if plan.queued_as is not None:
        # Workers are asked again: they know what became of it.
        replays -= {"unknown", "intended"}
        before = {at: state for at, state in before.items() if state != "intended"}
    if reorder.retry_failed:
        replays -= {"failed"}
    if reorder.resubmit_unknown:
        replays -= {"unknown", "intended"}
    with contextlib.ExitStack() as ours:
        async with source_of(plan, common, job.broker, job.workers) as source:
            if plan.speed is None:
                await anyio.to_thread.run_sync(folder.check_address, source.base_url)
                plan = evolve(plan, base_url=source.base_url)
            if reorder.resubmit_unknown:
                await confirm_reorder(before, output, yes=reorder.yes)
            if not await anyio.Path(folder.journal).exists():
                await place_of(folder, plan).check_new()
            lock = await anyio.to_thread.run_sync(folder.lock, job.started)
            ours.callback(os.close, lock)
            await anyio.to_thread.run_sync(folder.write, plan, job.prompt_file)
            _announce(folder, plan, job.found, output)
            if job.broker is not None:
                server = address_of(job.broker)
                output.note(
                    f"Workers order, from the queue {job.workers.queue} on {server}."
                )
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
                prompts=job.prompt_file,
                progress=progress,
                output=output,
                reorder=reorder,
                base_url=common.base_url,
            )
            await run.execute(source)
        return await print_summary(run)


def _announce(folder: Folder, plan: Plan, found: Preflight, output: Output) -> None:
    part = f"shard {plan.shard}: {found.ordered} of " if plan.shard else ""
    prices = f"at most ${found.usd} by published hints"
    if found.unpriced:
        prices += f", {counted(found.unpriced, 'row')} without a price"
    where = f"; ordered at {plan.base_url}"
    if plan.speed is not None:
        where = (
            f"; on an emulator at {plan.speed:g} times the real speed, no real money"
        )
    output.note(f"{part}{counted(found.rows, 'row')}, {prices}{where}")
    if plan.out is not None:
        output.note(
            f"Pictures and page go to {plan.out}, the journal to {folder.path}: "
            "apimodels ls and resume take that."
        )
    if plan.max_cost is not None and found.usd > plan.max_cost:
        output.note(f"It may stop early: --max-cost ${plan.max_cost} is never passed.")
