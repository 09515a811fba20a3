"""
Store 500 files of 1 MB, beside a client that throws the same bytes away, and one that
writes them by hand in a thread: write, fsync, rename, fsync of the directory.

    python benchmarks/download.py [--quick]

The server is another process on the other core. All clients are given 16 files at a
time, in turns, in one run: CPU a megabyte, and the delay of a 5 ms heartbeat in the
client's event loop. The library's CPU counts its threads, fsync and rename.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import aiohttp
from _process import beat
from _results import keep, spread
from _server import server

from apimodels_async import ImageResult, Session

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

QUICK = "--quick" in sys.argv
FILES = 100 if QUICK else 500
TURNS = 3 if QUICK else 7
TOGETHER = 16
Row = tuple[float, float, float]
"""CPU seconds, wall seconds, p99 of the loop's delay in seconds."""


async def all_files(one: Callable[[int], Awaitable[object]]) -> None:
    """Take one file after another, some at a time."""
    turns = iter(range(FILES))

    async def some() -> None:
        for number in turns:
            await one(number)

    await asyncio.gather(*(some() for _ in range(TOGETHER)))


async def null(url: str, _folder: Path) -> None:
    """Fetch all files and keep none."""
    async with aiohttp.ClientSession() as http:

        async def one(_number: int) -> None:
            async with http.get(url) as response:
                async for _piece in response.content.iter_any():
                    pass

        await all_files(one)


def store(content: bytes, path: Path) -> None:
    """Store one file so that it survives a crash."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


async def by_hand(url: str, folder: Path) -> None:
    """Store all files with aiohttp and a thread for each."""
    async with aiohttp.ClientSession() as http:

        async def one(number: int) -> None:
            async with http.get(url) as response:
                content = await response.read()
            await asyncio.to_thread(store, content, folder / f"{number}.png")

        await all_files(one)


async def ours(url: str, folder: Path) -> None:
    """Store all files."""
    async with Session("sk_bench", base_url=url) as session:

        async def one(number: int) -> None:
            await session.download(ImageResult(urls=(url,)), folder / str(number))

        await all_files(one)


VARIANTS = {"null": null, "hand": by_hand, "ours": ours}


async def measured(name: str, url: str, folder: Path) -> Row:
    """Return CPU seconds, wall seconds, and the heartbeat's p99 delay."""
    late: list[float] = []
    heart = asyncio.get_running_loop().create_task(beat(late))
    cpu, wall = time.process_time(), time.perf_counter()
    await VARIANTS[name](url, folder)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    heart.cancel()
    await asyncio.wait([heart])
    return cpu, wall, sorted(late)[int(0.99 * len(late))]


def main() -> int:
    """Run all in turns, print, and say whether the goals are met."""
    found: dict[str, list[Row]] = {name: [] for name in VARIANTS}
    with server() as (site,):
        for _ in range(TURNS):
            for name, rows in found.items():
                with tempfile.TemporaryDirectory() as folder:
                    row = asyncio.run(measured(name, f"{site}/file", Path(folder)))
                    stored = len(list(Path(folder).iterdir()))
                assert stored == (0 if name == "null" else FILES)
                rows.append(row)
    for name, rows in found.items():
        cpu, wall, delay = (median(each) for each in zip(*rows, strict=True))
        print(
            f"{name}  {cpu / FILES * 1e3:5.2f} ms CPU a file, "
            f"{FILES / wall:4.0f} MB/s, loop delay p99 {delay * 1e3:5.1f} ms"
        )
    delay = median(row[2] for row in found["ours"])
    over: dict[str, list[float]] = {}
    for name in ("null", "hand"):
        pairs = zip(found["ours"], found[name], strict=True)
        over[name] = [mine[0] / other[0] for mine, other in pairs]
        print(f"CPU of ours over {name}: {spread(over[name])}")
    keep("download", {**over, "delay_p99_s": delay})
    print("goals: 1.1x by hand, loop delay p99 25 ms")
    return 0 if median(over["hand"]) <= 1.1 and delay <= 0.025 else 1


if __name__ == "__main__":
    sys.exit(main())
