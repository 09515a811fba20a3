"""
Kill a batch again and again, resume it, and compare its journal with the books.

    python tests/soak/crash.py [--runs 200] [--prompts 60] [--kills 2-3] [--seed 0]
                               [--callbacks]

Each run is one batch with a journal, concurrency 8, half of it tasks and half answered
at once. It is killed with SIGKILL at named points and at random moments, then resumed
to its end. The emulator has a process of its own and is never killed. Exits 1 if
anything was submitted twice or lost, or if a kill left more unknown than was under way.

With --callbacks the API calls back, through a receiver in the emulator's process and
sockets to whichever process of the batch lives; then nothing that was charged may stay
unknown.

Named points are around the steps of the journal, in its writing thread too, around
the order, in the middle of a download, and after an outcome was handed over.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import json
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from attrs import define, field

from apimodels_async import ImageRequest, PollPolicy, Session, SparkPixImage
from apimodels_async._adapters import Adapters
from apimodels_async.emulator import Emulator
from apimodels_async.stores.sqlite.journal import Journal
from apimodels_async.webhooks import Callback, SocketRelay

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.batches import tell_promises
from support.emulators import program, taken
from support.serving import served_callback

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from apimodels_async._ports import Failure, Reply, Request, Sent, Sink, Transport
    from apimodels_async.models import AnyRequest
    from apimodels_async.stores import Claim
    from apimodels_async.stores.sqlite.connection import Connection

T = TypeVar("T")

CONCURRENCY: Final = 8
PATIENCE_S: Final = 8.0
SPEED: Final = 20.0
SECRET: Final = "known to all processes of this program"
DOWNLOAD_EVERY: Final = 4
"""Every fourth run saves its pictures, small ones: drawing them is what takes long."""
POINTS: Final = (
    "before_intent",
    "after_intent",
    "before_order",
    "during_order",
    "after_answer",
    "before_accepted",
    "after_accepted",
    "before_outcome",
    "after_outcome",
    "before_commit",
    "before_answering",
    "after_handover",
    "mid_download",
    "before_saved",
    "after_saved",
)


@define
class Fuse:
    """Kills this process at the n-th passage of a named point."""

    point: str
    passages: int
    delay_s: float

    def at(self, point: str) -> None:
        """Pass *point*."""
        if point == self.point:
            self.passages -= 1
            if self.passages == 0:
                _die()

    def during(self, point: str) -> None:
        """Pass the beginning of something that takes a while, and die in its middle."""
        if point == self.point:
            self.passages -= 1
            if self.passages == 0:
                asyncio.get_running_loop().call_later(self.delay_s, _die)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class FusedJournal(Journal):
    """A journal with points around its steps."""

    def __init__(self, path: Path, fuse: Fuse) -> None:
        super().__init__(path)
        self._fuse = fuse

    async def begin(self, *args: Any) -> Claim:
        """Record an intent."""
        return await self._around("intent", super().begin(*args))

    async def accepted(self, *args: Any) -> None:
        """Record a task id."""
        await self._around("accepted", super().accepted(*args))

    async def ended(self, *args: Any, **facts: Any) -> None:
        """Record an end."""
        await self._around("outcome", super().ended(*args, **facts))

    async def saved(self, *args: Any) -> None:
        """Record a file."""
        await self._around("saved", super().saved(*args))

    async def _around(self, step: str, write: Awaitable[T]) -> T:
        self._fuse.at(f"before_{step}")
        answer = await write
        self._fuse.at(f"after_{step}")
        return answer

    async def _do(self, work: Callable[[Connection], T]) -> T:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        done.add_done_callback(lambda _: self._fuse.at("before_answering"))
        # A job of its own: wrapped, work that is alike would not be done together.
        self._writers[-1].put(
            lambda _db: self._fuse.at("before_commit"), loop.create_future()
        )
        self._writers[-1].put(work, done)
        return await asyncio.shield(done)


class FusedTransport:
    """The way to the API, with points around orders."""

    def __init__(self, inner: Transport, fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse
        self.aclose = inner.aclose

    @property
    def connections(self) -> int | None:
        """How many are open."""
        return self._inner.connections

    async def send(self, request: Request, sent: Sent) -> Reply | Failure:
        """Send one request."""
        if not request.kind.paid:
            return await self._inner.send(request, sent)
        self._fuse.at("before_order")
        self._fuse.during("during_order")
        answer = await self._inner.send(request, sent)
        self._fuse.at("after_answer")
        return answer


class FusedAdapters(Adapters):
    """The real ones, with points around what they do."""

    def __init__(self, fuse: Fuse) -> None:
        self._fuse = fuse

    def transport(self, *args: Any, **options: Any) -> Transport:
        """Return the way to the API."""
        return FusedTransport(super().transport(*args, **options), self._fuse)

    def sink(self, *args: Any) -> Sink:
        """Return the place for one file."""
        self._fuse.during("mid_download")
        return super().sink(*args)

    def journal(self, path: Path) -> Journal:
        """Return the journal at *path*."""
        return FusedJournal(path, self._fuse)


class FusedSession(Session):
    """A session that dies at its fuse's point."""

    def __init__(self, fuse: Fuse, *args: Any, **options: Any) -> None:
        self._fuse = fuse
        super().__init__(*args, **options)

    def _make_adapters(self) -> Adapters:
        return FusedAdapters(self._fuse)


