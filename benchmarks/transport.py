"""
What a poll costs over plain connections and over TLS, beside bare aiohttp and httpx,
and how many requests the server of these benchmarks can answer at all.

    python benchmarks/transport.py [--quick] [--json FILE]

Variants take turns in one run; a ratio is to bare aiohttp's get and read, with the same
number in flight over the same scheme, in the same turn. Connections are warm before
anything is measured. The certificate is made for the run, and trusted by all through
SSL_CERT_FILE, which each of them reads by itself.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from contextlib import asynccontextmanager
from importlib.util import find_spec
from itertools import cycle
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from _results import compared, keep, span
from _server import counts, server, task
from connections import certificate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    Counted = Callable[[], int]
    Variant = Callable[[str, int], AbstractAsyncContextManager[Counted]]

QUICK = "--quick" in sys.argv
TURNS = 2 if QUICK else 7
SECONDS = 0.3 if QUICK else 0.5
WARM_S = 8.0
WARM_POLLS = 10
"""Of each connection. With two, 256 handshakes of TLS are still going on."""
TASKS = 5_000
"""Gone round by every variant. With few, yarl's cache of parsed URLs serves the client
that writes them as text, which it does not do for an application's many tasks."""
TOGETHER = (1, 64) if QUICK else (1, 16, 64, 256)
KEY = "no-key"
CEILING = {
    "the API": b"GET /api/v1/images/generations?task_id=%b HTTP/1.1\r\n\r\n",
    "fal": b"GET /fal/o/a/requests/%b/status HTTP/1.1\r\n\r\n",
    "replicate": b"GET /replicate/v1/predictions/%b HTTP/1.1\r\n\r\n",
    "runway": b"GET /runway/v1/tasks/%b HTTP/1.1\r\n\r\n",
    "openai": (
        b"POST /openai/v1/images/generations HTTP/1.1\r\n"
        b'Content-Length: 17\r\n\r\n{"prompt": "d=0"}'
    ),
}


@asynccontextmanager
async def loops(
    together: int, poll: Callable[[str], Awaitable[object]]
) -> AsyncIterator[Counted]:
    """Poll one task after another in *together* loops; yield the number of polls."""
    made, tasks = 0, cycle(task(number) for number in range(TASKS))

    async def one() -> None:
        nonlocal made
        while True:
            await poll(next(tasks))
            made += 1

    running = [asyncio.create_task(one()) for _ in range(together)]
    try:
        yield lambda: made
    finally:
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@asynccontextmanager
async def bare(base: str, together: int) -> AsyncIterator[Counted]:
    """Use aiohttp's get and read."""
    import aiohttp

    url = base + "/api/v1/images/generations"
    headers = {"Authorization": f"Bearer {KEY}"}
    connector = aiohttp.TCPConnector(limit=max(100, together))
    async with aiohttp.ClientSession(headers=headers, connector=connector) as http:

        async def poll(name: str) -> None:
            async with http.get(f"{url}?task_id={name}") as reply:
                await reply.read()

        async with loops(together, poll) as polled:
            yield polled


@asynccontextmanager
async def httpx(base: str, together: int) -> AsyncIterator[Counted]:
    """Use httpx's get, with its own limits: keeping more idle ones costs it more."""
    import httpx as library

    url = base + "/api/v1/images/generations"
    headers = {"Authorization": f"Bearer {KEY}"}
    async with library.AsyncClient(headers=headers) as http:

        async def poll(name: str) -> None:
            await http.get(f"{url}?task_id={name}")

        async with loops(together, poll) as polled:
            yield polled


@asynccontextmanager
async def ours(base: str, together: int) -> AsyncIterator[Counted]:
    """Let a session poll without a pause."""
    from apimodels_async import PollPolicy, Session

    async with Session(
        KEY,
        base_url=base + "/api/v1",
        polling=PollPolicy.unchecked(interval=0.5),
        max_polls=together,
        max_connections=max(100, 2 * together),
    ) as session:
        # More than it can ask for in an interval: each poll begins as another ends.
        for number in range(TASKS):
            session.images.attach(task(number))
        yield lambda: session.stats().polls


HTTPX_MOST = 100
"""Its connections by default: beyond, polls would wait for one until they fail."""
VARIANTS: dict[str, Variant] = {"bare": bare, "ours": ours, "httpx": httpx}


async def cost(variant: Variant, base: str, together: int) -> float:
    """Return the microseconds of CPU of one poll."""
    async with variant(base, together) as polled:
        until = time.monotonic() + WARM_S
        while (  # noqa: ASYNC110  nobody tells when a connection is warm
            polled() < WARM_POLLS * together and time.monotonic() < until
        ):
            await asyncio.sleep(0.01)
        before, cpu = polled(), time.process_time()
        await asyncio.sleep(SECONDS)
        return (time.process_time() - cpu) / max(1, polled() - before) * 1e6


def compare(base: str, together: int) -> list[dict[str, Any]]:
    """Measure the variants in turns; print and return a row for each."""
    scheme = base.partition(":")[0]
    found: dict[str, list[float]] = {
        name: [] for name in VARIANTS if name != "httpx" or together <= HTTPX_MOST
    }
    for _ in range(TURNS):
        for name, values in found.items():
            values.append(asyncio.run(cost(VARIANTS[name], base, together)))
    rows: list[dict[str, Any]] = []
    for name, values in found.items():
        row = {"scheme": scheme, "together": together, "variant": name}
        row |= {"us": median(values), **compared(values, found["bare"])}
        rows.append(row)
        what = f"{scheme:5} c={together:<4} {name:8} {median(values):7.0f} us"
        print(f"{what}  {span(row)}", flush=True)
    return rows


class Asker(asyncio.Protocol):
    """A client that reads nothing: whatever comes, it sends the same again."""

    def __init__(self, line: bytes) -> None:
        self._line = line

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._line)

    def data_received(self, _data: bytes) -> None:
        """Go on."""
        self._transport.write(self._line)


async def ceiling(base: str, line: bytes) -> float:
    """Return the requests a second that the server answers at most, 64 in flight."""
    loop, port = asyncio.get_running_loop(), urlsplit(base).port or 80
    line = line.replace(b"%b", task(0).encode())
    made = [
        await loop.create_connection(lambda: Asker(line), "127.0.0.1", port)
        for _ in range(64)
    ]
    await asyncio.sleep(0.2)
    before, started = await asyncio.to_thread(counts, base), time.monotonic()
    await asyncio.sleep(2 * SECONDS)
    after, ended = await asyncio.to_thread(counts, base), time.monotonic()
    for transport, _ in made:
        transport.close()
    return float(after["requests"] - before["requests"]) / (ended - started)


def main() -> None:
    """Run it all."""
    logging.disable(logging.WARNING)  # sessions here close with tasks pending
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory() as folder:
        files = certificate(folder)
        if find_spec("httpx") is None:
            print("httpx is not installed: left out")
            del VARIANTS["httpx"]
        with server(*files) as (plain, tls):
            limits = {}
            for name, line in CEILING.items():
                limits[name] = asyncio.run(ceiling(plain, line))
                print(f"the server answers {limits[name]:6.0f} /s as {name}")
            keep("ceiling", limits)
            for base in (plain, tls):
                for together in TOGETHER:
                    rows += compare(base, together)
    keep("transport", rows)


if __name__ == "__main__":
    main()
