"""
Cut processes off from the Redis server that they share, and compare the books.

    python tests/soak/redis_cuts.py [--cut 20] [--ways refuse,hang,reset] [--keys 400]
                                    [--processes 4] [--rate 8] [--cuts 6] [--kills]
                                    [--lease 60] [--patience 15] [--seed 0]

Four processes order the same idempotency keys, each of them in two; their store, the
limit of their account and the way of callbacks to them are one Redis server, behind a
proxy on loopback. The proxy cuts all of them off for --cut seconds: it refuses
connections, or lets nothing pass (what was under way passes afterwards, whoever sent
it), or ends each connection at once; one way after the other, --cuts times, as long
apart as they last, while there is anything to order. What fails unsent is ordered again
under its key, as a user's queue would. With --kills a process is ended by SIGKILL in
the middle of one cut, and after the next, and started again. Exits 1 if

- the emulator took a key twice,
- what was taken is neither completed nor of unknown fate in the store,
- a key ended otherwise than with one picture for both, or, where a killed process had
  it, as of unknown fate,
- a key is of unknown fate that no killed process had under way,
- the account had more pending than its limit,
- a process failed by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, Final

from attrs import define, field

from apimodels_async import ApiModelsError, OutcomeUnknownError, PollPolicy, Session
from apimodels_async.emulator import Emulator
from apimodels_async.integrations.redis import RedisLimit, RedisRelay
from apimodels_async.stores import RedisStore, read_history
from apimodels_async.webhooks import Callback

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.batches import tell_promises
from support.redis import SAFE, RedisProxy, RedisServer
from support.serving import served_callback

AT_ONCE: Final = 12
"""Orders of one process."""
PENDING: Final = 40
"""Of the account: four processes want more, two killed ones had less."""
SERVICE_S: Final = {"*": (0.1, 0.5), "sparkpix-image": (0.01, 0.04)}
SECRET: Final = "known to all processes of this program"
AGAIN_S: Final = 0.5
RENEWED_S: Final = 15.0
"""After which a session writes again what its store did not take."""
UNKNOWN: Final = "unknown"
WAYS: Final = ("refuse", "hang", "reset")


# --- a process that orders --------------------------------------------------------


async def work(given: dict[str, Any]) -> None:
    """Order every key that is given, until each has its end."""
    keys = list(given["keys"])
    bounds = {"pending": PENDING, "per_second": given["rate"]}
    limit = RedisLimit.unchecked(given["redis"], lease_s=given["lease"], **bounds)
    store = RedisStore.unchecked(
        given["redis"], lease_s=given["lease"], patience_s=given["patience"]
    )
    relay = RedisRelay(given["redis"])
    session = Session(
        given["key"],
        base_url=given["base_url"],
        polling=PollPolicy.unchecked(interval=0.2),
        store=store,
        limit=limit,
        callback=Callback(given["hooks"], secret=SECRET, patience=5, relay=relay),
    )

    async def worker() -> None:
        while keys:
            key = keys.pop()
            tell("+", key)
            tell("-", key, await order(session, key))

    async with limit, session, asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(worker())


async def order(session: Session, key: str) -> str:
    """Order under *key* until there is an end; return the address, or that."""
    images = session.images
    while True:
        try:
            if int(key[-5:-1]) % 3:
                handle = await images.submit(
                    key, model="gpt-image-2", idempotency_key=key
                )
                return " ".join((await handle).urls)
            return " ".join((await images.generate(key, idempotency_key=key)).urls)
        except OutcomeUnknownError:
            return UNKNOWN
        except ApiModelsError as error:
            tell("!", type(error).__name__)
        await asyncio.sleep(AGAIN_S)


def tell(*words: str) -> None:
    """Say it to the program that compares, at once: it outlives a kill."""
    os.write(1, json.dumps(words).encode() + b"\n")


# --- the program that compares ----------------------------------------------------


@define(eq=False)
class Life:
    """One process, from its start to its end."""

    process: asyncio.subprocess.Process
    under_way: set[str] = field(factory=set)
    ends: dict[str, str] = field(factory=dict)
    ended_at: dict[str, float] = field(factory=dict)
    retries: Counter[str] = field(factory=Counter)
    killed_at: float | None = None

    def had(self, seconds: float) -> set[str]:
        """
        Return what a killed one had under way, or had told so shortly before that it
        may not be in the store.
        """
        if self.killed_at is None:
            return set()
        since = self.killed_at - seconds
        late = {key for key, at in self.ended_at.items() if at > since}
        return self.under_way | late

    async def read(self) -> None:
        """Take down what it says, until it has ended."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            with contextlib.suppress(ValueError):  # killed in the middle of a line
                self.hear(*json.loads(line))
        await self.process.wait()

    def hear(self, sign: str, what: str, end: str = "") -> None:
        """Take down one line."""
        match sign:
            case "+":
                self.under_way.add(what)
            case "-":
                self.under_way.discard(what)
                self.ends[what] = end
                self.ended_at[what] = time.monotonic()
            case _:
                self.retries[what] += 1

    def kill(self) -> None:
        """End it, at once."""
        if self.process.returncode is None:
            self.killed_at = time.monotonic()
            self.process.send_signal(signal.SIGKILL)


