"""
1,000 tasks of 4-20 s with callbacks, some of them lost, doubled, forged or broken.

    python tests/soak/callbacks.py [--quick] [--json FILE]

Emulator, receiver and session share one process: the counts are the point. All tasks
are ordered at once, and polled as ever until a first callback has come true. A lost
call never comes again, a misnamed one names another task. In one case strangers, who
know where the receiver is and all task ids, call for one task in ten; in the last one,
one answer in twenty to a paid POST is lost, and its callback names the task. Exits 1 if
a picture that was paid for is missing, a POST was sent twice, somebody got another's
picture, or a stranger was listened to.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import secrets
import sys
import time
from collections import Counter
from pathlib import Path
from statistics import fmean
from typing import Any

import aiohttp

from apimodels_async import Session
from apimodels_async.emulator import Emulator

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.serving import served_callback

COUNT, COUNT_QUICK = 1000, 60
SPEED, SPEED_QUICK = 1.0, 5.0
MODEL = "gpt-image-2"
SHARE = 0.1
FIRST = "the first"
CASES: dict[str, list[tuple[str, str]]] = {
    "no callbacks": [],
    "callbacks": [],
    "callbacks, once one has come": [],
    "10 % lost": [("callback", "hang")],
    "10 % doubled": [("callback", "duplicate")],
    "10 % misnamed": [("callback", "wrong_id")],
    "10 % broken": [("callback", "bad_json")],
    "each of these, and strangers": [
        ("callback", "hang"),
        ("callback", "duplicate"),
        ("callback", "wrong_id"),
        ("callback", "bad_json"),
    ],
    "5 % of answers lost": [("create", "truncated")],
}


async def forge(url: str, emulator: Emulator, count: int, speed: float) -> int:
    """Call back as a stranger would; return how often that was not a 404."""
    heard = 0
    async with aiohttp.ClientSession() as http:
        for _ in range(count // 10):
            await asyncio.sleep(100 / count / speed)
            task_id = random.choice([*emulator.tasks] or [""])
            links = json.dumps({"resultUrls": ["https://evil.example/a.png"]})
            body = {"taskId": task_id, "state": "completed", "resultJson": links}
            tail = secrets.token_urlsafe(32)
            async with http.post(f"{url}/{tail}", json={"data": body}) as answer:
                heard += answer.status != 404
    return heard


def sound(row: dict[str, Any]) -> bool:
    """Return whether a case went as it must."""
    return not any(
        row[each] for each in ("lost", "twice", "mistaken", "strangers_heard")
    )


async def measure(
    name: str, faults: list[tuple[str, str]], count: int, speed: float
) -> dict[str, Any]:
    """Run one case."""
    emulator = Emulator(
        service_times={"*": (4.0, 20.0)}, speed=speed, credits=str(2 * count), seed=5
    )
    async with served_callback() as callback, emulator:
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
            owners: dict[str | None, str] = {}

            async def one(number: int) -> None:
                prompt = f"fox {number}"
                result = await session.images.generate(prompt, model=MODEL)
                owners[result.task_id] = prompt
                if result.completed_at is not None:
                    lags.append(time.time() - result.completed_at.timestamp())

            if "once" in name:
                await session.images.generate(FIRST, model=MODEL)
            before = session.stats().polls
            orders = asyncio.gather(*map(one, range(count)), return_exceptions=True)
            heard = 0
            if "strangers" in name:
                heard = await forge(callback.url, emulator, count, speed)
            fates = await orders
            stats = session.stats()
        ordered = [task for task in emulator.tasks.values() if task.prompt != FIRST]
        twice = Counter(task.prompt for task in ordered)
    unknown = [each for each in fates if isinstance(each, BaseException)]
    return {
        "case": name,
        "n": count,
        "done": len(owners),
        "lost": len(ordered) - len(owners),
        "mistaken": sum(
            emulator.tasks[str(task_id)].prompt != prompt
            for task_id, prompt in owners.items()
        ),
        "strangers_heard": heard,
        "unknown": len(unknown),
        "twice": sum(count > 1 for count in twice.values()),
        "polls_a_task": (stats.polls - before) / count,
        "callbacks": stats.callbacks,
        "lag_s": fmean(lags),
        "lag_max_s": max(lags),
    }


def keep(path: Path, rows: list[dict[str, Any]]) -> None:
    """Put *rows* beside what a report has already, under ``callbacks``."""
    known = json.loads(path.read_text()) if path.exists() else {}
    known["callbacks"] = rows
    path.write_text(json.dumps(known, indent=1) + "\n")


def main() -> int:
    """Run all cases, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="60 tasks, five times as fast"
    )
    parser.add_argument("--json", type=Path, help="a file to keep the figures in")
    given = parser.parse_args()
    size = (COUNT_QUICK, SPEED_QUICK) if given.quick else (COUNT, SPEED)
    rows = []
    for name, faults in CASES.items():
        row = asyncio.run(measure(name, faults, *size))
        rows.append(row)
        print(
            f"{'ok    ' if sound(row) else 'BROKEN'} {name:28} "
            f"{row['done']} of {row['n']}, {row['mistaken']} mistaken, "
            f"{row['unknown']} unknown, {row['lost']} lost, {row['twice']} twice, "
            f"{row['polls_a_task']:.2f} polls a task, lag {row['lag_s']:.2f} s mean, "
            f"{row['lag_max_s']:.1f} s at most",
            flush=True,
        )
    if given.json:
        keep(given.json, rows)
    return int(not all(map(sound, rows)))


if __name__ == "__main__":
    sys.exit(main())
