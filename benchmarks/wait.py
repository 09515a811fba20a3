"""
Wait for N tasks of 4-20 s in one session, and count what it took.

    python benchmarks/wait.py [N | --quick]

Client and emulator share one process here, so the CPU time is for both; the counts
are the emulator's own. Exits 1 if a promise is broken.
"""

from __future__ import annotations

import asyncio
import sys
import time
from itertools import pairwise

from _results import judge

from apimodels_async import Session
from apimodels_async.emulator import Emulator

LONGEST_S = 20.0
GAP_S = 2.0


async def measure(count: int) -> bool:
    """Run *count* tasks, print the counts, and return whether every promise held."""
    service = {"*": (4.0, LONGEST_S)}
    emulator = Emulator(service_times=service, credits=str(count), seed=42)
    async with (
        emulator,
        Session(base_url=emulator.base_url, api_key=emulator.api_key) as session,
    ):
        started, cpu = time.monotonic(), time.process_time()
        handles = await asyncio.gather(
            *(
                session.images.submit(f"moose {number}", model="gpt-image-2")
                for number in range(count)
            )
        )
        submitted = time.monotonic() - started
        results = await asyncio.gather(*handles)
        names = [task.get_name() for task in asyncio.all_tasks()]
        trackers = names.count("apimodels-tracker")
        pollers = names.count("apimodels-poller")
        wall, cpu = time.monotonic() - started, time.process_time() - cpu
        stats = session.stats()

    own = all(
        result.task_id == handle.task_id
        for result, handle in zip(results, handles, strict=True)
    )
    times = [task.poll_times for task in emulator.tasks.values()]
    gap = min(
        (later - earlier for t in times for earlier, later in pairwise(t)),
        default=float("inf"),
    )
    longest = max(result.duration_s or 0.0 for result in results)
    promises = {
        f"all {count} resolved, each with its own result": own,
        f"wall {wall:.2f} s <= longest service {longest:.2f} s + 3 s": wall
        <= longest + 3,
        f"{trackers} tracker task ({pollers} pollers)": trackers == 1,
        f"{emulator.peak_connections} connections at most (limit 100)": (
            emulator.peak_connections <= 100
        ),
        f"closest two polls of one task {gap:.2f} s >= {GAP_S:g} s": gap >= GAP_S,
    }
    kept = judge(promises)
    polls = sum(map(len, times))
    print(f"       {polls} polls, {polls / count:.2f} a task")
    print(f"       {submitted:.2f} s to submit them all")
    print(f"       lateness of a poll {stats.lateness_s * 1000:.1f} ms in the mean")
    print(f"       CPU {cpu:.2f} s, client and emulator together")
    return kept


if __name__ == "__main__":
    given = [each for each in sys.argv[1:] if each.isdigit()] or ["500"]
    wanted = 50 if "--quick" in sys.argv else int(given[0])
    sys.exit(not asyncio.run(measure(wanted)))
