"""
Let processes order the same idempotency keys at once, kill some, and compare the books.

    python tests/soak/keys.py [--orders 20000] [--keys 500] [--processes 2,4,8]
                              [--kills 0.3] [--lease 3] [--turn 1] [--seed 0]
                              [--store redis] [--restart 5]

Each round is a new SQLite file (or a name of its own on one Redis server, which is
killed by SIGKILL and started again every --restart seconds) and so many keys, all of
which two, four or eight processes order at the same time, each in an order of its own,
50 at once: a third of the keys is answered at once, a third waits for a task, a third
is submitted. Three in ten lives of processes end by SIGKILL at a random moment; then
the process starts again, until it has an end for every key. The emulator has a process
of its own and is never killed. Exits 1 if

- the emulator took a key twice,
- a key ended otherwise than with one picture, or as of unknown fate, the same for all
  processes and in the store,
- a key is of unknown fate that no killed process had under way,
- a process waited for its turn at the file, or for a server that was killed, for
  --turn seconds or more,
- a file is damaged, or a process failed by itself.

The lease of a killed process is as long as --lease: in real life it is a minute, for
which the others wait before they call its orders unknown.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import struct
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar

from attrs import define, field
from redis.asyncio import Redis

from apimodels_async import OutcomeUnknownError, PollPolicy, Session
from apimodels_async.stores import RedisStore, SqliteStore

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.batches import tell_promises
from support.emulators import emulator_process, taken
from support.redis import SAFE, RedisServer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

T = TypeVar("T")

AT_ONCE: Final = 50
SERVICE_S: Final = {"*": (0.03, 0.12), "sparkpix-image": (0.01, 0.04)}
LIFE_MAX_S: Final = 300.0
"""Seconds after which a process counts as stuck."""
PAIR: Final = struct.Struct("dd")
UNKNOWN: Final = "unknown"
OPENING: Final = -1.0
"""In the place of a turn: the store was opened."""
RESTARTING: Final = threading.Lock()
"""Of the Redis server; this process does not read from it meanwhile."""


class Timed:
    """A store that writes down how long each call took, and who orders."""

    waits: BinaryIO
    owners: BinaryIO

    async def open(self) -> None:
        """Open it."""
        asked = time.perf_counter()
        await super().open()
        self.waits.write(PAIR.pack(OPENING, time.perf_counter() - asked))

    async def begin(self, *args: Any) -> Any:
        """Claim an order."""
        self.owners.write(f"owner {args[0].owner}\n".encode())
        return await super().begin(*args)


class TimedStore(Timed, SqliteStore):
    """The same in a file, where calls wait for their turn."""

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        asked = time.perf_counter()
        # A job of its own, done in the same turn or before it: wrapped in another one,
        # work that is alike would not be done together as it is for users.
        turn: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        if self._writers:
            self._writers[-1].put(lambda _db: time.perf_counter(), turn)
        try:
            return await super()._do(work)
        finally:
            now = time.perf_counter()
            failed = not turn.done() or turn.exception() is not None
            began = now if failed else turn.result()
            self.waits.write(PAIR.pack(began - asked, now - asked))


class TimedRedisStore(Timed, RedisStore):
    """The same, on a server."""

    async def begin(self, *args: Any) -> Any:
        """Claim an order."""
        return await self._time(super().begin(*args))

    async def accepted(self, *args: Any) -> None:
        """Take down a task."""
        await self._time(super().accepted(*args))

    async def ended(self, *args: Any, **more: Any) -> None:
        """Take down an end."""
        await self._time(super().ended(*args, **more))

    async def _time(self, call: Awaitable[T]) -> T:
        asked = time.perf_counter()
        try:
            return await call
        finally:
            whole = time.perf_counter() - asked
            self.waits.write(PAIR.pack(whole, whole))


@define(eq=False, kw_only=True)
class Life:
    """One process, from its start to its end."""

    log: Path
    """What it ordered and got, a line each: written at once, it outlives a kill."""
    waits: Path
    seed: int
    started: float = field(factory=time.monotonic)
    kill_at: float | None = None
    killed: bool = False
    pid: int = 0

    def read(self) -> tuple[set[str], dict[str, str], str, list[str]]:
        """Return the keys under way at its end, ends by key, owner, complaints."""
        under_way, ends, owner, faults = set[str](), dict[str, str](), "", list[str]()
        text = self.log.read_text() if self.log.exists() else ""
        for line in text.splitlines():
            sign, _, rest = line.partition(" ")
            match sign:
                case "owner":
                    owner = rest
                case "+":
                    under_way.add(rest)
                case "-":
                    key, _, end = rest.partition(" ")
                    under_way.discard(key)
                    ends[key] = end
                case _:
                    faults.append(line)
        return under_way, ends, owner, faults

    def died(self, status: int, *, stuck: bool) -> None:
        """Note how the process ended; a SIGKILL is a kill, whoever sent it."""
        by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        self.killed = by == signal.SIGKILL and not stuck
        if by and not self.killed:
            with self.log.open("a") as log:
                log.write(f"was ended by signal {by}, {stuck=}\n")

    def timings(self) -> list[tuple[float, float]]:
        """Return (seconds for its turn, seconds in all) of each call of the store."""
        data = self.waits.read_bytes() if self.waits.exists() else b""
        whole = len(data) - len(data) % PAIR.size
        return list(PAIR.iter_unpack(data[:whole]))


@define(eq=False, kw_only=True)
class Round:
    """The same keys, ordered by several processes."""

    number: int
    keys: int
    folder: Path
    lease_s: float
    server: dict[str, str]
    redis: RedisServer | None = None

    @property
    def store(self) -> Path:
        """The file they share."""
        return self.folder / "orders.sqlite"

    @property
    def mark(self) -> str:
        """What all its prompts have, and no other's."""
        return f"round-{self.number:04}"

    def names(self) -> list[str]:
        """Return the keys; each is the prompt as well."""
        return [f"{self.mark}-key-{number:05}." for number in range(self.keys)]

    async def work(self, life: Life) -> None:
        """Order everything; a killed one ends in the middle of this."""
        keys = self.names()
        random.Random(life.seed).shuffle(keys)
        log = life.log.open("ab", buffering=0)
        store = self.open_store()
        store.owners, store.waits = log, life.waits.open("ab", buffering=0)
        session = Session(
            self.server["key"],
            base_url=self.server["base_url"],
            polling=PollPolicy.unchecked(interval=0.1),
            store=store,
        )

        async def worker() -> None:
            while keys:
                key = keys.pop()
                log.write(f"+ {key}\n".encode())
                end = await self._order(session, key)
                log.write(f"- {key} {end}\n".encode())

        async with session, asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(worker())

    def open_store(self) -> TimedStore | TimedRedisStore:
        """Return the store that they share, for one process."""
        if self.redis is None:
            return TimedStore.unchecked(self.store, lease_s=self.lease_s)
        return TimedRedisStore.unchecked(
            self.redis.url, lease_s=self.lease_s, name=self.mark
        )

    async def _order(self, session: Session, key: str) -> str:
        images = session.images
        try:
            match int(key[-6:-1]) % 3:
                case 0:
                    result = await images.generate(key, idempotency_key=key)
                case 1:
                    result = await images.generate(
                        key, model="gpt-image-2", idempotency_key=key
                    )
                case _:
                    handle = await images.submit(
                        key, model="gpt-image-2", idempotency_key=key
                    )
                    result = await handle
        except OutcomeUnknownError:
            return UNKNOWN
        return " ".join(result.urls)

    def start(self, life: Life) -> None:
        """Order everything in a process of its own."""
        life.pid = os.fork()
        if life.pid:
            return
        code = 1
        try:
            asyncio.run(self.work(life))
            code = 0
        except BaseException:  # noqa: BLE001  whatever it is, the parent reads it
            with life.log.open("a") as log:
                log.write(traceback.format_exc())
        finally:
            os._exit(code)

    def states(self) -> dict[str, tuple[str, str]]:
        """Return state and owner by key, as the store has them."""
        if self.redis is not None:
            with RESTARTING:
                return asyncio.run(self._states_on(self.redis.url))
        with contextlib.closing(sqlite3.connect(self.store)) as connection:
            rows = connection.execute(
                "SELECT idempotency_key, state, owner FROM orders WHERE current"
            )
            return {row[0]: (row[1], row[2]) for row in rows}

    async def _states_on(self, url: str) -> dict[str, tuple[str, str]]:
        async with Redis.from_url(url, decode_responses=True) as client:
            place = f"{{{self.mark}}}"
            found = {}
            async for name in client.scan_iter(f"{place}:current:*", count=1000):
                for key, attempt in (await client.hgetall(name)).items():
                    at = f"{place}:order:{attempt}"
                    state, owner = await client.hmget(at, "state", "owner")
                    found[key] = str(state), str(owner)
            return found

    def is_whole(self) -> bool:
        """Return whether the file is not damaged."""
        if self.redis is not None:
            return True
        with contextlib.closing(sqlite3.connect(self.store)) as connection:
            (found,) = connection.execute("PRAGMA integrity_check").fetchone()
        return bool(found == "ok")


