"""
Workers on a queue against one process: pictures a second, CPU, memory, Redis' part.

    python benchmarks/workers.py [--quick] [--json FILE]

The emulator and the Redis server have processes of their own. Variants take turns in
one run; what counts is the ratio to one process with a journal in the same turn, median
(least - most). No file is saved. Then 12,500 to 100,000 jobs are put into a queue that
nobody works for: seconds and Redis bytes a job, and how the cost grows.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from _results import compared, keep, span
from _server import emulator
from attrs import define
from support.redis import SAFE, RedisServer  # type: ignore[import-not-found]

from apimodels_async import ImageRequest, PollPolicy, Session
from apimodels_async.integrations.streaq import OrderQueue

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterator

    from apimodels_async.batch import Batch

QUICK: Final = "--quick" in sys.argv
TURNS: Final = 1 if QUICK else 3
PICTURES: Final = 200 if QUICK else 1000
AT_ONCE: Final = 50
"""Pictures under way in a process."""
INTERVAL_S: Final = 0.1
WORKERS: Final = (1, 2, 4)
SIZES: Final = (1_000, 4_000) if QUICK else (12_500, 25_000, 50_000, 100_000)
TICKS: Final = os.sysconf("SC_CLK_TCK")


@define
class Figures:
    """Of one variant in one turn."""

    pictures_s: float
    cpu_ms: float
    """Of all processes that order, a picture."""
    redis_ms: float
    """Of the Redis server, a picture."""
    memory_mb: float = 0.0
    """Most that one worker had."""


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    words = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS


def peak_mb(pid: int) -> float:
    """Return the most memory that a process had."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def requests(turn: str) -> Iterator[ImageRequest]:
    """Yield requests that no other turn has."""
    for number in range(PICTURES):
        yield ImageRequest("gpt-image-2", f"{turn}, moose {number}")


async def drain(batch: Batch) -> float:
    """Return the seconds that a batch takes."""
    started = time.monotonic()
    async with batch as outcomes:
        async for outcome in outcomes:
            outcome.unwrap()
    return time.monotonic() - started


async def one_process(found: dict[str, str], turn: str, store: str | None) -> float:
    """Order all of it here; with a journal, or in a store."""
    async with Session(
        found["key"],
        base_url=found["base_url"],
        polling=PollPolicy.unchecked(interval=INTERVAL_S),
        store=store,
    ) as session:
        with tempfile.TemporaryDirectory() as folder:
            where: dict[str, Any] = {"journal": Path(folder) / "j.sqlite"}
            if store is not None:
                where = {"name": turn}
            batch = session.images.batch(requests(turn), max_pending=AT_ONCE, **where)
            return await drain(batch)


async def by_workers(
    found: dict[str, str], turn: str, broker: str, queue: str, count: int
) -> float:
    """Have workers order all of it."""
    with tempfile.TemporaryDirectory() as folder:
        async with OrderQueue(broker, queue=queue, base_url=found["base_url"]) as there:
            batch = there.batch(
                requests(turn),
                name=turn,
                journal=Path(folder) / "j.sqlite",
                max_pending=count * AT_ONCE * 2,
            )
            return await drain(batch)


