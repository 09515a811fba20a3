"""
Run a batch of N prompts with a journal against a fast emulator, and watch the process.

    python benchmarks/batch.py [N | --quick] [--max-pending 50]

The emulator has a process of its own. Memory is counted from the 500th outcome on,
when pools, caches and the journal's page cache are warm. Stalls are how much later
than asked a heartbeat of 5 ms comes. Exits 1 if a promise is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from _process import beat, resident_mb
from _results import judge
from _server import counts, emulator

from apimodels_async import ImageRequest, PollPolicy, Session

if TYPE_CHECKING:
    from collections.abc import Iterator

WARM: Final = 500
GROWTH_MAX_MB: Final = 60.0
STALL_MAX_S: Final = 0.06


def requests(count: int) -> Iterator[ImageRequest]:
    """Yield *count* requests answered by tasks."""
    for number in range(count):
        yield ImageRequest("gpt-image-2", f"moose number {number}")


async def measure(count: int, most: int, found: dict[str, str], journal: Path) -> bool:
    """Run the batch, print the figures, and return whether every promise held."""
    late: list[float] = []
    done, failed, memory = 0, 0, [resident_mb()]
    session = Session(
        found["key"],
        base_url=found["base_url"],
        polling=PollPolicy.unchecked(interval=0.1),
    )
    async with session:
        started, cpu = time.monotonic(), time.process_time()
        batch = session.images.batch(requests(count), max_pending=most, journal=journal)
        async with batch as outcomes:
            beating = asyncio.get_running_loop().create_task(beat(late))
            async for outcome in outcomes:
                done += 1
                failed += outcome.result is None
                if done % WARM == 0:
                    memory.append(resident_mb())
            beating.cancel()
        wall, cpu = time.monotonic() - started, time.process_time() - cpu
    site = found["base_url"].removesuffix("/api/v1")
    state = await asyncio.to_thread(counts, site, "emulator/state?limit=1")
    growth = max(memory[1:]) - memory[min(1, len(memory) - 1)]
    late.sort()
    promises = {
        f"{done} of {count} outcomes, {failed} without a result": (
            done == count and failed == 0
        ),
        f"{state['tasks']} tasks at the server": state["tasks"] == count,
        f"{state['peak_pending']} unfinished at the server (max_pending {most})": state[
            "peak_pending"
        ]
        <= most,
        f"memory grew by {growth:.1f} MB after warming up (limit {GROWTH_MAX_MB:g})": (
            growth < GROWTH_MAX_MB
        ),
        f"longest stall {late[-1] * 1000:.1f} ms (limit {STALL_MAX_S * 1000:g})": (
            late[-1] < STALL_MAX_S
        ),
    }
    kept = judge(promises)
    print(f"       memory {memory[0]:.0f} MB at the start, {memory[-1]:.0f} at the end")
    p99 = late[int(len(late) * 0.99)]
    print(f"       stalls: {len(late)} beats, p99 {p99 * 1000:.1f} ms")
    print(f"       {wall:.1f} s, {count / wall:.0f} a second, client CPU {cpu:.1f} s")
    return kept


def main() -> bool:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=10_000)
    parser.add_argument("--max-pending", type=int, default=50)
    parser.add_argument("--quick", action="store_true", help="1,000 prompts")
    given = parser.parse_args()
    with emulator() as found, tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal.sqlite"
        count = 1_000 if given.quick else given.count
        return asyncio.run(measure(count, given.max_pending, found, journal))


if __name__ == "__main__":
    sys.exit(not main())