@define(eq=False, kw_only=True)
class Run:
    """One batch, over all its processes."""

    number: int
    prompts: int
    folder: Path
    server: dict[str, str]

    @property
    def journal(self) -> Path:
        """Where its journal is."""
        return self.folder / "journal.sqlite"

    @property
    def mark(self) -> str:
        """What all its prompts have, and no other's."""
        return f"run {self.number:04}"

    @property
    def downloads(self) -> bool:
        """Whether it saves its pictures."""
        return self.number % DOWNLOAD_EVERY == 0

    def requests(self) -> Iterator[AnyRequest]:
        """Yield what is ordered."""
        for number in range(self.prompts):
            prompt = f"{self.mark} prompt {number:03}"
            if number % 2:
                yield ImageRequest("gpt-image-2", prompt)
            elif self.downloads:
                yield SparkPixImage(prompt=prompt, width=256, height=256)
            else:
                yield SparkPixImage(prompt=prompt)

    async def work(self, fuse: Fuse) -> None:
        """Order everything; a killed one ends in the middle of this."""
        session = FusedSession(
            fuse,
            self.server["key"],
            base_url=self.server["base_url"],
            polling=PollPolicy.unchecked(interval=0.03),
            callback=callback_of(self.server),
        )
        async with session:
            batch = session.images.batch(
                self.requests(),
                max_pending=CONCURRENCY,
                journal=self.journal,
                download_to=self.folder / "out" if self.downloads else None,
            )
            async with batch as outcomes:
                async for _ in outcomes:
                    fuse.at("after_handover")

    def process(self, fuse: Fuse, kill_after_s: float | None = None) -> bool:
        """Work in a process of its own; return whether it was killed."""
        child = os.fork()
        if child == 0:
            code = 1
            try:
                asyncio.run(self.work(fuse))
                code = 0
            finally:
                os._exit(code)
        if kill_after_s is not None:
            time.sleep(kill_after_s)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            return True
        assert os.WEXITSTATUS(status) == 0, f"{self.mark} failed by itself"
        return False

    def states(self) -> dict[str, tuple[str, list[str]]]:
        """Return state and files by prompt, as the journal has them."""
        if not self.journal.exists():
            return {}
        with contextlib.closing(sqlite3.connect(self.journal)) as connection:
            sql = "SELECT prompt, state, files FROM orders WHERE current"
            try:
                rows = connection.execute(sql)
            except sqlite3.OperationalError:
                return {}  # killed before it had a table
            return {
                prompt: (state, json.loads(files or "[]"))
                for prompt, state, files in rows
            }

    def charged(self) -> Counter[str]:
        """Return how often each prompt was taken, as the server has it."""
        return taken(self.server["base_url"], self.mark)


@define
class Figures:
    """What came out, over all runs."""

    kills: Counter[str] = field(factory=Counter)
    prompts: int = 0
    twice: int = 0
    lost: int = 0
    unknown: int = 0
    unknown_charged: int = 0
    unknown_most: int = 0
    """Left by one kill."""
    damaged: int = 0
    parts: int = 0
    """Cut downloads left under a final name or recorded without being there."""


def unknown_of(run: Run) -> int:
    """Return how many items of a batch that is not running are of unknown fate."""
    return sum(s in {"intended", "unknown"} for s, _ in run.states().values())