@define(eq=False)
class Figures:
    """What came out, over all rounds."""

    rounds: int = 0
    orders: int = 0
    lives: int = 0
    kills: int = 0
    under_way: int = 0
    """Orders that killed processes had under way, those that waited included."""
    completed: int = 0
    unknown: int = 0
    unknown_taken: int = 0
    unknown_most: int = 0
    """Left by one kill."""
    taken: int = 0
    turns: list[float] = field(factory=list)
    calls: list[float] = field(factory=list)
    openings: list[float] = field(factory=list)
    broken: dict[str, list[str]] = field(factory=lambda: defaultdict(list))
    """Promise -> what broke it."""


@define(eq=False)
class Killer:
    """Decides which lives end early, so that their share comes out as asked."""

    rng: random.Random
    share: float
    owed: float = 0.0
    usual_s: dict[int, float] = field(factory=dict)
    """Processes of a round -> seconds of a life that nobody ended."""

    def plan(self, life: Life, crowd: int) -> None:
        """Say when *life*, one of *crowd*, is to end, if not by itself."""
        self.owed += self.share
        if self.rng.random() < self.owed:
            usual_s = self.usual_s.get(crowd, 2.0)
            life.kill_at = life.started + self.rng.uniform(0.02, usual_s)

    def ended(self, life: Life, crowd: int) -> None:
        """Learn from a life that is over."""
        if life.killed:
            self.owed -= 1
        else:
            lasted = time.monotonic() - life.started
            usual_s = self.usual_s.get(crowd, lasted)
            self.usual_s[crowd] = usual_s + (lasted - usual_s) / 8


