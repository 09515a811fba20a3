"""
``apimodels demo``: the library at work on the emulator inside, without key or network.
"""

import asyncio
import time
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter, validators

from apimodels_async import PollPolicy, Session
from apimodels_async.cli.demo_board import Board
from apimodels_async.cli.demo_display import shown
from apimodels_async.cli.demo_gallery import write_end, write_start
from apimodels_async.cli.demo_orders import demo_orders
from apimodels_async.cli.demo_run import run_orders
from apimodels_async.cli.emulate import serving
from apimodels_async.cli.options import Flag, Port, Positive
from apimodels_async.cli.output import Output
from apimodels_async.cli.verdict import Exit
from apimodels_async.cli.work import at_work
from apimodels_async.emulator import Emulator

INTERVAL_S: Final = 2.5
"""Between two polls of one task, at the API's own speed."""
EXPECTED_FAILURES: Final = 2

Count = Annotated[int, Parameter(validator=validators.Number(gte=1, lte=500))]


async def demo(
    *,
    out: Path = Path("demo"),
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
    emulator = Emulator(port=port, speed=speed)
    # Before anything is made, to know that there is a place for it.
    waiting = Board.of(demo_orders(count), time.monotonic())
    await asyncio.to_thread(write_start, out / "index.html", waiting)
    async with serving(emulator):
        return await _demo(emulator, output, out, count, speed)


async def _demo(
    emulator: Emulator, output: Output, out: Path, count: int, speed: float
) -> int:
    orders = demo_orders(count)
    interval = INTERVAL_S / speed
    output.line(
        f"orders:   {len(orders)}: {count} pictures, and {EXPECTED_FAILURES} prompts "
        "refused on purpose by the content policy"
    )
    output.line(
        f"emulator: {emulator.base_url}, {speed:g} times as fast as the real service"
    )
    output.line(
        f"polling:  every {interval:g} s instead of {INTERVAL_S} s, to match "
        "(PollPolicy.unchecked)"
    )
    session = Session(
        emulator.api_key,
        base_url=emulator.base_url,
        polling=PollPolicy.unchecked(interval=interval),
    )
    async with at_work(session, output, lasting=False):
        board = Board.of(orders, time.monotonic())
        with shown(board, session, output) as ended:
            await run_orders(session, board, out, ended)
        wall_s = time.monotonic() - board.started_at
        connections = session.stats().connections
    index = out / "index.html"
    await asyncio.to_thread(write_end, index, board, wall_s)
    stats = session.stats()
    for item in board.failed:
        output.line(
            f"failed as asked: {item.order.model}: {item.error} (not charged)"
            if "[refused]" in item.order.prompt
            else f"failed: {item.order.model}: {item.error}",
            "red",
        )
    unexpected = len(board.items) - len(board.saved) - EXPECTED_FAILURES
    output.facts(
        pictures=f"{len(board.saved)} saved, {len(board.failed)} failed",
        wall=f"{wall_s:.1f} s",
        alone=f"{board.service_s:.0f} s, had they run one after another "
        f"({board.service_s / wall_s:.0f} times as long); at the real service's speed "
        f"{board.service_s * speed / 60:.0f} min",
        polls=f"{stats.polls} ({stats.poll_errors} failed)",
        pool=f"{connections} connections open at the end, "
        f"{emulator.peak_pending} tasks pending at most",
        spend=f"${board.cost:.3f} by the API's words, ${emulator.spent:.3f} in the "
        "emulator's books; no real money",
        page=index,
    )
    output.record(
        "demo",
        saved=len(board.saved),
        failed=len(board.failed),
        wall_s=round(wall_s, 3),
        service_s=round(board.service_s, 3),
        polls=stats.polls,
        connections=connections,
        spent=board.cost,
        page=index,
    )
    return Exit.FAILED if unexpected else Exit.OK