def crash(run: Run, kills: int, rng: random.Random, figures: Figures) -> None:
    """Kill a batch *kills* times, resume it to its end, and compare the books."""
    points = [p for p in POINTS if run.downloads or p not in POINTS[-3:]]
    unknown = 0
    for kill in range(kills):
        point = rng.choice(points) if kill else "random"
        fuse = Fuse(
            point, rng.randint(1, max(1, run.prompts // 4)), rng.uniform(0, 0.03)
        )
        seconds = rng.uniform(0.02, 0.4) if point == "random" else None
        if run.process(fuse, seconds):
            figures.kills[point] += 1
        now = unknown_of(run)
        figures.unknown_most = max(figures.unknown_most, now - unknown)
        unknown = now
    run.process(Fuse("never", 1, 0))
    _compare(run, figures)


def _compare(run: Run, figures: Figures) -> None:
    states, charged = run.states(), run.charged()
    figures.prompts += run.prompts
    figures.twice += sum(times - 1 for times in charged.values())
    for request in run.requests():
        state, files = states.get(request.prompt or "", ("missing", []))
        if state in {"intended", "unknown"}:
            figures.unknown += 1
            figures.unknown_charged += request.prompt in charged
        elif state != "completed" or request.prompt not in charged:
            figures.lost += 1
        elif run.downloads and not _are_whole(files):
            figures.parts += 1
    with contextlib.closing(sqlite3.connect(run.journal)) as connection:
        (found,) = connection.execute("PRAGMA integrity_check").fetchone()
        figures.damaged += found != "ok"


def _are_whole(files: list[str]) -> bool:
    ends = (b"\xff\xd9", b"IEND\xaeB`\x82")
    return bool(files) and all(Path(f).read_bytes().endswith(ends) for f in files)


def callback_of(server: dict[str, str]) -> Callback | None:
    """Return where the API calls back, if it does."""
    if "hooks" not in server:
        return None
    return Callback(server["hooks"], **how_served(server["sockets"]))


def how_served(sockets: str) -> dict[str, Any]:
    """Return the options of the callback, alike in all processes."""
    relay = SocketRelay(sockets)
    return {"secret": SECRET, "patience": PATIENCE_S, "relay": relay}


async def serve(*, callbacks: bool) -> None:
    """Run the emulator, and the receiver, until the parent has gone."""
    times = {"*": (0.03, 0.12), "sparkpix-image": (0.01, 0.04)}
    # The API tries again after 1, 2, 4 and then each 60 s; here, SPEED times as fast.
    speed = SPEED if callbacks else 1.0
    times = {model: (a * speed, b * speed) for model, (a, b) in times.items()}
    async with Emulator(service_times=times, speed=speed, credits="100000") as emulator:
        told = {"base_url": emulator.base_url, "key": emulator.api_key}
        async with contextlib.AsyncExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            if callbacks:
                receiver = served_callback(**how_served(folder))
                callback = await stack.enter_async_context(receiver)
                told |= {"hooks": callback.url, "sockets": folder}
            print(json.dumps(told), flush=True)
            await asyncio.to_thread(sys.stdin.read)


def measure(
    runs: int, prompts: int, kills: tuple[int, int], seed: int, *, callbacks: bool
) -> bool:
    """Do all runs, print the figures, and return whether every promise held."""
    figures, rng = Figures(), random.Random(seed)
    started = time.monotonic()
    # Imported before forking, so that a killed process costs milliseconds.
    _import_all()
    command = (__file__, "--serve", *(["--callbacks"] if callbacks else []))
    with program(*command) as found, tempfile.TemporaryDirectory() as folder:
        for number in range(runs):
            place = Path(folder) / str(number)
            run = Run(number=number, prompts=prompts, folder=place, server=found)
            crash(run, rng.randint(*kills), rng, figures)
    wall = time.monotonic() - started
    promises = {
        f"submitted twice: {figures.twice}": figures.twice == 0,
        f"lost: {figures.lost}": figures.lost == 0,
        f"unknown after one kill: {figures.unknown_most} at most "
        f"(concurrency {CONCURRENCY})": figures.unknown_most <= CONCURRENCY,
        f"damaged journals: {figures.damaged}": figures.damaged == 0,
        f"pictures missing or cut: {figures.parts}": figures.parts == 0,
    }
    if callbacks:
        charged = figures.unknown_charged
        promises[f"charged, and unknown to the end: {charged}"] = not charged
    all_kept = tell_promises(promises)
    killed = figures.kills.total()
    print(
        f"       {runs} runs, {figures.prompts} prompts, {killed} kills, {wall:.0f} s"
    )
    each = figures.unknown / max(1, killed)
    print(
        f"       unknown {figures.unknown} in all ({each:.2f} a kill), "
        f"{figures.unknown_charged} of them charged"
    )
    print(
        "       kills:", ", ".join(f"{p} {n}" for p, n in figures.kills.most_common())
    )
    return all_kept


def _import_all() -> None:
    for name in (
        "_api.responses",
        "_core.money.records",
        "_io.client",
        "_io.clock",
        "_io.files.storage",
        "_io.tracker",
        "_ordering",
        "_saving",
        "batch",
        "stores.sqlite.schema",
        "stores.sqlite.journal",
        "webhooks.expected",
    ):
        importlib.import_module(f"apimodels_async.{name}")


def main() -> bool:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--prompts", type=int, default=60)
    parser.add_argument("--kills", default="2-3", help="a number or a range")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--callbacks", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve(callbacks=given.callbacks))
        return True
    fewest, _, most = given.kills.partition("-")
    kills = int(fewest), int(most or fewest)
    return measure(
        given.runs, given.prompts, kills, given.seed, callbacks=given.callbacks
    )


if __name__ == "__main__":
    sys.exit(not main())
