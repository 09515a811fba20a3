"""
Processor instructions of a poll, ours and bare aiohttp's: steady where clocks are not.

    python benchmarks/instructions.py [--together N ...] [--json FILE]

Each variant runs twice under valgrind's callgrind (which must be installed), with a
fixed hash seed, once with few polls and once with many; the difference, divided, is
what one poll takes in this process. The kernel's work is not in it. A ratio is to bare
aiohttp's get and read.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import re
import shutil
import subprocess
import sys
from tempfile import TemporaryDirectory

from _results import keep
from _server import server

FEW, MANY = 500, 2500
TASKS = 250  # each is asked for ten times at most, as one of 25 s is
VARIANTS = ("bare", "ours")


async def polls(variant: str, base: str, together: int, count: int) -> None:
    """Make *count* polls, more or less what is under way at the end."""
    import transport

    logging.disable(logging.WARNING)  # sessions here close with tasks pending
    transport.TASKS = TASKS
    async with transport.VARIANTS[variant](base, together) as polled:
        while polled() < count:  # noqa: ASYNC110  nobody tells when
            await asyncio.sleep(0.01)
        print(polled())


def instructions(variant: str, base: str, together: int, count: int) -> tuple[int, int]:
    """Return the instructions of a process that makes *count* polls, and how many."""
    with TemporaryDirectory() as folder:
        command = [
            *("valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out"),
            *(sys.executable, __file__, "--polls"),
            *(variant, base, str(together), str(count)),
        ]
        environment = {**os.environ, "PYTHONHASHSEED": "1"}
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, check=True
        )
    collected = re.search(r"Collected : (\d+)", done.stderr)
    assert collected is not None, done.stderr
    return int(collected[1]), int(done.stdout)


def a_poll(variant: str, base: str, together: int) -> float:
    """Return the instructions of one poll."""
    few, made_few = instructions(variant, base, together, FEW)
    many, made_many = instructions(variant, base, together, MANY)
    return (many - few) / (made_many - made_few)


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--together", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--json", help="file that keeps the results, for the report")
    parser.add_argument("--polls", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.polls:
        variant, base, together, count = given.polls
        asyncio.run(polls(variant, base, int(together), int(count)))
        return
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is not installed")
    rows = []
    with server() as (base,):
        for together in given.together:
            found = {name: a_poll(name, base, together) for name in VARIANTS}
            for name, count in found.items():
                ratio = count / found["bare"]
                rows.append({"variant": name, "together": together, "ratio": ratio})
                print(
                    f"c={together:<4} {name:5} {count:9,.0f}  {ratio:5.2f}x", flush=True
                )
    keep("instructions", rows)


if __name__ == "__main__":
    main()
