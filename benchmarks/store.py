"""
What the order store costs: orders a second, the time it adds to one, its history.

    python benchmarks/store.py [--quick] [--json FILE]

Synchronous orders, 50 at once, of a session without a store and of sessions with a
``SqliteStore``, against one emulator in a process of its own. Variants take turns in
one run; what is printed is the ratio of each turn to the one without a store in the
same turn: median (least - most). Each order has an idempotency key of its own, and each
turn a new file; it is durable before the request is sent and before the result is given
out, so the disk's flush counts: it is measured as well.

Where a redis-server is found, ``RedisStore`` takes turns as well: over loopback, its
append-only file flushed always, or every second. What a record takes of the server's
memory is measured beside.

Where SQLite is older than 3.51.3 the store keeps a rollback journal. The write-ahead
log is measured all the same, by one connection, which its bug does not concern.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sqlite3
import sys
import tempfile
import time
import tracemalloc
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from _process import peak_mb
from _results import compared, keep, span
from _server import emulator
from support.ports import free_port  # type: ignore[import-not-found]
from support.redis import FOUND, RedisServer  # type: ignore[import-not-found]

from apimodels_async import ImageResult, PollPolicy, Session
from apimodels_async._core.money.records import dump_result
from apimodels_async.stores import NewOrder, OrderState, RedisStore, SqliteStore
from apimodels_async.stores.sqlite.connection import set_mode
from apimodels_async.stores.sqlite.schema import prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    Store = SqliteStore | RedisStore

QUICK: Final = "--quick" in sys.argv
TURNS: Final = 3 if QUICK else 9
AT_ONCE: Final = 50
ORDERS: Final = 300 if QUICK else 1_000
SINGLE: Final = 40 if QUICK else 200
RECORDS: Final = 5_000 if QUICK else 100_000
GOALS: Final = {"rollback": 0.4, "wal": 0.6}


class OpenedStore(SqliteStore):
    """A store whose file was made before, so that opening it is in no figure."""

    def make(self, *, wal: bool) -> OpenedStore:
        """Make the file; its mode stays with it, where it is a write-ahead log."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, isolation_level=None)
        prepare(connection, self._path)
        connection.close()
        self._wal = wal
        return self

    def _acquire(self) -> Any:
        from apimodels_async.stores.sqlite.writer import Writer

        def ready(connection: sqlite3.Connection) -> None:
            prepare(connection, self._path)
            set_mode(connection, wal=self._wal)

        return Writer.acquire(self._path, ready)


VARIANTS: dict[str, Callable[[Path], Store | None]] = {
    "none": lambda _: None,
    "rollback": lambda path: OpenedStore(path).make(wal=False),
    "wal": lambda path: OpenedStore(path).make(wal=True),
}


def session_of(server: dict[str, str], store: Store | None) -> Session:
    """Return a session that is not held back by its own pace."""
    return Session(
        server["key"],
        base_url=server["base_url"],
        polling=PollPolicy.unchecked(interval=0.05),
        store=store,
    )


async def rate(server: dict[str, str], store: Store | None) -> float:
    """Return orders a second, 50 at once."""
    numbers = iter(range(ORDERS))
    async with session_of(server, store) as session:

        async def worker() -> None:
            for number in numbers:
                await one(session, number)

        await one(session, -1)
        started = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(worker())
        return ORDERS / (time.perf_counter() - started)


async def one(session: Session, number: int) -> None:
    """Order one picture."""
    key = f"order {number}" if session_has_store(session) else None
    await session.images.generate(f"a fox {number}", idempotency_key=key)


def session_has_store(session: Session) -> bool:
    """Return whether it takes idempotency keys."""
    orders, _ = session._orders()  # noqa: SLF001  no user needs to ask
    return orders is not None


