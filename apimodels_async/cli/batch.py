"""
``apimodels batch`` and ``apimodels resume``: many pictures, one folder.
"""

import os
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final

import anyio.to_thread
from attrs import evolve
from cyclopts import Parameter

from apimodels_async import InvalidRequestError
from apimodels_async.cli.batch_options import Again, Inside, Limits
from apimodels_async.cli.batch_start import start
from apimodels_async.cli.folder import MAX_PENDING, Folder, Plan
from apimodels_async.cli.options import Common, Flag
from apimodels_async.cli.output import Output
from apimodels_async.cli.sheet import Sheet, load
from apimodels_async.cli.survey import (
    Shard,
    Survey,
    survey,
    tell_prices,
    tell_problems,
)

SPEED: Final = 20.0


async def batch(
    file: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    *,
    out: Annotated[Path | None, Parameter(show_default=False)] = None,
    model: str | None = None,
    shard: str | None = None,
    dry_run: Flag = False,
    limits: Limits | None = None,
    again: Again | None = None,
    inside: Inside | None = None,
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
    common, inside = common or Common(), inside or Inside()
    limits = limits or Limits()
    output = Output(common.json)
    part = Shard.read(shard)
    sheet = await anyio.to_thread.run_sync(load, file)
    found = await _look(sheet, model, part, limits.max_cost, output)
    if dry_run:
        tell_prices(found, output)
        return 0
    if out is None:
        msg = "--out is missing: the folder for the pictures"
        raise InvalidRequestError(msg, parameter="out")
    if inside.speed is not None and not (inside.emulator and inside.speed > 0):
        msg = "--speed needs --emulator, and a number above 0"
        raise InvalidRequestError(msg, parameter="speed")
    plan = Plan(
        file=sheet.name,
        prompts=f"prompts{sheet.suffix}",
        rows=found.rows,
        ordered=found.ordered,
        model=model,
        shard=shard,
        speed=(inside.speed or SPEED) if inside.emulator else None,
        base_url=common.base_url or os.environ.get("APIMODELS_BASE_URL"),
        poll_interval=common.poll_interval,
        max_pending=limits.max_pending or MAX_PENDING,
        max_cost=limits.max_cost,
    )
    folder = Folder.at(out)
    how = await anyio.to_thread.run_sync(folder.check, plan, sheet)
    if how:
        output.note(f"{folder.path}: going on, {how}.")
    return await start(folder, plan, sheet, found, again or Again(), output)


async def resume(
    folder: Path,
    *,
    limits: Limits | None = None,
    again: Again | None = None,
    common: Common | None = None,
) -> int:
    """
    Go on with the batch in FOLDER: attach its tasks, order what was never taken.

    FOLDER holds all that is needed. Nothing that may have been paid for is
    ordered again unless an option says so.

    Args:
        folder: As given to "apimodels batch --out".
    """
    common, limits = common or Common(), limits or Limits()
    output = Output(common.json)
    place = Folder.at(folder)
    plan = await anyio.to_thread.run_sync(place.started)
    plan = evolve(
        plan,
        base_url=common.base_url or plan.base_url,
        poll_interval=common.poll_interval or plan.poll_interval,
        max_pending=limits.max_pending or plan.max_pending,
        max_cost=limits.max_cost or plan.max_cost,
    )
    sheet = await anyio.to_thread.run_sync(place.sheet, plan)
    found = await _look(sheet, plan.model, plan.part, plan.max_cost, output)
    return await start(place, plan, sheet, found, again or Again(), output)


async def _look(
    sheet: Sheet, model: str | None, part: Shard, limit: Decimal | None, output: Output
) -> Survey:
    def look() -> Survey:
        return survey(sheet.rows(model), part, limited=limit is not None)

    found = await anyio.to_thread.run_sync(look)
    tell_problems(found, sheet.name, output)
    return found
