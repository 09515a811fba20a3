"""
Processor instructions of a poll and of a synchronous call, ours and bare aiohttp's:
steady where clocks are not.

    python benchmarks/instructions.py [--together N ...] [--gate] [--quick]
                                      [--json FILE]

Each variant runs once under valgrind's callgrind (which must be installed), with a
fixed hash seed. Counting begins when all is warm, and ends some hundred polls or calls
later. The kernel's work is not in it. A ratio is to aiohttp's get and read, or to its
post and ``json``. With ``--gate`` it exits 1 if a ratio has grown by over a tenth.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import re
import selectors
import shutil
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import transport
from _results import keep
from _server import server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

COUNT = 600
SLOWED = 50
"""How many times slower Python runs while it is counted, and so our clock: else sweeps
would come 20 times for every poll, and what is counted would hang on the machine."""
TASKS = 2000
"""Enough for the next poll to be always due."""
WARM = {"poll": 2 * TASKS, "call": 200}
"""What goes before. The first answers about a task are news, and take longer."""
RECORDED = {"poll": 0.52, "call": 1.04}
"""Ratios at 16 together, as they were when a change meant them to be so."""
SLACK = 1.1


class SlowSelector(selectors.DefaultSelector):
    """Waits as long as a loop with a slow clock means."""

    slowed = 1

    def select(self, timeout: float | None = None) -> Any:
        """Wait for *timeout* seconds of that clock."""
        return super().select(timeout and timeout * self.slowed)


class Loop(asyncio.SelectorEventLoop):
    """An event loop with a clock that can be slowed."""

    def __init__(self) -> None:
        self._waits = SlowSelector()
        self._before, self._since = 0.0, time.monotonic()
        super().__init__(self._waits)

    def time(self) -> float:
        """Return its seconds."""
        return self._before + (time.monotonic() - self._since) / self._waits.slowed

    def slow(self, times: int) -> None:
        """Let the clock go *times* slower from now on."""
        self._before, self._since = self.time(), time.monotonic()
        self._waits.slowed = times


@asynccontextmanager
async def bare_calls(base: str, together: int) -> AsyncIterator[transport.Counted]:
    """Use aiohttp's post and json."""
    import aiohttp

    url = base + "/api/v1/images/generations-sync"
    headers = {"Authorization": f"Bearer {transport.KEY}"}
    async with aiohttp.ClientSession(headers=headers) as http:

        async def call(prompt: str) -> object:
            async with http.post(url, json={"prompt": prompt}) as reply:
                return json.loads(await reply.read())["data"]["url"]

        async with transport.loops(together, call) as made:
            yield made


@asynccontextmanager
async def our_calls(base: str, together: int) -> AsyncIterator[transport.Counted]:
    """Let a session generate one picture after another."""
    from apimodels_async import Session

    async with (
        Session(transport.KEY, base_url=base + "/api/v1") as session,
        transport.loops(together, session.images.generate) as made,
    ):
        yield made


VARIANTS: dict[str, dict[str, transport.Variant]] = {
    "poll": {"bare": transport.bare, "ours": transport.ours},
    "call": {"bare": bare_calls, "ours": our_calls},
}


def tell(word: str) -> None:
    """Turn callgrind's counting in this process ``on`` or ``off``."""
    command = ["vgdb", "--max-invoke-ms=0", f"--pid={os.getpid()}"]
    with subprocess.Popen(
        [*command, "instrumentation", word], stdout=subprocess.DEVNULL
    ) as teller:
        # Valgrind looks whether it is told something when this process runs.
        while teller.poll() is None:
            time.sleep(0.05)
    assert teller.returncode == 0


async def run(what: str, name: str, base: str, together: int) -> None:
    """Print what is done while callgrind counts."""
    logging.disable(logging.WARNING)  # sessions here close with tasks pending
    transport.TASKS = TASKS
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Loop)
    async with VARIANTS[what][name](base, together) as done:
        while done() < WARM[what]:  # noqa: ASYNC110  nobody tells when
            await asyncio.sleep(0.01)
        loop.slow(SLOWED)
        tell("on")
        before = done()
        while done() < before + COUNT:  # noqa: ASYNC110  nobody tells when
            await asyncio.sleep(0.01)
        tell("off")
        print(done() - before)  # last: without it, the run has failed


def instructions(*which: str) -> float:
    """Return the instructions of one poll or call."""
    with TemporaryDirectory() as folder:
        command = [
            *("valgrind", "--tool=callgrind", "--instr-atstart=no"),
            *(f"--callgrind-out-file={folder}/out", sys.executable, __file__),
            *("--run", *which),
        ]
        environment = {**os.environ, "PYTHONHASHSEED": "1"}
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, check=False
        )
    collected = re.search(r"Collected : (\d+)", done.stderr)
    assert collected is not None, done.stderr
    return int(collected[1]) / int(done.stdout)


def compare(what: str, base: str, together: int) -> list[dict[str, Any]]:
    """Count; print and return a row for each variant."""
    rows = list[dict[str, Any]]()
    for name in VARIANTS[what]:
        count = instructions(what, name, base, str(together))
        ratio = count / (rows[0]["count"] if rows else count)
        row = {"what": what, "variant": name, "together": together}
        rows.append({**row, "count": count, "ratio": ratio})
        print(
            f"{what} c={together:<4} {name:5} {count:9,.0f}  {ratio:5.2f}x", flush=True
        )
    return rows


def main() -> int:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--together", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--what", nargs="+", choices=VARIANTS, default=[*VARIANTS])
    parser.add_argument("--gate", action="store_true", help="judge, at 16 together")
    parser.add_argument("--quick", action="store_true", help="a call, at 1 together")
    parser.add_argument("--json", help="file that keeps the results, for the report")
    parser.add_argument("--run", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        what, name, base, together = given.run
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(run(what, name, base, int(together)))
        return 0
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is not installed")
    if given.gate:
        given.together, given.what = [16], list(RECORDED)
    elif given.quick:
        given.together, given.what = [1], ["call"]
    rows = list[dict[str, Any]]()
    with server() as (base,):
        for together in given.together:
            for what in given.what:
                rows += compare(what, base, together)
    keep("instructions", rows)
    if not given.gate:
        return 0
    found = {row["what"]: row["ratio"] for row in rows if row["variant"] == "ours"}
    grown = [what for what, ratio in found.items() if ratio > RECORDED[what] * SLACK]
    for what in grown:
        print(f"MISSED a {what}: {found[what]:.2f}x, {RECORDED[what]}x was recorded")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
