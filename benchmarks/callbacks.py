"""
1,000 tasks of 4-20 s with callbacks, some of them lost, doubled, forged or broken.

    python benchmarks/callbacks.py [--quick] [--json FILE]

Emulator, receiver and session share one process: the counts are the point. In the last
case one answer in twenty to a paid POST is lost as well; its callback names the task.
Exits 1 if a picture that was paid for is missing, or a POST was sent twice.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections import Counter
from statistics import fmean
from typing import Any

from _results import keep
from aiohttp import web

from apimodels_async import Session
from apimodels_async.emulator import Emulator
from apimodels_async.webhooks import Callback, Receiver

QUICK = "--quick" in sys.argv
COUNT = 60 if QUICK else 1000
SPEED = 5.0 if QUICK else 1.0
MODEL = "gpt-image-2"
SHARE = 0.1
CASES: dict[str, list[tuple[str, str]]] = {
    "no callbacks": [],
    "callbacks": [],
    "10 % lost": [("callback", "drop")],
    "10 % doubled": [("callback", "duplicate")],
    "10 % name another task": [("callback", "wrong_id")],
    "10 % broken": [("callback", "bad_json")],
    "5 % of answers lost": [("create", "truncated")],
}


def free_port() -> int:
    """
    Return a port that nobody listens on.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def measure(name: str, faults: list[tuple[str, str]]) -> dict[str, Any]:
    """
    Run one case.
    """
    emulator = Emulator(
        service_times={"*": (4.0, 20.0)}, speed=SPEED, credits=str(COUNT), seed=5
    )
    port = free_port()
    callback = Callback(f"http://127.0.0.1:{port}/hooks")
    app = web.Application()
    app.add_subapp("/hooks", Receiver(callback).aiohttp_app())
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    async with emulator:
        for where, kind in faults:
            share = SHARE / 2 if where == "create" else SHARE
            emulator.fault(
                where, kind, times=None, probability=share, after=where == "create"
            )
        async with Session(
            base_url=emulator.base_url,
            api_key=emulator.api_key,
            callback=None if name == "no callbacks" else callback,
        ) as session:
            lags: list[float] = []
            ids: set[str | None] = set()

            async def one(number: int) -> None:
                prompt = f"fox {number}"
                result = await session.images.generate(prompt, model=MODEL)
                ids.add(result.task_id)
                if result.completed_at is not None:
                    lags.append(time.time() - result.completed_at.timestamp())

            fates = await asyncio.gather(
                *map(one, range(COUNT)), return_exceptions=True
            )
            stats = session.stats()
        twice = Counter(task.prompt for task in emulator.tasks.values())
    await runner.cleanup()
    unknown = [each for each in fates if isinstance(each, BaseException)]
    return {
        "case": name,
        "n": COUNT,
        "done": len(ids),
        "lost": len(emulator.tasks) - len(ids),
        "unknown": len(unknown),
        "twice": sum(count > 1 for count in twice.values()),
        "polls_a_task": stats.polls / COUNT,
        "callbacks": stats.callbacks,
        "lag_s": fmean(lags),
        "lag_max_s": max(lags),
    }


def main() -> int:
    """
    Run all cases, print, judge.
    """
    rows = []
    for name, faults in CASES.items():
        row = asyncio.run(measure(name, faults))
        rows.append(row)
        good = row["lost"] == row["twice"] == 0
        print(
            f"{'ok    ' if good else 'BROKEN'} {name:24} {row['done']} of {row['n']}, "
            f"{row['unknown']} unknown, {row['lost']} lost, {row['twice']} twice, "
            f"{row['polls_a_task']:.2f} polls a task, lag {row['lag_s']:.2f} s mean, "
            f"{row['lag_max_s']:.1f} s at most",
            flush=True,
        )
    keep("callbacks", rows)
    return int(any(row["lost"] or row["twice"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