async def latencies(server: dict[str, str], store: Store | None) -> list[float]:
    """Return the seconds of single orders, one after another."""
    found = []
    async with session_of(server, store) as session:
        await one(session, -1)
        for number in range(SINGLE // TURNS):
            started = time.perf_counter()
            await one(session, number)
            found.append(time.perf_counter() - started)
    return found


def flushes(folder: Path) -> float:
    """Return the median seconds in which the disk makes one page durable."""
    found = []
    descriptor = os.open(folder / "flush", os.O_RDWR | os.O_CREAT, 0o600)
    for number in range(50):
        os.pwrite(descriptor, b"x" * 4096, number * 4096)
        started = time.perf_counter()
        os.fsync(descriptor)
        found.append(time.perf_counter() - started)
    os.close(descriptor)
    return median(found)


def throughput(server: dict[str, str], folder: Path) -> bool:
    """Print orders a second and their ratios; return whether the goals are met."""
    found: dict[str, list[float]] = {name: [] for name in VARIANTS}
    flush_s = []
    for turn in range(TURNS):
        flush_s.append(flushes(folder))
        for name, make in VARIANTS.items():
            store = make(folder / f"rate-{name}-{turn}.sqlite")
            found[name].append(asyncio.run(rate(server, store)))
    print(f"one flush of the disk {median(flush_s) * 1e3:.1f} ms")
    met, rows = True, []
    for name, values in found.items():
        row = compared(values, found["none"])
        goal = GOALS.get(name)
        aim = f"  goal {goal:.1f}x" if goal else ""
        print(
            f"{AT_ONCE} at once   {name:14} {median(values):6.0f} orders/s  "
            f"{span(row)}{aim}"
        )
        met = met and (goal is None or row["ratio"] >= goal)
        rows.append({"variant": name, "rate": median(values), "goal": goal, **row})
    keep("store", {"flush_s": median(flush_s), "rates": rows})
    return met


def single(server: dict[str, str], folder: Path) -> None:
    """Print what the store adds to an order that is alone."""
    found: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for turn in range(TURNS):
        for name, make in VARIANTS.items():
            store = make(folder / f"single-{name}-{turn}.sqlite")
            found[name] += asyncio.run(latencies(server, store))
    rows = {}
    for name, values in found.items():
        values.sort()
        middle, late = median(values), values[int(len(values) * 0.99)]
        rows[name] = {"median_s": middle, "p99_s": late}
        more = {k: v - rows["none"][k] for k, v in rows[name].items()}
        print(
            f"one order    {name:14} {middle * 1e3:6.1f} ms, p99 {late * 1e3:.1f}; "
            f"added: {more['median_s'] * 1e3:+.1f} ms, p99 {more['p99_s'] * 1e3:+.1f}"
        )
    keep("store single", rows)


async def redis_memory(url: str) -> None:
    """Print what a completed order takes of the server's memory."""
    store = RedisStore(url, name="memory")
    count = 1_000 if QUICK else 5_000
    address = "https://files.example/a/picture/of/a/fox.png"
    result = ImageResult(urls=(address,), model="sparkpix-image")

    async def used() -> int:
        (info,) = await store._open.exchange([("INFO", "memory")])  # noqa: SLF001
        return int(info["used_memory"])

    async def order(number: int) -> None:
        new = NewOrder(
            scope="https://api.example/v1",
            idempotency_key=f"order {number}",
            digest="1:" + "0" * 32,
            model="sparkpix-image",
            prompt=f"a fox {number}",
            request=f'{{"prompt": "a fox {number}"}}',
            price=None,
            owner="owner",
            nonce=None,
        )
        attempt = (await store.begin(new, ())).record.attempt
        state = OrderState.COMPLETED
        task_id = f"clx{number:020}"
        await store.ended(attempt, state, task_id=task_id, result=result)
        await store.handed_over(attempt)

    await store.open()
    before = await used()
    for start in range(0, count, 500):
        await asyncio.gather(*map(order, range(start, start + 500)))
    each = (await used() - before) / count
    await store.aclose()
    print(f"redis        {each:.0f} bytes of memory a completed order ({count} orders)")
    keep("store redis", {"bytes": each, "n": count})


def fill(path: Path, scope: str) -> None:
    """Write so many completed orders, as sessions would have."""
    address = "https://files.example/a/picture/of/a/fox.png"
    result = dump_result(ImageResult(urls=(address,), model="sparkpix-image"))
    rows = (
        (
            *(scope, f"order {number}", "1:" + "0" * 32, "sparkpix-image"),
            *(f"a fox {number}", f'{{"prompt": "a fox {number}"}}', "0.006"),
            *(f"clx{number:020}", result, "owner", 1.8e9 + number),
        )
        for number in range(RECORDS)
    )
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO orders (scope, idempotency_key, current, digest, model, prompt, "
        "request, price, state, task_id, result, owner, handed_over, intended_at) "
        "VALUES (?, ?, 1, ?, ?, ?, ?, ?, 'completed', ?, ?, ?, 1, ?)",
        rows,
    )
    connection.execute("COMMIT")
    connection.close()


async def history(server: dict[str, str], store: OpenedStore) -> None:
    """Print what reading the whole history takes."""
    async with session_of(server, store) as session:
        await one(session, -1)  # everything is imported, and the file is open
        orders, _ = session._orders()  # noqa: SLF001
        assert orders is not None
        scope = orders.scope
    fill(store.path, scope)
    started = time.perf_counter()
    async with session_of(server, store) as session:
        await session.find("order 1")
        opened = time.perf_counter() - started
        gc.collect()
        before = peak_mb()
        started, count = time.perf_counter(), 0
        async for _ in session.history():
            count += 1
        seconds = time.perf_counter() - started
        grown = (peak_mb() - before) * 1024
        tracemalloc.start()
        held, _ = tracemalloc.get_traced_memory()
        async for _ in session.history():
            pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    size = store.path.stat().st_size / 1e6
    print(
        f"history      {count} records ({size:.0f} MB) in {seconds:.1f} s; Python's "
        f"memory at most {(peak - held) / 1e6:.1f} MB more, the process's "
        f"{grown / 1e3:.1f} MB; opening and one look {opened:.2f} s"
    )
    found = {"n": count, "s": seconds, "bytes": peak - held, "rss_kb": grown}
    keep("store history", {**found, "opening_s": opened})


def main() -> int:
    """Run it all; 1 is a goal missed."""
    logging.disable(logging.WARNING)
    print(f"SQLite {sqlite3.sqlite_version}")
    with emulator() as server, tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name).absolute()  # a real disk: the system's may be memory
        servers = ExitStack()
        for flush in ("always", "everysec") if FOUND else ():
            words = ("--appendonly", "yes", "--appendfsync", flush)
            (place := folder / flush).mkdir()
            server_of = RedisServer(words, port=free_port(), folder=str(place))
            url = servers.enter_context(server_of).url
            VARIANTS[f"redis {flush}"] = lambda path, url=url: RedisStore(  # type: ignore[misc]
                url, name=path.stem
            )
        with servers:
            met = throughput(server, folder)
            single(server, folder)
            if "redis always" in VARIANTS:
                store_on = VARIANTS["redis always"](Path("any"))
                assert isinstance(store_on, RedisStore)
                asyncio.run(redis_memory(store_on._server.url))  # noqa: SLF001
        store = OpenedStore(folder / "history.sqlite").make(wal=False)
        asyncio.run(history(server, store))
    return not met


if __name__ == "__main__":
    sys.exit(main())
