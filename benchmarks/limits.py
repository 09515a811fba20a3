"""
What the library adds to bare aiohttp: a synchronous call, a pending task, an import.

    python benchmarks/limits.py [--quick | --short] [--json FILE]

The server is a raw protocol in another process, on the other core; its own ceiling is
printed. Variants take turns in one run; what is printed is the ratio of each turn to
bare aiohttp in the same turn: median (least - most).
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import subprocess
import sys
import time
import tracemalloc
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import aiohttp
from _results import compared, keep, span
from _server import server, task

from apimodels_async import PollPolicy, Session

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

QUICK = "--quick" in sys.argv
TURNS = 5 if QUICK else 7 if "--short" in sys.argv else 11
SECONDS = 0.3 if QUICK else 0.7
WARM_S = 0.2
PENDING = 10_000 if QUICK else 100_000
KEY = "sk_bench"


class Cost(NamedTuple):
    """Of one call, in microseconds."""

    p50: float
    CPU: float


SNIPPETS = {
    "bare Python": "pass",
    "apimodels_async": "import apimodels_async",
    "aiohttp + cattrs": "import aiohttp, attrs, cattrs, anyio",
    "first session": "import asyncio, apimodels_async as a\n"
    "async def f():\n async with a.Session('k'): pass\nasyncio.run(f())",
}


async def calls(call: Callable[[], Awaitable[object]], together: int) -> Cost:
    """Measure calls, *together* at a time, once the connections are there."""
    taken = list[float]()

    async def one(until: float) -> None:
        while time.monotonic() < until:
            started = time.perf_counter()
            await call()
            taken.append(time.perf_counter() - started)

    await asyncio.gather(*(one(time.monotonic() + WARM_S) for _ in range(together)))
    taken.clear()
    cpu, until = time.process_time(), time.monotonic() + SECONDS
    await asyncio.gather(*(one(until) for _ in range(together)))
    cpu = time.process_time() - cpu
    return Cost(median(taken) * 1e6, cpu / len(taken) * 1e6)


async def bare_calls(base: str, together: int) -> Cost:
    """Generate by hand, with a synchronous model."""
    async with aiohttp.ClientSession(headers={"Authorization": KEY}) as http:

        async def call() -> object:
            url = f"{base}/images/generations-sync"
            async with http.post(url, json={"prompt": "a fox"}) as response:
                return json.loads(await response.read())["data"]["url"]

        return await calls(call, together)


async def our_calls(base: str, together: int) -> Cost:
    """Do the same with ``images.generate``."""
    async with Session(KEY, base_url=base) as session:
        return await calls(lambda: session.images.generate("a fox"), together)


def compare(base: str, together: int) -> None:
    """Measure both in turns and print them; the one by hand is what counts as 1."""
    found = [
        [asyncio.run(measure(base, together)) for measure in (bare_calls, our_calls)]
        for _ in range(TURNS)
    ]
    for number, what in enumerate(Cost._fields):
        hand, ours = ([each[side][number] for each in found] for side in (0, 1))
        row = {"hand_us": median(hand), "us": median(ours), **compared(ours, hand)}
        print(
            f"a call, {what:5} c={together:<4} by hand {row['hand_us']:7.0f} us, ours "
            f"{row['us']:7.0f} us  {span(row)}",
            flush=True,
        )
        keep(f"call, {what} c={together}", row)


async def memory(base: str) -> None:
    """Print what a pending task takes that nobody awaits, without its id's text."""
    async with Session(KEY, base_url=base, polling=PollPolicy(3.0)) as session:
        names = [task(number) for number in range(PENDING)]
        gc.collect()
        tracemalloc.start()
        handles = [session.images.attach(name) for name in names]
        gc.collect()
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        started = time.perf_counter()
        gc.collect()
        full = time.perf_counter() - started
        print(
            f"pending         {len(handles)} tasks: {size / PENDING:.0f} bytes each, "
            f"without the id's own text; a full collection {full * 1e3:.0f} ms"
        )
        keep("pending", {"n": PENDING, "bytes": size / PENDING, "full_gc_s": full})
        handles.clear()


def imports() -> None:
    """Print the CPU time of cold processes."""
    times: dict[str, list[float]] = {name: [] for name in SNIPPETS}
    program = "import time\n{}\nprint(time.process_time())"
    for _ in range(TURNS):
        for name, snippet in SNIPPETS.items():
            command = [sys.executable, "-c", program.format(snippet)]
            times[name].append(float(subprocess.check_output(command)))
    base, found = median(times["bare Python"]), dict[str, float]()
    for name, values in times.items():
        over = median(values) - base
        found[name] = over
        print(f"import          {name:18} {over * 1e3:6.0f} ms over bare Python")
    keep("import", found)


def main() -> None:
    """Run it all."""
    logging.disable(logging.WARNING)  # sessions here close with tasks pending
    with server() as (site,):
        base = site + "/api/v1"
        compare(base, 1)
        compare(base, 32)
        asyncio.run(memory(base))
    imports()


if __name__ == "__main__":
    main()
