"""One connection for a file: threads, loops, forks, and other processes."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from support.orders import SCOPE, an_order, begin, begun
from support.waiting import until

from apimodels_async import JournalError
from apimodels_async.stores import HistoryQuery, SqliteStore
from apimodels_async.stores.sqlite.writer import Writer

SUPPORT = str(Path(__file__).parents[2])
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")

PROGRAM = """
import asyncio, os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # forks of a process with threads
sys.path.insert(0, sys.argv[2])
from support.orders import SCOPE, an_order, begin, begun, execute
from apimodels_async import JournalError
from apimodels_async.stores import HistoryQuery, OrderState, SqliteStore
store = SqliteStore(sys.argv[1])
"""


def start(code, path):
    """Start a program on a store."""
    program = [sys.executable, "-c", PROGRAM + code, str(path), SUPPORT]
    return subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def end(program):
    """Return what a program printed; it must have ended well, and in silence."""
    out, err = program.communicate(timeout=50)
    assert (program.returncode, err) == (0, "")
    return out


def names_of_threads():
    """Return the names of the threads that run."""
    return [thread.name for thread in threading.enumerate()]


async def keys(store):
    """Return all keys, sorted."""
    found = await store.history(SCOPE, HistoryQuery(), before=None, limit=10_000)
    return sorted(record.idempotency_key for record in found)


# --- one process ----------------------------------------------------------------------


async def test_it_is_open_as_long_as_somebody_has_it_open(tmp_path):
    """Opened twice it closes with the second one, and may be opened again."""
    store = SqliteStore(tmp_path / "orders.sqlite")
    await store.open()
    await store.open()
    await store.aclose()
    await begun(store)
    await store.aclose()
    assert Writer.open_ones == {}
    with pytest.raises(JournalError, match="is closed"):
        await begin(store)
    await store.open()

    assert not (await begin(store)).granted
    await store.aclose()


async def test_what_was_asked_for_before_closing_is_done(tmp_path):
    """Closing finishes the queue, however many wait in it."""
    store = SqliteStore(tmp_path / "orders.sqlite")
    await store.open()
    writes = [asyncio.create_task(begin(store, f"k{n}")) for n in range(1200)]
    await asyncio.sleep(0)
    await store.aclose()

    assert all(claim.granted for claim in await asyncio.gather(*writes))


async def test_loops_in_threads_share_a_store_object(tmp_path):
    """Each opens it in its own loop; of all claims under one key one is granted."""
    store, granted = SqliteStore(tmp_path / "orders.sqlite"), []

    async def use(number):
        await store.open()
        for turn in range(10):
            claim = await begin(store, f"k{turn}", owner=f"o{number}")
            granted.append(claim.granted)
        await store.aclose()

    def work(number):
        asyncio.run(use(number))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)

    assert len(granted) == 40
    assert sum(granted) == 10
    assert Writer.open_ones == {}


async def test_a_loop_that_closed_hangs_nobody(tmp_path):
    """Whoever left without closing is answered in vain; the others go on."""
    store = SqliteStore(tmp_path / "orders.sqlite")

    async def leave():
        await store.open()
        for number in range(50):
            work = asyncio.create_task(begin(store, f"k{number}"))
            work.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.sleep(0)

    await asyncio.to_thread(asyncio.run, leave())
    await store.open()
    assert len(await keys(store)) == 50
    await store.aclose()
    await asyncio.to_thread(lambda: _drive(store.aclose()))

    assert Writer.open_ones == {}


def _drive(closing_store):
    with pytest.raises(StopIteration):
        closing_store.send(None)


async def test_a_cancelled_opener_leaves_nothing_open(tmp_path):
    """What it had begun to open is closed."""
    store = SqliteStore(tmp_path / "orders.sqlite")
    opener = asyncio.create_task(store.open())
    await asyncio.sleep(0)
    opener.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opener
    await until(lambda: store.path.exists() and store.path.stat().st_size)
    await until(lambda: "apimodels-store" not in names_of_threads())

    with pytest.raises(JournalError, match="closed"):
        await begin(store)


async def test_a_cancelled_writer_s_word_is_kept(sqlite_store):
    """What the thread has begun is finished, for nobody."""
    writing = asyncio.create_task(begin(sqlite_store))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing

    assert not (await begin(sqlite_store)).granted


async def test_a_broken_loop_does_not_break_the_thread(tmp_path):
    """A job of a loop that is gone is done, and the next one is answered."""
    store = SqliteStore(tmp_path / "orders.sqlite")
    await store.open()
    loop = asyncio.new_event_loop()
    future = loop.create_future()
    loop.close()
    store._writers[-1].put(lambda _db: None, future)
    bad = asyncio.get_running_loop().create_future()
    store._writers[-1].put(lambda db: db.no_such_method(), bad)
    with pytest.raises(JournalError, match="no_such_method"):
        await bad

    assert await begun(store)
    await store.aclose()


class DeafLoop(asyncio.SelectorEventLoop):
    """A loop of another make, which nobody can wake up."""

    trouble = OSError

    def call_soon_threadsafe(self, *_arguments, **_options):
        """Fail, and not as a loop that closed does."""
        msg = "no way in"
        raise self.trouble(msg)


async def test_a_loop_that_cannot_be_told_keeps_no_other_waiting(sqlite_store):
    """Whatever it raises, those who asked together with it are told."""
    deaf = DeafLoop()
    alone = deaf.create_future()
    writer, ours = sqlite_store._writers[-1], asyncio.get_running_loop()
    waiting = [ours.create_future() for _ in range(2)]
    writer.put(lambda _db: time.sleep(0.2), ours.create_future())  # they queue up
    for each in (waiting[0], alone, waiting[1]):
        writer.put(lambda _db: "done", each)
    assert await asyncio.gather(*waiting) == ["done", "done"]

    deaf.close()


@pytest.mark.parametrize("bug", [AttributeError, KeyError, LookupError, MemoryError])
async def test_a_job_s_error_is_no_neighbour_s(sqlite_store, bug):
    """What was asked for together with one that cannot be done is done."""

    def broken(_db):
        raise bug

    writer, loop = sqlite_store._writers[-1], asyncio.get_running_loop()
    held, bad = loop.create_future(), loop.create_future()
    writer.put(lambda _db: time.sleep(0.2), held)  # meanwhile the others queue up
    begins = [asyncio.create_task(begin(sqlite_store, key)) for key in ("k", "l")]
    await asyncio.sleep(0)
    writer.put(broken, bad)
    assert [claim.granted for claim in await asyncio.gather(*begins)] == [True, True]
    with pytest.raises(JournalError, match=f"{sqlite_store.path} cannot be used"):
        await bad


class CheckedStore(SqliteStore):
    """One with a table of its own, whose rows are looked at as they are committed."""

    def _acquire(self):
        def ready(connection):
            self._prepare(connection)
            reference = "REFERENCES orders DEFERRABLE INITIALLY DEFERRED"
            connection.execute(f"CREATE TABLE child (x {reference})")
            connection.execute("PRAGMA foreign_keys = ON")

        return Writer.acquire(self.path, ready)


async def test_what_cannot_be_committed_is_told_to_all(tmp_path):
    """It may be on the disk all the same: none of it is done a second time."""
    store = CheckedStore(tmp_path / "orders.sqlite")
    await store.open()
    calls = (
        store._do(lambda _db: time.sleep(0.2)),  # meanwhile both others are queued
        begin(store),
        store._do(lambda db: db.execute("INSERT INTO child VALUES (7)").rowcount),
    )
    _, *told = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(each) for each in told] == [JournalError] * 2
    assert await store.find(SCOPE, "k") is None
    assert await begun(store)
    await store.aclose()


async def test_a_file_is_open_once_by_whatever_path(tmp_path, monkeypatch):
    """A link, a relative path, and another name that its folder has meanwhile."""
    (tmp_path / "old").mkdir()
    first = SqliteStore(tmp_path / "old" / "orders.sqlite")
    await first.open()
    (tmp_path / "old").rename(tmp_path / "new")
    (tmp_path / "old").symlink_to(tmp_path / "new")
    (tmp_path / "link").symlink_to(first.path)
    monkeypatch.chdir(tmp_path / "new")
    paths = (tmp_path / "link", "orders.sqlite", tmp_path / "new" / "orders.sqlite")
    others = [SqliteStore(path) for path in paths]
    for store in others:
        await store.open()
    assert names_of_threads().count("apimodels-store") == 1
    await first.aclose()
    for number, store in enumerate(others):
        assert await begun(store, f"k{number}")
        await store.aclose()
    assert Writer.open_ones == {}


async def test_closing_one_file_leaves_another_open(tmp_path):
    """Each file has a thread of its own, which ends with the file's last user."""
    stores = [SqliteStore(tmp_path / f"{number}.sqlite") for number in range(3)]
    for store in stores:
        await store.open()
    first, middle, last = stores
    await middle.aclose()
    assert await begun(first) == await begun(last) == 1
    assert names_of_threads().count("apimodels-store") == 2
    await last.aclose()
    assert not (await begin(first)).granted
    await first.aclose()
    assert "apimodels-store" not in names_of_threads()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_nobody_waits_for_a_thread_that_ended(tmp_path):
    """After an accident who is queued or comes is told, and it can be opened anew."""
    store, deaf = SqliteStore(tmp_path / "orders.sqlite"), DeafLoop()
    deaf.trouble = GeneratorExit  # no error: it ends whatever runs
    await store.open()
    begins, goes_on = threading.Event(), threading.Event()

    def work(_db):
        begins.set()
        goes_on.wait()

    store._writers[-1].put(work, deaf.create_future())
    await asyncio.to_thread(begins.wait)
    queued = asyncio.create_task(begin(store))
    await asyncio.sleep(0)
    goes_on.set()
    for call in (queued, begin(store)):
        with pytest.raises(JournalError, match="is closed"):
            await call
    deaf.close()
    await store.open()
    assert await begun(store)
    for _ in range(2):
        await store.aclose()

    assert Writer.open_ones == {}