def run(the_round: Round, processes: int, killer: Killer) -> list[Life]:
    """Let *processes* order all keys, each until it is through; return all lives."""
    the_round.folder.mkdir()
    lives: list[Life] = []
    running: list[Life] = []

    def start() -> None:
        place = the_round.folder / str(len(lives))
        life = Life(
            log=place.with_suffix(".log"),
            waits=place.with_suffix(".waits"),
            seed=killer.rng.getrandbits(32),
        )
        killer.plan(life, processes)
        the_round.start(life)
        lives.append(life)
        running.append(life)

    for _ in range(processes):
        start()
    while running:
        time.sleep(0.003)
        now = time.monotonic()
        for life in list(running):
            stuck = now - life.started > LIFE_MAX_S
            if stuck or (life.kill_at is not None and now > life.kill_at):
                os.kill(life.pid, signal.SIGKILL)
                _, status = os.waitpid(life.pid, 0)
            else:
                ended, status = os.waitpid(life.pid, os.WNOHANG)
                if not ended:
                    continue
            life.died(status, stuck=stuck)
            running.remove(life)
            killer.ended(life, processes)
            if life.killed:
                start()
    return lives


@define(eq=False)
class Callers:
    """What all processes of a round got."""

    under_way: dict[str, set[str]] = field(factory=dict)
    """Owner that was killed -> keys that it had under way."""
    ends: dict[str, Counter[str]] = field(factory=lambda: defaultdict(Counter))
    """Key -> how often it ended how."""
    through: int = 0
    """Processes that were not killed."""

    @classmethod
    def of(cls, lives: list[Life], keys: int, figures: Figures) -> Callers:
        """Read what the processes wrote down."""
        callers = cls()
        for life in lives:
            open_ones, found, owner, faults = life.read()
            for key, end in found.items():
                callers.ends[key][end] += 1
            if life.killed:
                callers.under_way[owner] = open_ones
                figures.under_way += len(open_ones)
            else:
                callers.through += 1
                if faults or len(found) < keys:
                    figures.broken["failed by itself"].append("\n".join(faults[-12:]))
            for turn, whole in life.timings():
                if turn == OPENING:
                    figures.openings.append(whole)
                else:
                    figures.turns.append(turn)
                    figures.calls.append(whole)
        return callers

    def agree(self, key: str, *, unknown: bool) -> bool:
        """Return whether all got one and the same, every one that came through."""
        ends = self.ends[key]
        alike = len(ends) == 1 and (UNKNOWN in ends) == unknown
        return alike and ends.total() >= self.through


def compare(the_round: Round, lives: list[Life], figures: Figures) -> None:
    """Compare what the processes got, what the store has, and what was taken."""
    broken = figures.broken
    states = the_round.states()
    orders = taken(the_round.server["base_url"], the_round.mark)
    callers = Callers.of(lives, the_round.keys, figures)
    figures.rounds += 1
    figures.orders += the_round.keys
    figures.lives += len(lives)
    figures.kills += sum(life.killed for life in lives)
    figures.taken += orders.total()
    broken["taken twice"] += [key for key, times in orders.items() if times > 1]
    left: Counter[str] = Counter()
    for key in the_round.names():
        state, owner = states.get(key, ("missing", ""))
        unknown = state in {"intended", UNKNOWN}
        if unknown:
            figures.unknown += 1
            figures.unknown_taken += key in orders
            left[owner] += 1
            if key not in callers.under_way.get(owner, ()):
                broken["unknown without a kill"].append(key)
        else:
            figures.completed += state == "completed"
        fits = unknown or (state == "completed" and key in orders)
        if not fits or not callers.agree(key, unknown=unknown):
            ends = dict(callers.ends[key])
            broken["ended otherwise"].append(f"{key} {state} {ends}")
    figures.unknown_most = max([figures.unknown_most, *left.values()])
    if not the_round.is_whole():
        broken["damaged files"].append(the_round.mark)


