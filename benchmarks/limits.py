"""
What the library adds to bare aiohttp: a poll, a synchronous call, a pending task, an
import.

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
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
from _results import keep
from _stub import stub

from apimodels_async import PollPolicy, Session

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

QUICK = "--quick" in sys.argv
TURNS = 5 if QUICK else 7 if "--short" in sys.argv else 11
SECONDS = 0.3 if QUICK else 0.7
TASKS = 5_000
"""Gone round by every variant. With few, yarl's cache of parsed URLs serves the client
that writes them as text, which it does not do for an application's many tasks."""
PENDING = 10_000 if QUICK else 100_000
KEY = "sk_bench"
SNIPPETS = {
    "bare Python": "pass",
    "apimodels_async": "import apimodels_async",
    "aiohttp + cattrs": "import aiohttp, attrs, cattrs, anyio",
    "first session": "import asyncio, apimodels_async as a\n"
    "async def f():\n async with a.Session('k'): pass\nasyncio.run(f())",
}


async def raw_polls(base: str, together: int) -> float:
    """Return the microseconds of CPU a poll of a client that parses nothing costs."""
    port = urlsplit(base).port
    line = b"GET /api/v1/images/generations?task_id=t HTTP/1.1\r\nHost: x\r\n\r\n"
    until, count = time.monotonic() + SECONDS, 0

    async def one() -> None:
        nonlocal count
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.monotonic() < until:
            writer.write(line)
            await reader.readuntil(b"}}")
            count += 1
        writer.close()

    cpu = time.process_time()
    await asyncio.gather(*(one() for _ in range(together)))
    return (time.process_time() - cpu) / count * 1e6


async def bare_polls(base: str, together: int) -> float:
    """Return the same for aiohttp's get and read."""
    until, count = time.monotonic() + SECONDS, 0
    connector = aiohttp.TCPConnector(limit=max(100, together))
    headers = {"Authorization": KEY}
    async with aiohttp.ClientSession(headers=headers, connector=connector) as http:

        async def one() -> None:
            nonlocal count
            while time.monotonic() < until:
                count += 1
                url = f"{base}/images/generations?task_id=t{count % TASKS}"
                async with http.get(url) as response:
                    await response.read()

        cpu = time.process_time()
        await asyncio.gather(*(one() for _ in range(together)))
        return (time.process_time() - cpu) / count * 1e6


async def our_polls(base: str, together: int) -> float:
    """Return the same for tasks that a session tracks, more than it can poll."""
    async with Session(
        KEY,
        base_url=base,
        polling=PollPolicy.unchecked(interval=0.5),
        max_polls=together,
        max_connections=max(100, 2 * together),
    ) as session:
        # More than it can ask for in an interval: each poll begins as another ends,
        # as in the loops above.
        for number in range(TASKS):
            session.images.attach(f"t{number}")
        await asyncio.sleep(0.05)  # connections are there
        before, cpu = session.stats().polls, time.process_time()
        await asyncio.sleep(SECONDS)
        return (time.process_time() - cpu) / (session.stats().polls - before) * 1e6


async def calls(call: Callable[[], Awaitable[object]], together: int) -> float:
    """Return the median microseconds of one call, *together* at a time."""
    until, taken = time.monotonic() + SECONDS, list[float]()

    async def one() -> None:
        while time.monotonic() < until:
            started = time.perf_counter()
            await call()
            taken.append(time.perf_counter() - started)

    await asyncio.gather(*(one() for _ in range(together)))
    return median(taken) * 1e6


async def bare_calls(base: str, together: int) -> float:
    """Return the median microseconds of a synchronous generation by hand."""
    async with aiohttp.ClientSession(headers={"Authorization": KEY}) as http:

        async def call() -> object:
            url = f"{base}/images/generations-sync"
            async with http.post(url, json={"prompt": "a fox"}) as response:
                return json.loads(await response.read())["data"]["url"]

        return await calls(call, together)


async def our_calls(base: str, together: int) -> float:
    """Return the same for ``images.generate``."""
    async with Session(KEY, base_url=base) as session:
        return await calls(lambda: session.images.generate("a fox"), together)


def table(
    name: str, base: str, together: int, **variants: Callable[..., Awaitable[float]]
) -> None:
    """Measure *variants* in turns and print them; the first is what counts as 1."""
    found: dict[str, list[float]] = {each: [] for each in variants}
    for _ in range(TURNS):
        for each, measure in variants.items():
            found[each].append(asyncio.run(_float(measure(base, together))))
    first = next(iter(found.values()))
    rows: list[dict[str, Any]] = []
    for each, values in found.items():
        ratios = [mine / theirs for mine, theirs in zip(values, first, strict=True)]
        print(
            f"{name:15} c={together:<4} {each:8} {median(values):7.0f} us  "
            f"{median(ratios):5.2f}x ({min(ratios):.2f} - {max(ratios):.2f})"
        )
        spread = {"ratio": median(ratios), "low": min(ratios), "high": max(ratios)}
        rows.append({"variant": each, "us": median(values), **spread})
    keep(f"{name} c={together}", rows)


async def _float(found: Awaitable[float]) -> float:
    return await found


async def memory(base: str) -> None:
    """Print what a pending task takes that nobody awaits; ids included."""
    async with Session(KEY, base_url=base, polling=PollPolicy(3.0)) as session:
        names = [f"clx{number:020}" for number in range(PENDING)]
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
    with stub() as base:
        table("poll, CPU", base, 1, bare=bare_polls, ours=our_polls, raw=raw_polls)
        table("poll, CPU", base, 16, bare=bare_polls, ours=our_polls, raw=raw_polls)
        table("poll, CPU", base, 64, bare=bare_polls, ours=our_polls, raw=raw_polls)
        table("poll, CPU", base, 256, bare=bare_polls, ours=our_polls, raw=raw_polls)
        table("sync call, p50", base, 1, bare=bare_calls, ours=our_calls)
        table("sync call, p50", base, 32, bare=bare_calls, ours=our_calls)
        asyncio.run(memory(base))
    imports()


if __name__ == "__main__":
    main()