@contextlib.contextmanager
def workers(
    found: dict[str, str], broker: str, queue: str, count: int
) -> Iterator[list[int]]:
    """Run *count* workers; yield their process ids."""
    command = [sys.executable, "-m", "apimodels_async.cli.main", "worker"]
    words = {
        "--queue": queue,
        "--concurrency": AT_ONCE,
        "--poll-interval": INTERVAL_S,
        "--grace": 1,
    }
    flat = [str(each) for pair in words.items() for each in pair]
    surroundings = {
        **os.environ,
        "APIMODELS_BROKER": broker,
        "APIMODELS_BASE_URL": found["base_url"],
        "APIMODELS_API_KEY": found["key"],
    }
    started = [
        subprocess.Popen(
            [*command, *flat],
            env=surroundings,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for _ in range(count)
    ]
    for each in started:
        assert each.stderr is not None
        each.stderr.readline()  # it says what it works for
    time.sleep(1)
    try:
        yield [each.pid for each in started]
    finally:
        for each in started:
            each.terminate()
        for each in started:
            each.communicate()


def measure(
    found: dict[str, str], redis: RedisServer, turn: int, count: int | str
) -> Figures:
    """Measure one variant once."""
    assert redis.process is not None
    name, server = f"turn {turn}, {count}", redis.process.pid
    if isinstance(count, str):
        store = redis.url if "Redis" in count else None
        before, its = time.process_time(), cpu_s(server)
        seconds = asyncio.run(one_process(found, name, store))
        used = time.process_time() - before
        memory = 0.0
    else:
        with workers(found, redis.url, f"q{turn}-{count}", count) as pids:
            before = sum(map(cpu_s, pids))
            its = cpu_s(server)
            seconds = asyncio.run(
                by_workers(found, name, redis.url, f"q{turn}-{count}", count)
            )
            used = sum(map(cpu_s, pids)) - before
            memory = max(map(peak_mb, pids))
    return Figures(
        pictures_s=PICTURES / seconds,
        cpu_ms=used / PICTURES * 1e3,
        redis_ms=(cpu_s(server) - its) / PICTURES * 1e3,
        memory_mb=memory,
    )


def compare(found: dict[str, str], redis: RedisServer) -> None:
    """Let variants take turns, and print what they came to."""
    variants: list[int | str] = ["one process", "one process, Redis store", *WORKERS]
    rows: dict[int | str, list[Figures]] = {each: [] for each in variants}
    for turn in range(TURNS):
        for variant in variants:
            rows[variant].append(measure(found, redis, turn, variant))
    base = [each.pictures_s for each in rows["one process"]]
    for variant, figures in rows.items():
        words = variant if isinstance(variant, str) else f"{variant} workers"
        row = {
            "pictures_s": median(each.pictures_s for each in figures),
            **compared([each.pictures_s for each in figures], base),
            "cpu_ms": median(each.cpu_ms for each in figures),
            "redis_ms": median(each.redis_ms for each in figures),
            "memory_mb": max(each.memory_mb for each in figures),
        }
        print(
            f"{words:26} {row['pictures_s']:6.1f} pictures/s  {span(row)}  "
            f"CPU {row['cpu_ms']:5.1f} ms a picture, Redis {row['redis_ms']:4.2f} ms; "
            f"{row['memory_mb']:.0f} MB a worker",
            flush=True,
        )
        keep(f"workers, {words}", row)


async def jobs(size: int) -> AsyncIterable[tuple[object, str]]:
    """Yield *size* jobs."""
    for number in range(size):
        yield {"prompt": f"moose {number}", "model": "gpt-image-2"}, f"deck/{number}"


async def fill(redis: RedisServer, size: int) -> tuple[float, float]:
    """Return the seconds and Redis bytes that a queued job takes, with *size* there."""
    with redis.client() as client:
        client.flushall()
        before = client.info("memory")["used_memory"]
        async with OrderQueue(redis.url) as queue:
            started = time.monotonic()
            await queue.put(jobs(size))
            took = time.monotonic() - started
        after = client.info("memory")["used_memory"]
        client.flushall()
    return took / size, (after - before) / size


def grow(redis: RedisServer) -> None:
    """Print what jobs cost as there are more and more of them."""
    found: dict[int, tuple[float, float]] = {}
    for size in SIZES:
        found[size] = asyncio.run(fill(redis, size))
        seconds, size_b = found[size]
        print(
            f"{size:7} jobs queued: {seconds * 1e6:5.0f} us and {size_b:.0f} bytes of "
            "Redis a job",
            flush=True,
        )
    least, most = found[SIZES[0]], found[SIZES[-1]]
    print(f"a job of the most costs {most[0] / least[0]:.2f}x one of the fewest")
    keep("workers, jobs", {str(size): each for size, each in found.items()})


def records(redis: RedisServer) -> None:
    """Print what is left of the orders of all turns: records and answers."""
    with redis.client() as client:
        answers = list(client.scan_iter("streaq:*:results:*", count=1000))
        some = answers[:200]
        size = sum(client.memory_usage(each) or 0 for each in some) / max(1, len(some))
        orders = list(client.scan_iter("{apimodels}:order:*", count=1000))[:200]
        own = sum(client.memory_usage(each) or 0 for each in orders)
    print(
        f"an answer takes {size:.0f} bytes of Redis, for an hour; an order's record "
        f"{own / max(1, len(orders)):.0f} bytes"
    )
    keep("workers, records", {"answer": size, "order": own / max(1, len(orders))})


def main() -> None:
    """Run it all."""
    with emulator() as found, RedisServer(SAFE) as redis:
        compare(found, redis)
        records(redis)
        grow(redis)


if __name__ == "__main__":
    main()
