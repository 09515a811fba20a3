"""
``apimodels demo``: the library at work on the emulator inside, without key or network.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter, validators

from apimodels_async import InvalidRequestError, Outcome, Session
from apimodels_async._core.files.object_urls import read_object_url
from apimodels_async._text import counted
from apimodels_async.cli.batch.progress import Progress, live_progress
from apimodels_async.cli.commands.emulator import (
    INTERVAL_S,
    emulator_session,
    serving,
)
from apimodels_async.cli.context import command_context
from apimodels_async.cli.demo.orders import REFUSED, DemoOrder, demo_orders
from apimodels_async.cli.demo.page import cost, results_of, service_s, write_page
from apimodels_async.cli.errors import ExitCode
from apimodels_async.cli.options import Flag, Port, Positive
from apimodels_async.cli.output import Output
from apimodels_async.emulator import Emulator

EXPECTED_FAILURES: Final = 2

Count = Annotated[int, Parameter(validator=validators.Number(gte=1, lte=500))]


async def demo(
    *,
    out: Annotated[str, Parameter(name=("--out", "-o"))] = "demo",
    count: Count = 48,
    speed: Positive = 20.0,
    port: Port = 0,
    json: Flag = False,
) -> int:
    """
    Make 48 pictures at once on an emulator inside; no key, no network, no real money.

    SparkPix, SparkPix edits and tasks of several models run through one session. Two
    more prompts are refused on purpose, to show what a failure looks like.

    Args:
        out: Folder for the pictures and an index.html; made if it is missing.

        count: Pictures to save; two refused ones come on top.

        speed: How many times faster than the real service the emulator works.

        port: For the emulator; 0 takes a free one.

        json: One JSON object a line instead of text.
    """
    output = Output(json)
    if read_object_url(out, "out") is not None:
        msg = "--out: the demo makes a folder of this machine; give a path"
        raise InvalidRequestError(msg, parameter="out")
    index, orders = Path(out) / "index.html", demo_orders(count)
    emulator = Emulator(port=port, speed=speed)
    # Before anything is made, to know that there is a place for it.
    await asyncio.to_thread(write_page, index, orders, {})
    async with serving(emulator):
        return await _demo(emulator, output, index, orders, speed)


async def _demo(
    emulator: Emulator,
    output: Output,
    index: Path,
    orders: Mapping[int, DemoOrder],
    speed: float,
) -> int:
    output.line(
        f"orders:   {len(orders)}: {len(orders) - EXPECTED_FAILURES} pictures, and "
        f"{EXPECTED_FAILURES} prompts refused on purpose by the content policy"
    )
    output.line(
        f"emulator: {emulator.base_url}, {speed:g} times as fast as the real service"
    )
    output.line(
        f"polling:  every {INTERVAL_S / speed:g} s instead of {INTERVAL_S} s, to match"
    )
    session = emulator_session(emulator, speed)
    async with command_context(session, output, lasting=False):
        began = time.monotonic()
        ended = await run_orders(session, orders, index.parent, output)
        wall_s = time.monotonic() - began
        connections = session.stats().connections
    await asyncio.to_thread(write_page, index, orders, ended, wall_s)
    stats, results = session.stats(), results_of(ended)
    alone_s, spent = service_s(results), cost(results)
    failed = {at: each.error for at, each in sorted(ended.items()) if each.error}
    for number, error in failed.items():
        order = orders[number]
        asked = order.prompt == REFUSED
        output.line(
            f"failed{' as asked' if asked else ''}: {order.model}: {error}"
            f"{' (not charged)' if asked else ''}",
            "red",
        )
    saved = len(orders) - len(failed)
    output.facts(
        pictures=f"{saved} saved, {len(failed)} failed",
        wall=f"{wall_s:.1f} s",
        alone=f"{alone_s:.0f} s, had they run one after another "
        f"({alone_s / wall_s:.0f} times as long); at the real service's speed "
        f"{alone_s * speed / 60:.0f} min",
        polls=f"{stats.polls} ({stats.poll_errors} failed)",
        pool=f"{connections} connections open at the end, "
        f"{counted(emulator.peak_pending, 'task')} pending at most",
        spend=f"${spent:.3f} by the API's words, ${emulator.spent:.3f} in the "
        "emulator's books; no real money",
        page=index,
    )
    output.record(
        "demo",
        saved=saved,
        failed=len(failed),
        wall_s=round(wall_s, 3),
        service_s=round(alone_s, 3),
        polls=stats.polls,
        connections=connections,
        spent=spent,
        page=index,
    )
    return ExitCode.OK if len(failed) == EXPECTED_FAILURES else ExitCode.FAILED


async def run_orders(
    session: Session,
    orders: Mapping[int, DemoOrder],
    folder: Path,
    output: Output,
) -> dict[int, Outcome]:
    """
    Make and save every picture, all at once; return the outcomes by number.

    A failure stops no other.
    """
    count, ended = len(orders), dict[int, Outcome]()
    progress = Progress(count, {}, count, time.monotonic())
    made = {number: asyncio.Event() for number in orders}

    async def requests() -> AsyncIterator[dict[str, Any]]:
        for order in orders.values():
            request = {"model": order.model, "prompt": order.prompt, **order.params}
            if order.source is not None:
                await made[order.source].wait()
                result = ended[order.source].result
                # Without a picture to edit it is refused, before it is sent.
                request["images"] = [] if result is None else [result.url]
            progress.given += 1
            yield request

    async with session.images.batch(
        requests(), max_pending=count, download_to=folder, start=1
    ) as outcomes:
        with live_progress(progress, outcomes, output):
            async for outcome in outcomes:
                progress.take(outcome)
                ended[outcome.index] = outcome
                made[outcome.index].set()
                _record(output, orders[outcome.index], outcome)
    return ended


def _record(output: Output, order: DemoOrder, outcome: Outcome) -> None:
    results = results_of({outcome.index: outcome})
    output.record(
        "picture",
        number=outcome.index,
        model=order.model,
        prompt=order.prompt,
        path=outcome.path,
        duration_s=service_s(results),
        credits=cost(results),
        error=outcome.error and str(outcome.error),
    )
