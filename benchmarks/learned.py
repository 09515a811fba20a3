"""
Polls per task against lag, for the fixed interval and for a learned first poll.

    python benchmarks/learned.py [--quick] [--json FILE]

First the package's own ledger in simulated time, eight times with other luck: 4,000
tasks in a stream of 5 a second, and 2,000 in one burst that begins with what an earlier
run has learned. Then a real
run of 400 tasks against the emulator, time shortened ten times. Lag is from the task's
end to the poll that finds it. Exits 1 if learning misses its goal in a stream: at most
0.80 times the polls, at a mean lag of at most 0.05 s more. The tasks of a burst share
one phase, which moves either lag by a tenth of a second: printed, not judged.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import sys
import time
from collections.abc import Callable
from statistics import fmean
from typing import TypeAlias

from _results import keep

from apimodels_async import PollPolicy, Session
from apimodels_async._core.polling.entry import Entry
from apimodels_async._core.polling.latency import Latency
from apimodels_async._core.polling.ledger import Ledger
from apimodels_async.emulator import Emulator
from apimodels_async.models import ImageResult, TaskSnapshot, TaskState

INTERVAL = 2.5
SPEED = 10
MODEL = "gpt-image-2"


def uniform(draw: random.Random) -> float:
    """Return 4-20 s."""
    return draw.uniform(4, 20)


def lognormal(draw: random.Random) -> float:
    """Return some 10 s, sometimes 25."""
    return 10 * draw.lognormvariate(0, 0.35)


def bimodal(draw: random.Random) -> float:
    """Return some 8 s, one time in five some 40."""
    return max(2.0, draw.gauss(8, 1.2) if draw.random() < 0.8 else draw.gauss(40, 6))


Shape: TypeAlias = Callable[[random.Random], float]
Sample: TypeAlias = tuple[list[float], list[float], Latency]
"""When tasks begin, how long each takes, and what is known when they begin."""
SHAPES: tuple[Shape, ...] = (uniform, lognormal, bimodal)
ROWS: list[dict[str, object]] = []
"""What was printed, for the report."""


def simulate(
    made: list[float], lasting: list[float], latency: Latency | None
) -> tuple[float, list[float]]:
    """Drive a ledger without a clock; return polls a task, and the lags."""
    ledger = Ledger(INTERVAL, 1800.0, latency=latency)
    ends: dict[str, float] = {}
    waiting = [(at, number) for number, at in enumerate(made)]
    heapq.heapify(waiting)
    polls, lags, now = 0, list[float](), 0.0
    while waiting or len(ledger):
        now = max(now, min(ledger.next_due(), waiting[0][0] if waiting else now + 1e9))
        while waiting and waiting[0][0] <= now:
            at, number = heapq.heappop(waiting)
            entry = Entry(f"t{number}", MODEL, group=MODEL)
            ends[entry.task_id] = at + lasting[number]
            ledger.watch(entry, at)
        for entry in ledger.due(now):
            polls += 1
            entry.started_at = now
            lag = now - ends[entry.task_id]
            ledger.apply(entry, answer(entry, lag, now), now)
            if lag >= 0:
                lags.append(lag)
    return polls / len(made), lags


def answer(entry: Entry, lag: float, now: float) -> TaskSnapshot:
    """Return what the API says of a task that ended *lag* seconds ago, or not yet."""
    if lag < 0:
        return TaskSnapshot(entry.task_id, TaskState.PROCESSING)
    lasted = now - lag - entry.watched_at
    result = ImageResult(urls=("https://a/b.png",), duration_s=lasted)
    return TaskSnapshot(entry.task_id, TaskState.COMPLETED, result)


def simulated(*, quick: bool) -> bool:
    """Print the simulations; return whether the goal is met in each."""
    print(
        "simulated          | polls a task: fixed, learned, ratio | mean lag: fixed,"
        " learned | p95: fixed, learned"
    )
    met = True
    many, seeds = (1000, 2) if quick else (4000, 8)
    for shape in SHAPES:
        for name, sample in (("stream", stream), ("burst", burst)):
            fixed, learned = Found(), Found()
            for seed in range(seeds):
                made, lasting, latency = sample(shape, many, random.Random(seed))
                fixed.add(*simulate(made, lasting, None))
                learned.add(*simulate(made, lasting, latency))
            good = report(
                f"{shape.__name__:9} {name:8}",
                fmean(fixed.polls),
                fixed.lags,
                fmean(learned.polls),
                learned.lags,
            )
            met &= good or name == "burst"
    return met


class Found:
    """What the turns of one variant found."""

    def __init__(self) -> None:
        self.polls: list[float] = []
        self.lags: list[float] = []

    def add(self, polls: float, lags: list[float]) -> None:
        """Add one turn."""
        self.polls.append(polls)
        self.lags += lags


def stream(shape: Shape, many: int, draw: random.Random) -> Sample:
    """Return tasks that come five a second; nothing is known of them."""
    made = [number / 5 for number in range(many)]
    return made, [shape(draw) for _ in made], Latency(INTERVAL)


def burst(shape: Shape, many: int, draw: random.Random) -> Sample:
    """Return half as many at once, and what an earlier run has learned of such."""
    known = Latency(INTERVAL)
    for _ in range(300):
        sample = known.join(MODEL, -1000.0)
        if sample is not None:
            known.polled(sample)
            known.ended(sample, shape(draw), 100.0)
    made = [0.0] * (many // 2)
    return made, [shape(draw) for _ in made], known


def report(
    name: str, polls: float, lags: list[float], fewer: float, later: list[float]
) -> bool:
    """Print one line, and return whether it meets the goal."""
    late = [sorted(each)[int(0.95 * len(each))] for each in (lags, later)]
    ROWS.append(
        {
            "case": " ".join(name.split()),
            "polls": [polls, fewer],
            "lag_s": [fmean(lags), fmean(later)],
            "p95_s": late,
        }
    )
    print(
        f"{name} | {polls:5.2f} {fewer:5.2f} {fewer / polls:5.2f}x | "
        f"{fmean(lags):5.2f} {fmean(later):5.2f} s | {late[0]:5.2f} {late[1]:5.2f} s"
    )
    return fewer <= 0.80 * polls and fmean(later) <= fmean(lags) + 0.05


async def run(
    count: int, lasting: dict[str, tuple[float, float]], policy: PollPolicy
) -> tuple[float, list[float], dict[str, list[float]]]:
    """Run real tasks in bursts of 50; return polls a task, lags, what was learned."""
    emulator = Emulator(service_times=lasting, speed=SPEED, credits=str(count), seed=3)
    async with (
        emulator,
        Session(
            base_url=emulator.base_url, api_key=emulator.api_key, polling=policy
        ) as session,
    ):
        lags: list[float] = []

        async def one(number: int) -> None:
            handle = await session.images.submit(f"fox {number}", model=MODEL)
            result = await handle
            found = time.time()
            if result.completed_at is not None:
                lags.append((found - result.completed_at.timestamp()) * SPEED)

        for first in range(0, count, 50):
            await asyncio.gather(*(one(first + number) for number in range(50)))
        return session.stats().polls / count, lags, session.durations()


async def real(count: int) -> bool:
    """Print the real runs; return whether the polls are fewer by the goal."""
    times = {"*": (4.0, 20.0)}
    interval = INTERVAL / SPEED
    fixed = PollPolicy.unchecked(interval=interval)
    polls, lags, _ = await run(count, times, fixed)
    learning = PollPolicy.unchecked(interval=interval, learned=True)
    fewer, later, known = await run(count, times, learning)
    report("real      learning", polls, lags, fewer, later)
    taught = PollPolicy.unchecked(interval=interval, learned=known)
    fewer, later, _ = await run(count, times, taught)
    report("real      taught  ", polls, lags, fewer, later)
    return fewer <= 0.85 * polls  # bursts of 50, each of its own luck


def main() -> int:
    """Run it all."""
    quick = "--quick" in sys.argv
    met = simulated(quick=quick)
    met &= asyncio.run(real(100 if quick else 400))
    keep("learned", ROWS)
    print("goal met" if met else "GOAL MISSED")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