async def test_it_waits_for_another_program_s_lock(sqlite_store):
    """A file that is locked for a moment is only slow, also to open."""
    with closing(sqlite3.connect(sqlite_store.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        writing = asyncio.create_task(begin(sqlite_store))
        await asyncio.sleep(0.1)
        assert not writing.done()
        other.execute("COMMIT")

        assert (await writing).granted


async def test_opening_waits_for_another_program_s_lock(tmp_path):
    """The busiest file opens in the end."""
    store = SqliteStore(tmp_path / "orders.sqlite")
    await store.open()
    await store.aclose()
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        opening = asyncio.create_task(store.open())
        await asyncio.sleep(0.1)
        assert not opening.done()
        other.execute("COMMIT")
        await opening
    await store.aclose()


# --- several processes ----------------------------------------------------------------

CLAIM = """
async def main():
    granted = 0
    for turn in range(40):
        await store.open()
        granted += (await begin(store, f"k{turn}", owner=str(os.getpid()))).granted
        await store.aclose()
    print(granted)
asyncio.run(main())
"""


def test_processes_share_a_new_file(tmp_path):
    """They make it together, open it again and again, and each key is granted once."""
    programs = [start(CLAIM, tmp_path / "orders.sqlite") for _ in range(4)]

    assert sum(int(end(program)) for program in programs) == 40


KILLED = """
async def main():
    await store.open()
    for number in range(10_000):
        await begun(store, f"k{number}")
        print(number, flush=True)
asyncio.run(main())
"""


async def test_what_a_killed_process_was_granted_is_there(tmp_path):
    """Every claim that was answered is found after kill -9."""
    program = start(KILLED, tmp_path / "orders.sqlite")
    told = [program.stdout.readline() for _ in range(30)]
    program.kill()
    told += program.communicate(timeout=50)[0].splitlines()
    store = SqliteStore(tmp_path / "orders.sqlite")
    await store.open()
    found = await keys(store)
    await store.aclose()

    assert {f"k{int(line)}" for line in told if line.strip()} <= set(found)


FULL = """
import resource
async def main():
    await store.open()
    first = await begun(store, "first")
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
    lost = 0
    for group in range(20):
        keys = [f"k{group}-{number}" for number in range(5)]
        claims = (begin(store, key, prompt="x" * 2000) for key in keys)
        ends = await asyncio.gather(*claims, return_exceptions=True)
        for end in ends:
            if isinstance(end, JournalError):
                assert f"{store.path} cannot be used" in str(end), end
                lost += 1
            else:
                assert end.granted
    assert lost
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    await store.accepted(first, "t1")
    assert (await begin(store, "after")).granted
    found = await store.history(SCOPE, HistoryQuery(), before=None, limit=1000)
    print(len(found) == 102 - lost)
    await store.aclose()
asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of files")
def test_a_full_disk_is_told_and_passes(tmp_path):
    """What does not fit is refused in words, and the store works once there is room."""
    assert end(start(FULL, tmp_path / "orders.sqlite")) == "True\n"


FORK = """
async def child():
    try:
        await begin(store, "inherited")
    except JournalError as error:
        assert "is closed" in str(error), error
    await store.aclose()  # not ours: nothing happens
    await store.open()
    for number in range(50):
        await begin(store, f"child{number}")
    assert (await begin(store, "mine")).granted is False
    await store.aclose()

async def main():
    await store.open()
    await begun(store, "mine")
    writes = [asyncio.ensure_future(begin(store, f"k{n}")) for n in range(600)]
    await asyncio.sleep(0)
    pid = os.fork()
    if not pid:
        asyncio._set_running_loop(None)
        asyncio.set_event_loop(None)
        asyncio.run(child())
        os._exit(0)
    for number in range(50):
        await begin(store, f"parent{number}")
    assert all(claim.granted for claim in await asyncio.gather(*writes))
    status = os.waitpid(pid, 0)[1]
    found = await store.history(SCOPE, HistoryQuery(), before=None, limit=1000)
    print(status, len(found))
    await store.aclose()
asyncio.run(main())
"""


@forks
def test_a_forked_child_has_a_connection_of_its_own(tmp_path):
    """It uses and closes nothing of its parent's, opens its own, and both go on."""
    assert end(start(FORK, tmp_path / "orders.sqlite")) == "0 701\n"


IDLE_FORK = """
async def main():
    await store.open()
    await begun(store, "mine")
    for _ in range(3):
        pid = os.fork()
        if not pid:
            os._exit(0)
        os.waitpid(pid, 0)
    store.path.rename("gone.sqlite")
    if not (pid := os.fork()):
        os._exit(0)
    os.waitpid(pid, 0)
    try:
        await begin(store, "other")
    except JournalError as error:
        print("deleted or replaced" in str(error))
    os.rename("gone.sqlite", store.path)
    print((await begin(store, "other")).granted)
    await store.aclose()
os.chdir(os.path.dirname(sys.argv[1]))
asyncio.run(main())
"""


@forks
def test_a_parent_opens_again_what_it_closed_for_a_fork(tmp_path):
    """Also after several children, and a file that was gone in between."""
    assert end(start(IDLE_FORK, tmp_path / "orders.sqlite")) == "True\nTrue\n"


async def test_an_order_s_place_is_not_taken_by_another_scope(sqlite_store):
    """A store's own scope is part of what its sessions ask for, and not of the file."""
    assert sqlite_store.scope == ""
    assert SqliteStore(sqlite_store.path, scope="team").scope == "team"
    assert (await sqlite_store.begin(an_order(scope="team"), ())).granted
