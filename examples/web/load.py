"""
Many clients at once against the FastAPI recipe: one process, one session.

    python examples/web/load.py [--seconds 60] [--clients 200]

Emulator, application and clients have a process each. Prints what the application's
event loop and memory did meanwhile. Exits 1 if a request was not answered with 200, or
if memory grew by more than a tenth once it was warm (judged from half a minute on).
"""

import argparse
import asyncio
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import uvicorn

PROBE_S = 0.01
SAMPLE_S = 1.0
PAGE_KIB = resource.getpagesize() // 1024
STATUS_OK = 200
WARM_SHARE = 4  # the first quarter fills pools and caches
GROWTH_MAX = 1.1
JUDGED_S = 30.0


# --- the application's process ---------------------------------------------------


async def probe(delays: list[float]) -> None:
    """Note by how much a sleep of 10 ms is late: what any handler would have waited."""
    while True:
        due = time.perf_counter() + PROBE_S
        await asyncio.sleep(PROBE_S)
        delays.append(time.perf_counter() - due)


async def weigh(sizes: list[int]) -> None:
    """Note the resident memory each second, KiB."""
    statm = Path("/proc/self/statm")
    while True:
        sizes.append(int(statm.read_bytes().split()[1]) * PAGE_KIB)  # noqa: ASYNC240
        await asyncio.sleep(SAMPLE_S)


async def until_told(server: uvicorn.Server) -> None:
    """Stop *server* when standard input ends."""
    await anyio.to_thread.run_sync(sys.stdin.read)
    server.should_exit = True


async def serve(port: int) -> None:
    """Serve the recipe until standard input ends, then print what was seen."""
    from fastapi_app import app

    delays: list[float] = []
    sizes: list[int] = []
    config = uvicorn.Config(app, port=port, access_log=False, log_level="warning")
    server = uvicorn.Server(config)
    async with anyio.create_task_group() as group:
        group.start_soon(probe, delays)
        group.start_soon(weigh, sizes)
        group.start_soon(until_told, server)
        await server.serve()
        group.cancel_scope.cancel()
    print(json.dumps({"delays": delays, "sizes": sizes}))


# --- the clients' process --------------------------------------------------------


async def ask(
    http: aiohttp.ClientSession,
    url: str,
    until: float,
    answers: list[tuple[int, float]],
) -> None:
    """Ask for one picture after another; note the status and the seconds of each."""
    while time.monotonic() < until:
        began = time.monotonic()
        async with http.post(url, json={"prompt": "a moose"}) as answer:
            await answer.read()
            answers.append((answer.status, time.monotonic() - began))


@asynccontextmanager
async def running(
    command: tuple[str, ...], **options: Any
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program for the body; its input and output are pipes."""
    pipe = subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, limit=1 << 26, **options
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def listening(port: int) -> None:
    """Return once somebody listens."""
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(PROBE_S)
        else:
            writer.close()
            return


async def measure(seconds: float, clients: int) -> bool:
    """Put the load on, print what came of it, and return whether all was well."""
    with socket.socket() as probe_socket:
        probe_socket.bind(("127.0.0.1", 0))
        port = probe_socket.getsockname()[1]
    bank = ("--credits", "1000000", "--port", "0", "--json")
    emulator = (sys.executable, "-m", "apimodels_async.cli.main", "emulator", *bank)
    me = (sys.executable, __file__, "--serve", str(port))
    answers: list[tuple[int, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        async with running(emulator, stderr=subprocess.DEVNULL) as vendor:
            door = json.loads(await _line(vendor))
            env = {
                **os.environ,
                "APIMODELS_BASE_URL": door["base_url"],
                "APIMODELS_API_KEY": door["api_key"],
                "ORDERS": f"{folder}/orders.sqlite",
            }
            async with running(me, env=env) as app:
                await listening(port)
                until = time.monotonic() + seconds
                url = f"http://127.0.0.1:{port}/draw"
                pool = aiohttp.TCPConnector(limit=clients)
                async with aiohttp.ClientSession(connector=pool) as http:
                    await asyncio.gather(
                        *(ask(http, url, until, answers) for _ in range(clients))
                    )
                said, _ = await app.communicate(b"")
    return report(seconds, clients, answers, json.loads(said))


async def _line(process: asyncio.subprocess.Process) -> bytes:
    return await process.stdout.readline() if process.stdout else b""


def report(
    seconds: float,
    clients: int,
    answers: list[tuple[int, float]],
    seen: dict[str, list[float]],
) -> bool:
    """
    Print the figures; return whether all were answered with 200 in the same memory.
    """
    bad = [status for status, _ in answers if status != STATUS_OK]
    waits = sorted(wait for _, wait in answers)
    delays = sorted(1000 * delay for delay in seen["delays"])
    sizes = [size / 1024 for size in seen["sizes"]]
    warm = sizes[len(sizes) // WARM_SHARE]
    print(
        f"{clients} clients for {seconds:g} s: {len(answers)} answers, {len(bad)} bad"
    )
    print(f"answer   p50 {part(waits, 50):.2f} s, p99 {part(waits, 99):.2f} s")
    print(f"loop     p50 {part(delays, 50):.1f} ms, p99 {part(delays, 99):.1f} ms late")
    print(f"memory   {warm:.1f} MiB after warming up, {sizes[-1]:.1f} MiB at the end")
    flat = seconds < JUDGED_S or sizes[-1] <= GROWTH_MAX * warm
    return bool(answers) and not bad and flat


def part(ordered: list[float], percent: int) -> float:
    """Return a percentile of what is sorted."""
    return statistics.quantiles(ordered, n=100, method="inclusive")[percent - 1]


def main() -> int:
    """Run as the application or as the clients."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve(given.serve))
        return 0
    return 0 if asyncio.run(measure(given.seconds, given.clients)) else 1


if __name__ == "__main__":
    sys.exit(main())