@define(eq=False, kw_only=True)
class Campaign:
    """All processes, and what cuts them off."""

    options: argparse.Namespace
    proxy: RedisProxy
    given: dict[str, Any]
    rng: random.Random
    lives: list[Life] = field(factory=list)
    cuts: Counter[str] = field(factory=Counter)

    def keys(self) -> list[str]:
        """Return the keys; each is the prompt as well."""
        return [f"key-{number:04}." for number in range(self.options.keys)]

    async def run(self) -> None:
        """Order everything, through one cut after the other."""
        async with asyncio.TaskGroup() as group:
            left = [
                group.create_task(self._live(number))
                for number in range(self.options.processes)
            ]
            ways = itertools.cycle(self.options.ways.split(","))
            for way in itertools.islice(ways, self.options.cuts):
                await self._pause(self.options.cut, left)
                if not all(each.done() for each in left):
                    await self._cut(way, left)

    async def _pause(self, seconds: float, left: list[asyncio.Task[None]]) -> None:
        await asyncio.wait(left, timeout=seconds, return_when=asyncio.ALL_COMPLETED)

    async def _live(self, number: int) -> None:
        """Let a process order its share, started again whenever it is killed."""
        count = self.options.processes
        mine = [
            key
            for at, key in enumerate(self.keys())
            if number in {at % count, (at + 1) % count}
        ]
        while True:
            keys = self.rng.sample(mine, len(mine))
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, __file__, "--work"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            life = Life(process)
            self.lives.append(life)
            assert process.stdin is not None
            process.stdin.write(json.dumps({**self.given, "keys": keys}).encode())
            process.stdin.close()
            await life.read()
            if life.killed_at is None:
                return

    async def _cut(self, way: str, left: list[asyncio.Task[None]]) -> None:
        self.cuts[way] += 1
        seconds = self.options.cut
        if way == "refuse":
            self.proxy.leave()
        elif way == "hang":
            self.proxy.held.clear()
        until = time.monotonic() + seconds
        within = self.cuts.total() % 2 == 1
        kill_at = until - seconds / 2 if within else float("inf")
        while time.monotonic() < until:
            if way == "reset":
                self.proxy.cut()
            if time.monotonic() > kill_at:
                kill_at = float("inf")
                self._kill()
            await asyncio.sleep(0.02)
        if way == "refuse":
            await self.proxy.listen()
        self.proxy.held.set()
        if not within:
            await self._pause(min(1.0, seconds / 2), left)
            self._kill()

    def _kill(self) -> None:
        running = [life for life in self.lives if life.process.returncode is None]
        if self.options.kills and running:
            self.rng.choice(running).kill()