def p99(values: list[float]) -> float:
    """Return what one in a hundred exceeds."""
    ordered = sorted(values) or [0.0]
    return ordered[int(len(ordered) * 0.99)]


def show(figures: Figures, wall: float, turn_s: float) -> bool:
    """Print the figures, and return whether every promise held."""
    broken = figures.broken
    longest = max(figures.turns, default=0.0)
    promises = {
        f"{words}: {len(broken[words])}": not broken[words]
        for words in (
            "taken twice",
            "ended otherwise",
            "unknown without a kill",
            "damaged files",
            "failed by itself",
        )
    }
    promises[f"unknown after one kill: {figures.unknown_most} at most"] = (
        figures.unknown_most <= AT_ONCE
    )
    promises[
        f"longest wait for a turn: {longest:.3f} s "
        f"(p99 {p99(figures.turns):.3f}, {len(figures.turns)} turns)"
    ] = longest < turn_s
    all_kept = tell_promises(promises)
    print(
        f"       whole calls of the store: p99 {p99(figures.calls):.3f} s, longest "
        f"{max(figures.calls, default=0):.3f} s; opening: longest "
        f"{max(figures.openings, default=0):.3f} s"
    )
    print(
        f"       {figures.rounds} rounds, {figures.orders} orders, {figures.taken} "
        f"taken, {figures.completed} completed, {figures.unknown} unknown "
        f"({figures.unknown_taken} of them taken)"
    )
    print(
        f"       {figures.lives} lives, {figures.kills} of them killed with "
        f"{figures.under_way} calls under way; {wall:.0f} s"
    )
    return all_kept


@contextlib.contextmanager
def redis_of(given: argparse.Namespace) -> Iterator[RedisServer | None]:
    """Start a Redis server, and kill it and start it again now and then."""
    if given.store != "redis":
        yield None
        return
    with RedisServer(SAFE) as redis:
        over, kills = threading.Event(), 0

        def restart() -> None:
            nonlocal kills
            while not over.wait(given.restart):
                with RESTARTING:
                    redis.kill()
                    redis.start()
                kills += 1

        thread = threading.Thread(target=restart)
        if given.restart:
            thread.start()
        try:
            yield redis
        finally:
            over.set()
            if given.restart:
                thread.join()
        print(f"       the server was killed {kills} times")


def measure(given: argparse.Namespace) -> bool:
    """Do all rounds, print the figures, and return whether every promise held."""
    figures = Figures()
    killer = Killer(random.Random(given.seed), given.kills)
    crowds = [int(each) for each in given.processes.split(",")]
    started = time.monotonic()
    with (
        emulator_process(SERVICE_S) as found,
        tempfile.TemporaryDirectory() as folder,
        redis_of(given) as redis,
    ):
        while figures.orders < given.orders:
            number = figures.rounds
            the_round = Round(
                number=number,
                keys=given.keys,
                folder=Path(folder) / str(number),
                lease_s=given.lease,
                server=found,
                redis=redis,
            )
            crowd, began = crowds[number % len(crowds)], time.monotonic()
            lives = run(the_round, crowd, killer)
            before = {words: len(what) for words, what in figures.broken.items()}
            compare(the_round, lives, figures)
            for words, what in figures.broken.items():
                for each in what[before.get(words, 0) :][:3]:
                    print(f"       {words}: {each}")
            print(
                f"       {the_round.mark}: {crowd} processes, {len(lives)} lives, "
                f"{figures.orders} orders, {figures.unknown} unknown, "
                f"{sum(map(len, figures.broken.values()))} faults, "
                f"{time.monotonic() - began:.1f} s",
                flush=True,
            )
    return show(figures, time.monotonic() - started, given.turn)


def main() -> bool:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--orders", type=int, default=20_000, help="keys in all")
    parser.add_argument("--keys", type=int, default=500, help="of one round")
    parser.add_argument("--processes", default="2,4,8", help="of the rounds, in turns")
    parser.add_argument("--kills", type=float, default=0.3, help="share of the lives")
    parser.add_argument("--lease", type=float, default=3.0, help="seconds")
    parser.add_argument("--turn", type=float, default=1.0, help="seconds at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--store", choices=("sqlite", "redis"), default="sqlite")
    parser.add_argument("--restart", type=float, default=0.0, help="seconds; 0: never")
    given = parser.parse_args()
    return measure(given)


if __name__ == "__main__":
    sys.exit(not main())
