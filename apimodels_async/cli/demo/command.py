"""
``apimodels demo``: the library at work on the emulator inside, without key or network.
"""

import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter, validators

from apimodels_async import (
    ApiModelsError,
    ImageResult,
    InvalidRequestError,
    Session,
)
from apimodels_async._core.files.object_urls import read_object_url
from apimodels_async.cli.commands.emulator import (
    INTERVAL_S,
    emulator_session,
    serving,
)
from apimodels_async.cli.context import command_context
from apimodels_async.cli.demo.board import (
    FAILED,
    SAVED,
    SENT,
    Board,
    Item,
    demo_orders,
)
from apimodels_async.cli.demo.display import live_board, write_page
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
    folder = Path(out)
    emulator = Emulator(port=port, speed=speed)
    # Before anything is made, to know that there is a place for it.
    waiting = Board.of(demo_orders(count), time.monotonic())
    await asyncio.to_thread(write_page, folder / "index.html", waiting)
    async with serving(emulator):
        return await _demo(emulator, output, folder, count, speed)


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
    output.line(f"polling:  every {interval:g} s instead of {INTERVAL_S} s, to match")
    session = emulator_session(emulator, speed)
    async with command_context(session, output, lasting=False):
        board = Board.of(orders, time.monotonic())
        with live_board(board, session, output) as ended:
            await run_orders(session, board, out, ended)
        wall_s = time.monotonic() - board.started_at
        connections = session.stats().connections
    index = out / "index.html"
    await asyncio.to_thread(write_page, index, board, wall_s)
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
    return ExitCode.FAILED if unexpected else ExitCode.OK


async def run_orders(
    session: Session, board: Board, folder: Path, ended: Callable[[Item], None]
) -> None:
    """
    Make and save every picture; a failure is noted on its item and stops no other.

    Args:
        ended: Called with each item as it ends.
    """

    async def run(item: Item) -> None:
        try:
            item.result = await _make(session, board, item)
            item.made.set()
            item.path = await session.download(item.result, folder / _stem(item))
            item.state = SAVED
        except ApiModelsError as error:
            item.error = error
            item.state = FAILED
            item.made.set()
        ended(item)

    async with asyncio.TaskGroup() as runners:
        for item in board.items:
            runners.create_task(run(item))


async def _make(session: Session, board: Board, item: Item) -> ImageResult:
    order = item.order
    images = session.images
    if order.source is not None:
        source = board.items[order.source]
        await source.made.wait()
        if source.result is None:
            msg = f"picture {source.number}, which it edits, could not be made"
            raise InvalidRequestError(msg, parameter="images")
        item.state = SENT
        url = source.result.url
        return await images.edit(order.prompt, images=[url], **order.params)
    item.state = SENT
    if order.synchronous:
        return await images.generate(order.prompt, model=order.model, **order.params)
    handle = await images.submit(order.prompt, model=order.model, **order.params)
    async for event in handle:
        item.state = event.state
    return await handle


def _stem(item: Item) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", item.order.prompt.lower()).strip("-")
    return f"{item.number:02d}-{words[:40]}"