def compare(
    campaign: Campaign, taken: Counter[str], states: dict[str, str], peak: int
) -> bool:
    """Print the figures, and return whether every promise held."""
    lives, keys = campaign.lives, campaign.keys()
    ends: dict[str, set[str]] = defaultdict(set)
    for life in lives:
        for key, end in life.ends.items():
            ends[key].add(end)
    within = campaign.options.cut + RENEWED_S
    had = {key for life in lives for key in life.had(within)}
    killed = sum(life.killed_at is not None for life in lives)
    unknown = [key for key in keys if states.get(key) in {"intended", UNKNOWN}]
    completed = [key for key in keys if states.get(key) == "completed"]
    otherwise = []
    for key in keys:
        # What a killed process had may be unknown, to one who asked before it was found
        # again by its callback, or to all, though that one had told of the picture.
        pictures = ends[key] - {UNKNOWN}
        whole = key in completed and len(ends[key]) == len(pictures) == 1
        if len(pictures) > 1 or not (whole or key in had):
            otherwise.append(key)
    lost = [key for key in taken if key not in completed and key not in unknown]
    failed = [x for x in lives if x.killed_at is None and x.process.returncode]
    broken = {
        "taken twice": [key for key, times in taken.items() if times > 1],
        "lost": lost,
        "ended otherwise": otherwise,
        "unknown without a kill": [key for key in unknown if key not in had],
        "failed by itself": [str(life.process.pid) for life in failed],
    }
    promises = {f"{name}: {len(what)}": not what for name, what in broken.items()}
    promises[f"pending: {peak} at most, of {PENDING}"] = peak <= PENDING
    all_kept = tell_promises(promises)
    for name, what in broken.items():
        for key in what[:3]:
            print(f"       {name}: {key} {states.get(key)} {taken[key]} {ends[key]}")
    retries = sum((life.retries for life in lives), Counter())
    told = ", ".join(f"{name} {count}" for name, count in retries.most_common())
    cuts = ", ".join(f"{way} {count}" for way, count in campaign.cuts.items())
    charged = sum(key in taken for key in unknown)
    print(
        f"       {len(keys)} keys, {taken.total()} taken, {len(completed)} completed,"
    )
    print(f"       {len(unknown)} unknown ({charged} of them taken)")
    print(f"       cuts of {campaign.options.cut:g} s: {cuts}")
    print(f"       {len(lives)} lives, {killed} of them killed")
    print(f"       failed unsent and ordered again: {told or 'none'}")
    return all_kept


async def measure(options: argparse.Namespace) -> bool:
    """Do it all, print the figures, and return whether every promise held."""
    started = time.monotonic()
    async with contextlib.AsyncExitStack() as stack:
        redis = stack.enter_context(RedisServer(SAFE))
        emulator = await stack.enter_async_context(
            Emulator(service_times=SERVICE_S, credits="1000000")
        )
        proxy = await stack.enter_async_context(RedisProxy(redis))
        # The receiver is elsewhere: it has a way to the server of its own.
        callback = await stack.enter_async_context(
            served_callback(secret=SECRET, relay=RedisRelay(redis.url))
        )
        campaign = Campaign(
            options=options,
            proxy=proxy,
            given={
                "redis": proxy.url,
                "key": emulator.api_key,
                "base_url": emulator.base_url,
                "hooks": callback.url,
                "rate": options.rate,
                "lease": options.lease,
                "patience": options.patience,
            },
            rng=random.Random(options.seed),
        )
        await campaign.run()
        store, states = RedisStore(redis.url), {}
        async for record in read_history(store, base_url=emulator.base_url):
            states.setdefault(record.idempotency_key, record.state.value)
        works = (*emulator.tasks.values(), *emulator.generations.values())
        taken = Counter(str(each.prompt) for each in works)
        kept = compare(campaign, taken, states, emulator.peak_pending)
    print(f"       {time.monotonic() - started:.0f} s")
    return kept


def main() -> bool:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cut", type=float, default=20.0)
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--keys", type=int, default=400)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--rate", type=float, default=8.0)
    parser.add_argument("--cuts", type=int, default=6)
    parser.add_argument("--kills", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lease", type=float, default=60.0)
    parser.add_argument("--patience", type=float, default=15.0)
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        asyncio.run(work(json.load(sys.stdin)))
        return True
    return asyncio.run(measure(options))


if __name__ == "__main__":
    sys.exit(not main())
