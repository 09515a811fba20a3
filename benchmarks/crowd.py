"""
100,000 tasks pending in one process, under a cap on requests.

    python benchmarks/crowd.py [--quick] [--json FILE]

Each task takes 30-60 s and is attached by its id (ordering them would measure POSTs),
polls are capped at 1,500 a second. Exits 1 if the cap is passed by more than a tenth in
any second, a task is lost, CPU is over 60 % of a core, or memory grows by over 200 MB.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from typing import Any

from _process import peak_mb
from _results import judge, keep
from _server import counts, server

from apimodels_async import ApiModelsError, PollPolicy, Session

QUICK = "--quick" in sys.argv
COUNT = 3_000 if QUICK else 100_000
RATE = 150.0 if QUICK else 1500.0
SHORTEST_MS, LONGEST_MS = (3_000, 6_000) if QUICK else (30_000, 60_000)
SLACK = 1.1
CPU_MAX, MEMORY_MAX_MB = 0.6, 200.0


async def measure(base: str) -> dict[str, Any]:
    """Attach all, wait for all."""
    rng = random.Random(42)
    now = int(time.time() * 1000)
    ids = [
        f"clx{now:013d}x{rng.randint(SHORTEST_MS, LONGEST_MS):07d}x{number}"
        for number in range(COUNT)
    ]
    polling = PollPolicy(max_rate=RATE)
    async with Session("no-key", base_url=base + "/api/v1", polling=polling) as session:
        await session.images.attach(ids[0].replace(f"{now:013d}", "0" * 13))
        memory, cpu, wall = peak_mb(), time.process_time(), time.monotonic()
        handles = [session.images.attach(each) for each in ids]
        seconds: list[int] = []
        ended = 0
        while ended < COUNT:
            before = session.stats().polls
            await asyncio.sleep(1)
            stats = session.stats()
            seconds.append(stats.polls - before)
            ended = COUNT - stats.pending
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
        memory = peak_mb() - memory
        # One after another: gather would make 100,000 asyncio tasks, and some 90 MB.
        lost = 0
        for handle in handles:
            try:
                await handle
            except ApiModelsError:
                lost += 1
        return {
            "n": COUNT,
            "rate": RATE,
            "wall_s": wall,
            "cpu_s": cpu,
            "core": cpu / wall,
            "memory_mb": memory,
            "polls": session.stats().polls,
            "busiest_second": max(seconds),
            "lost": lost,
            "lateness_max_s": session.stats().lateness_max_s,
            "connections": counts(base)["connections"],
        }


def main() -> int:
    """Measure, print, judge."""
    with server() as (base,):
        found = asyncio.run(measure(base))
    keep("crowd", found)
    judged = {
        f"{COUNT} pending, {found['lost']} lost, {found['polls']} polls in "
        f"{found['wall_s']:.0f} s": found["lost"] == 0,
        f"busiest second {found['busiest_second']} polls (cap {RATE:.0f})": (
            found["busiest_second"] <= RATE * SLACK
        ),
        f"CPU {found['core']:.0%} of a core (60 %)": found["core"] <= CPU_MAX,
        f"memory +{found['memory_mb']:.0f} MB (200)": (
            found["memory_mb"] <= MEMORY_MAX_MB
        ),
    }
    return not judge(judged)


if __name__ == "__main__":
    sys.exit(main())
