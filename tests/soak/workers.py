"""
Let workers order what is in a queue, kill some, restart Redis, and compare the books.

    python tests/soak/workers.py [--pictures 2000] [--workers 4] [--at-once 20]
                                 [--kill-every 4] [--kills N] [--cap 60]
                                 [--lease 6] [--cut 0] [--seed 0]

Four worker processes take their orders from one queue on a Redis server, save the
pictures into a bucket (moto's S3 service), and share one limit of the account. Every
few seconds one of them is ended by SIGKILL, and another one begins. Half-way the Redis
server is ended by SIGKILL and started again; with --cut, nothing passes between it and
all others for so many seconds when a quarter is done. This process is the one that
enqueues: a batch with its journal. The emulator has a process of its own. Exits 1 if

- the emulator took a picture twice,
- a picture ended otherwise than saved, or as of unknown fate,
- one is of unknown fate that no killed worker was sending,
- more were pending at the emulator at once than the account's cap,
- a picture that was saved is not in the bucket,
- a worker ended by itself.

The lease of a killed worker is as long as --lease: in real life it is a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from attrs import define, field
from obstore.store import from_url

from apimodels_async import OutcomeUnknownError, PollPolicy
from apimodels_async.integrations.redis import RedisLimit
from apimodels_async.integrations.streaq import (
    Answer,
    OrderQueue,
    WorkerLoop,
    WorkerProcess,
)
from apimodels_async.stores import RedisStore

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.batches import tell_promises
from support.buckets import environment, objects, serve_s3
from support.emulators import emulator_process, emulator_says, taken
from support.redis import SAFE, RedisProxy, RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apimodels_async import Outcome

SERVICE_S: Final = {"*": (0.3, 1.5), "sparkpix-image": (0.1, 0.4)}
MODELS: Final = ("gpt-image-2", "gpt-image-2", "sparkpix-image")


class LoggedStore(RedisStore):
    """Writes down which orders are being sent: those that a kill can make unknown."""

    log: BinaryIO
    sending: dict[int, str]

    async def begin(self, *args: Any) -> Any:
        """Claim an order."""
        self.log.write(f"+ {args[0].idempotency_key}\n".encode())
        claim = await super().begin(*args)
        if claim.granted:
            self.sending[claim.record.attempt] = claim.record.idempotency_key
        else:
            self.log.write(f"- {args[0].idempotency_key}\n".encode())
        return claim

    async def accepted(self, attempt: int, task_id: str) -> None:
        """Take down a task."""
        await super().accepted(attempt, task_id)
        self.log.write(f"- {self.sending.get(attempt, '')}\n".encode())

    async def ended(self, attempt: int, *args: Any, **more: Any) -> None:
        """Take down an end."""
        await super().ended(attempt, *args, **more)
        self.log.write(f"- {self.sending.pop(attempt, '')}\n".encode())


def work(given: argparse.Namespace) -> None:
    """Be one worker, until killed or told to stop."""
    log = Path(given.log).open("ab", buffering=0)  # noqa: SIM115  written to the end

    def make() -> WorkerProcess:
        store = LoggedStore.unchecked(given.broker, lease_s=given.lease)
        store.log, store.sending = log, {}
        limit = RedisLimit.unchecked(
            given.broker, lease_s=given.lease, pending=given.cap
        )
        return WorkerProcess(
            url=given.broker,
            concurrency=given.at_once,
            idle_timeout=given.lease,
            grace_period=5,
            options={"polling": PollPolicy.unchecked(interval=0.1)},
            store=store,
            limit=limit,
        )

    def told(answer: Answer, _: float) -> None:
        log.write(f"= {answer.tries} {answer.idempotency_key}\n".encode())

    async def main() -> None:
        loop = WorkerLoop(make, told)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, loop.stop)
        await loop.run()

    asyncio.run(main())


@define(eq=False)
class Life:
    """One worker process."""

    log: Path
    process: subprocess.Popen[bytes]
    killed: bool = False

    @property
    def at_work(self) -> bool:
        """Whether it has begun to order."""
        return self.log.exists() and self.log.stat().st_size > 0

    def sending(self) -> set[str]:
        """Return the keys that it was sending at its end."""
        found: Counter[str] = Counter()
        for sign, _, key in self._lines():
            if sign == "+":
                found[key] += 1
            elif sign == "-":
                found[key] = 0
        return {key for key, count in found.items() if count > 0}

    def tries(self) -> Iterator[tuple[str, int]]:
        """Yield each key that it answered, and how often that had been delivered."""
        for sign, number, key in self._lines():
            if sign == "=":
                yield key, int(number)

    def _lines(self) -> Iterator[tuple[str, str, str]]:
        for line in self.log.read_text().splitlines() if self.log.exists() else ():
            sign, _, rest = line.partition(" ")
            number, _, key = rest.partition(" ") if sign == "=" else ("", "", rest)
            yield sign, number, key


@define(eq=False)
class Campaign:
    """All of it."""

    given: argparse.Namespace
    folder: Path
    redis: RedisServer
    surroundings: dict[str, str]
    lives: list[Life] = field(factory=list)
    outcomes: list[Outcome] = field(factory=list)
    restarts: int = 0
    late: int = 0
    """Workers that began while Redis was away, and said so."""
    failed: list[str] = field(factory=list)
    """Workers that ended by themselves."""
    broker: str = field(init=False)
    """Address of the server, or of what stands before it."""
    quarter: asyncio.Event = field(init=False, factory=asyncio.Event)
    half_way: asyncio.Event = field(init=False, factory=asyncio.Event)
    _running: list[Life] = field(init=False, factory=list)

    def start_worker(self) -> None:
        """Begin one more."""
        log = self.folder / f"worker-{len(self.lives)}.log"
        words = {
            "--broker": self.broker,
            "--log": str(log),
            "--lease": self.given.lease,
            "--cap": self.given.cap,
            "--at-once": self.given.at_once,
        }
        flat = [str(each) for pair in words.items() for each in pair]
        errors = log.with_suffix(".err").open("wb")
        process = subprocess.Popen(
            [sys.executable, __file__, "--work", *flat],
            env={**os.environ, **self.surroundings},
            stderr=errors,
            stdout=errors,
        )
        life = Life(log, process)
        self.lives.append(life)
        self._running.append(life)

    async def kill_now_and_then(self) -> None:
        """End one worker by SIGKILL every few seconds, and begin another."""
        chance = random.Random(self.given.seed)
        while True:
            await asyncio.sleep(self.given.kill_every)
            self._look()
            if sum(life.killed for life in self.lives) >= self.given.kills:
                continue
            # One that has begun to work: on a busy machine that takes a while.
            old = [each for each in self._running if each.at_work]
            if not old:
                continue
            life = chance.choice(old)
            life.killed = True
            life.process.kill()
            life.process.wait()
            self._running.remove(life)
            self.start_worker()

    def _look(self) -> None:
        for life in list(self._running):
            if life.process.poll() is not None:
                words = life.log.with_suffix(".err").read_text()[-2000:]
                away = ("store on Redis cannot be used", "broker cannot be used")
                if not life.at_work and any(each in words for each in away):
                    self.late += 1  # as it is to: nothing was taken yet
                else:
                    self.failed.append(f"{life.log.name}: {words}")
                self._running.remove(life)
                self.start_worker()

    async def restart_redis(self) -> None:
        """End the server by SIGKILL half-way, and start it again."""
        await self.half_way.wait()
        self.redis.kill()
        await asyncio.sleep(1)
        await asyncio.to_thread(self.redis.start)
        self.restarts += 1

    async def order(self, bucket: str) -> None:
        """Enqueue all, and take the outcomes."""
        items = [
            {"prompt": f"picture {number:05}.", "model": MODELS[number % len(MODELS)]}
            for number in range(self.given.pictures)
        ]
        async with OrderQueue(
            self.broker, base_url=self.surroundings["APIMODELS_BASE_URL"]
        ) as queue:
            batch = queue.batch(
                items,
                name="soak",
                journal=self.folder / "journal.sqlite",
                max_pending=self.given.workers * self.given.at_once * 2,
                download_to=f"s3://{bucket}/deck",
            )
            async with batch as outcomes:
                async for outcome in outcomes:
                    self.outcomes.append(outcome)
                    if len(self.outcomes) >= self.given.pictures / 4:
                        self.quarter.set()
                    if len(self.outcomes) >= self.given.pictures / 2:
                        self.half_way.set()
                    if len(self.outcomes) % 200 == 0:
                        print(f"       {len(self.outcomes)} ended", flush=True)

    async def cut_redis_off(self, proxy: RedisProxy) -> None:
        """Let nothing pass for a while when a quarter is done."""
        await self.quarter.wait()
        proxy.held.clear()
        await asyncio.sleep(self.given.cut)
        proxy.held.set()

    async def run(self, bucket: str) -> None:
        """Do all of it."""
        async with RedisProxy(self.redis) as proxy:
            self.broker = proxy.url if self.given.cut else self.redis.url
            await self._run(bucket, proxy)

    async def _run(self, bucket: str, proxy: RedisProxy) -> None:
        for _ in range(self.given.workers):
            self.start_worker()
        meanwhile = [
            asyncio.create_task(self.kill_now_and_then()),
            asyncio.create_task(self.restart_redis()),
            asyncio.create_task(self.cut_redis_off(proxy)),
        ]
        try:
            await self.order(bucket)
        finally:
            for each in meanwhile:
                each.cancel()
            await asyncio.gather(*meanwhile, return_exceptions=True)
            self._look()
            for life in self._running:
                life.process.terminate()
            for life in self._running:
                await asyncio.to_thread(life.process.wait)


def show(campaign: Campaign, bucket: str, wall: float) -> bool:
    """Print the figures, and return whether every promise held."""
    given, base_url = campaign.given, campaign.surroundings["APIMODELS_BASE_URL"]
    orders = taken(base_url)
    peak = emulator_says(base_url, "state?limit=0")["peak_pending"]
    store: Any = from_url(f"s3://{bucket}", client_options={"allow_http": True})
    there = {f"s3://{bucket}/{key}" for key in objects(store)}
    saved = [each for each in campaign.outcomes if each.paths]
    unknown = [
        each
        for each in campaign.outcomes
        if isinstance(each.error, OutcomeUnknownError)
    ]
    other = [
        f"{each.index}: {each.error!r}"
        for each in campaign.outcomes
        if each not in saved and each not in unknown
    ]
    killed = [life for life in campaign.lives if life.killed]
    at_risk = Counter(key for life in killed for key in life.sending())
    lost = [
        key
        for each in unknown
        if each.error is not None
        and (key := f"soak/{each.error.idempotency_key}") not in at_risk
    ]
    tries: Counter[str] = Counter()
    for life in campaign.lives:
        for key, number in life.tries():
            tries[key] = max(tries[key], number)
    again = sum(number - 1 for number in tries.values())
    missing = [str(each.path) for each in saved if each.path not in there]
    promises = {
        f"taken twice: {sum(n > 1 for n in orders.values())}": max(orders.values())
        == 1,
        f"ended otherwise: {len(other)} {other[:3]}": not other,
        f"ended in all: {len(campaign.outcomes)} of {given.pictures}": (
            len(campaign.outcomes) == given.pictures
        ),
        f"unknown without a kill: {len(lost)} {lost[:3]}": not lost,
        f"unknown: {len(unknown)}, {at_risk.total()} were being sent by killed ones": (
            len(unknown) <= at_risk.total()
        ),
        f"most pending at once: {peak} of {given.cap}": peak <= given.cap,
        f"saved and not in the bucket: {len(missing)}": not missing,
        f"ended by themselves: {len(campaign.failed)}": not campaign.failed,
    }
    all_kept = tell_promises(promises)
    for each in campaign.failed:
        print("      ", each)
    print(
        f"       {given.pictures} pictures, {len(orders)} taken, {len(saved)} saved, "
        f"{len(there)} objects; {len(campaign.lives)} lives, {len(killed)} killed, "
        f"{campaign.late} began in vain, Redis restarted {campaign.restarts} times; "
        f"{again} messages redelivered, of "
        f"{sum(number > 1 for number in tries.values())} jobs; {wall:.0f} s, "
        f"{given.pictures / wall:.1f} pictures a second"
    )
    return all_kept


def measure(given: argparse.Namespace) -> bool:
    """Run the campaign, print the figures, and return whether every promise held."""
    with (
        emulator_process(SERVICE_S) as found,
        tempfile.TemporaryDirectory() as folder,
        RedisServer(SAFE) as redis,
        serve_s3() as s3,
    ):
        bucket = s3.bucket()
        surroundings = {
            **environment(s3.origin),
            "AWS_ALLOW_HTTP": "true",
            "APIMODELS_BASE_URL": found["base_url"],
            "APIMODELS_API_KEY": found["key"],
        }
        os.environ.update(surroundings)
        campaign = Campaign(given, Path(folder), redis, surroundings)
        started = time.monotonic()
        asyncio.run(campaign.run(bucket))
        return show(campaign, bucket, time.monotonic() - started)


def main() -> bool:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--at-once", type=int, default=20, help="jobs of a worker")
    parser.add_argument("--kill-every", type=float, default=4.0, help="seconds")
    parser.add_argument("--kills", type=int, default=1_000_000, help="at most")
    parser.add_argument("--cap", type=int, default=60, help="pending at once")
    parser.add_argument("--lease", type=float, default=6.0, help="seconds")
    parser.add_argument("--cut", type=float, default=0.0, help="seconds; 0: never")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    for name in ("--broker", "--log"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(given)
        return True
    return measure(given)


if __name__ == "__main__":
    sys.exit(not main())
