"""What this process takes, and how late its event loop is."""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from pathlib import Path

BEAT_S = 0.005


def peak_mb() -> float:
    """Return the most memory this process ever had."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def resident_mb() -> float:
    """Return how much memory this process has now."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


async def beat(late: list[float]) -> None:
    """Note how late each turn of a heartbeat of 5 ms is, seconds."""
    while True:
        due = time.perf_counter() + BEAT_S
        await asyncio.sleep(BEAT_S)
        late.append(time.perf_counter() - due)
