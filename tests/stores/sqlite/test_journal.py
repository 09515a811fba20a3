"""The journal of a batch: private, locked for one process, and durable at once."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from support.batches import drain, orders, rewrite, rows, uncovered
from support.orders import an_order
from support.waiting import until

from apimodels_async import JournalError, OutcomeUnknownError
from apimodels_async._core.money.orders import BATCH_SCOPE
from apimodels_async.stores import OrderState, SqliteStore
from apimodels_async.stores.sqlite.journal import Journal
from apimodels_async.stores.sqlite.writer import Writer

SUPPORT = str(Path(__file__).parents[2])
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")


@pytest.fixture
def path(tmp_path):
    """Return where the journal is going to be."""
    return tmp_path / "deep" / "j.sqlite"


@pytest.fixture
async def journal(path):
    """Return an open journal."""
    journal = Journal(path)
    await journal.open()
    yield journal
    await journal.aclose()


async def begin(journal, key="k", **more):
    """Write down that an item is about to be ordered; return its record."""
    claim = await journal.begin(an_order(key, scope=BATCH_SCOPE, **more), ())
    return claim.record


async def refused(path):
    """Return what opening the journal at *path* is refused with."""
    with pytest.raises(JournalError) as caught:
        await Journal(path).open()
    assert caught.value.charged is False
    return str(caught.value)


async def reopened(path):
    """Open the journal at *path*, which nobody has, and close it."""
    journal = Journal(path)
    await journal.open()
    await journal.aclose()


PROGRAM = """
import asyncio, os, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore", DeprecationWarning)  # forks of a process with threads
sys.path.insert(0, sys.argv[2])
from support.orders import an_order
from apimodels_async import SparkPixImage
from apimodels_async._core.money.orders import BATCH_SCOPE
from apimodels_async._io.clock import LoopClock
from apimodels_async.stores._lease import Lease
from apimodels_async.stores.sqlite.journal import Journal
from apimodels_async.stores.sent import SentOrders
from apimodels_async.stores.sent_order import SentOrder
journal = Journal(Path(sys.argv[1]))
"""
HOLD = """
async def main():
    await journal.open()
    print("open", flush=True)
    sys.stdin.read()
    await journal.aclose()
asyncio.run(main())
"""


def start(code, path):
    """Start a program that has a journal; return it when it said something."""
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM + code, str(path), SUPPORT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=uncovered(),
    )
    assert program.stdout.readline()
    return program


def run(code, path):
    """Run a program with a journal to its end."""
    return subprocess.run(
        [sys.executable, "-c", code, str(path), SUPPORT],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        input="",
        env=uncovered(),
    )


# --- the file -------------------------------------------------------------------------


async def test_its_files_are_private(journal, path):
    """Prompts are nobody else's business: mode 600, the lock as well."""
    await begin(journal)
    files = path.parent.iterdir()
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in files}

    assert {"j.sqlite", "j.sqlite.lock", "j.sqlite-wal", "j.sqlite-shm"} == set(modes)
    assert {0o600} == set(modes.values())


async def test_a_write_is_durable_when_it_returns(journal, path):
    """The log on disk has it at once, whatever the release of SQLite."""
    await begin(journal, prompt="a rare word")
    (mode,) = await journal._fetch("PRAGMA journal_mode")
    (full,) = await journal._fetch("PRAGMA synchronous")

    assert (mode, full) == (("wal",), (2,))
    assert b"a rare word" in path.with_name("j.sqlite-wal").read_bytes()


FILL = """
async def main():
    await journal.open()
    for number in range(10):
        order = an_order(f"k{number}", scope=BATCH_SCOPE)
        await journal.begin(order, ())
    os.kill(os.getpid(), 9)
asyncio.run(main())
"""


async def test_a_torn_log_is_rolled_back(path):
    """Rubbish at the end of the write-ahead log costs nothing that was committed."""
    assert run(PROGRAM + FILL, path).returncode == -9
    log = path.with_name("j.sqlite-wal")
    log.write_bytes(log.read_bytes() + b"\xa5" * 3000)
    journal = Journal(path)
    await journal.open()
    found = [await journal.find(BATCH_SCOPE, f"k{number}") for number in range(10)]
    await journal.aclose()

    assert [each.state for each in found] == [OrderState.INTENDED] * 10


async def test_a_big_journal_opens_quickly(path):
    """A hundred thousand records are checked, and it is open within seconds."""
    journal = Journal(path)
    await journal.open()
    await begin(journal, "k")
    await journal.aclose()
    columns = (
        "scope, current, model, request, price, state, owner, handed_over, intended_at"
    )
    with closing(sqlite3.connect(path)) as connection:
        connection.executemany(
            f"INSERT INTO orders (idempotency_key, digest, {columns}) "  # noqa: S608
            f"SELECT ?, ?, {columns} FROM orders WHERE attempt = 1",
            ((f"1:{n:032x}-1", f"1:{n:032x}") for n in range(100_000)),
        )
        connection.commit()
    async with asyncio.timeout(30):
        await journal.open()
        assert await journal.find(BATCH_SCOPE, f"1:{99_999:032x}-1") is not None
    await journal.aclose()


# --- one process at a time ------------------------------------------------------------


async def test_a_second_process_is_refused_by_pid(path):
    """The message says who works with it; the end of that one frees it."""
    with start(HOLD, path) as holder:
        assert f"pid {holder.pid}) is working with it" in await refused(path)
        holder.kill()
        holder.wait()

    await reopened(path)


async def test_a_second_journal_in_one_process_is_refused(journal, path, tmp_path):
    """Two batches cannot share a file either, whatever they call it."""
    (tmp_path / "link.sqlite").symlink_to(path)
    for name in (path, tmp_path / "link.sqlite"):
        said = await refused(name)
        assert "another batch of this process is working with it" in said

    await begin(journal)


async def test_a_session_s_store_is_no_journal_meanwhile(path):
    """One file is not both at once: a journal has it alone, and takes no others in."""
    store, journal = SqliteStore(path), Journal(path)
    for first, second in ((store, journal), (journal, store)):
        await first.open()
        for _ in range(2):
            with pytest.raises(JournalError, match="it is open in this process"):
                await second.open()
        await first.aclose()

    await reopened(path)


async def test_a_lock_that_names_nobody_is_a_lock(path):
    """A holder that was stopped before it wrote its pid is unknown."""
    path.parent.mkdir()
    with path.with_name("j.sqlite.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another process (pid unknown)" in await refused(path)
        lock.write(str(os.getpid()))  # as a process of another container may have
        lock.flush()
        assert f"another process (pid {os.getpid()})" in await refused(path)


async def test_a_lock_that_is_another_files_name_is_refused(path):
    """A link or a second name in its place is not written to."""
    path.parent.mkdir()
    diary = path.with_name("diary")
    diary.write_text("dear diary")
    lock = path.with_name("j.sqlite.lock")
    for make, why in (
        (lock.symlink_to, "cannot be used"),
        (lock.hardlink_to, "a name of another file"),
    ):
        make(diary)
        assert why in await refused(path)
        lock.unlink()

    assert diary.read_text() == "dear diary"


async def test_a_cancelled_opening_leaves_nothing(path):
    """No file, thread or lock of it stays: the next one has it."""
    path.parent.mkdir()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))  # in turn
    for turns in range(4):
        opening = asyncio.create_task(Journal(path).open())
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait([opening])
        # What it had begun to open is open for a moment, and closed again.
        await asyncio.get_running_loop().run_in_executor(None, lambda: None)
        await until(lambda: not has_lock(path))
    await until(lambda: Writer.open_ones == {})

    await reopened(path)


def has_lock(path):
    """Return whether somebody has the lock of the journal at *path*."""
    with path.with_name("j.sqlite.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


async def test_a_cancelled_closing_closes_it(path):
    """Its waiter goes; the file is closed all the same, and the lock given up."""
    journal = Journal(path)
    await journal.open()
    leaving = asyncio.create_task(journal.aclose())
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([leaving])
    await until(lambda: not has_lock(path))

    await reopened(path)


async def test_a_journal_that_is_refused_is_not_kept_locked(path):
    """Whatever is wrong with it can be mended, and is told again until then."""
    await reopened(path)
    rewrite(path, "PRAGMA user_version = 9")
    for _ in range(2):
        assert "of version 9" in await refused(path)
    rewrite(path, "PRAGMA user_version = 3")

    await reopened(path)


SEND = """
async def main():
    clock = LoopClock()
    lease = Lease(clock, journal.lease_s)
    orders = SentOrders(journal, journal.scope, clock, lease)
    request = SparkPixImage(prompt="moose")
    order = await SentOrder.record(orders, request, lambda digest: f"{digest}-1")
    await order.begin(None)
    print("sent", flush=True)
    sys.stdin.read()
asyncio.run(main())
"""


async def test_a_killed_holder_holds_nobody_up(emulator, session, path):
    """What it was sending is of unknown fate at once: nobody is waited for."""
    with start(SEND, path) as holder:
        holder.kill()
        holder.wait()
    async with asyncio.timeout(30):
        outcomes, _ = await drain(session.images.batch(["moose"], journal=path))

    assert isinstance(outcomes[0].error, OutcomeUnknownError)
    assert orders(emulator) == []
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM owners").fetchall() == []


FORK = """
async def main():
    await journal.open()
    await journal.begin(an_order("parent", scope=BATCH_SCOPE), ())
    ready, wait = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        os.close(wait[1])
        os.write(ready[1], b"1")
        os.read(wait[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    rival = Journal(Path(sys.argv[1]))
    try:
        await rival.open()
    except Exception as error:
        print("another batch of this process" in str(error))
    await journal.aclose()
    await journal.open()  # the child lives, and does not have it
    found = await journal.find(BATCH_SCOPE, "parent")
    print(found.state)
    await journal.aclose()
    os.write(wait[1], b"1")
    print(os.waitpid(child, 0)[1])
asyncio.run(main())
"""


@forks
def test_a_forked_child_does_not_keep_the_lock(path):
    """Its parent has it until it closes the journal, and then nobody has."""
    done = run(PROGRAM + FORK, path)

    assert (done.stdout.split(), done.stderr) == (["True", "intended", "0"], "")


# --- a disk that does not want --------------------------------------------------------


async def test_a_folder_in_the_way_is_said(tmp_path):
    """A journal cannot be a folder, lie beneath a file, or be a link to itself."""
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")

    assert "File exists" in await refused(tmp_path / "file" / "j.sqlite")
    assert await refused(tmp_path / "folder") == (
        f"the journal {tmp_path / 'folder'} cannot be used: it is a folder; name a file"
        f" in it, such as {tmp_path / 'folder' / 'batch.sqlite'}"
    )
    assert not (tmp_path / "folder.lock").exists()
    assert "symbolic links" in await refused(tmp_path / "loop")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0,
    reason="only root can give up its rights",
)
def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    """The message has the system's reason."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    # All modules are loaded by then: they may lie where only root can look.
    nobody = "    await asyncio.to_thread(os.setuid, 65534)\n"
    code = HOLD.replace("    await journal.open()", f"{nobody}    await journal.open()")
    loaded = "import apimodels_async.stores.sqlite.writer\n"
    done = run(loaded + PROGRAM + code, folder / "j.sqlite")

    assert "JournalError: the journal" in done.stderr
    assert "Permission denied" in done.stderr


# Byte code that it wrote would be cut off as well, and nobody could import it.
LIMITED = """
import resource, sys
sys.dont_write_bytecode = True
resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))
"""


@pytest.mark.parametrize("most", [0, 100, 8000])
def test_a_disk_that_is_full_at_the_start_is_said(path, most):
    """Neither lock nor tables can be written, and it is a JournalError."""
    done = run(LIMITED.format(most) + PROGRAM + HOLD, path)

    assert done.returncode == 1
    assert "JournalError: the " in done.stderr
    assert f"{path} cannot be used" in done.stderr


BATCH = """
import asyncio, sys
from apimodels_async import Session, JournalError
from apimodels_async.emulator import Emulator

async def run():
    async with (
        Emulator(service_times={"*": 0.01}) as emulator,
        Session(emulator.api_key, base_url=emulator.base_url) as session,
    ):
        results = raised = 0
        source = ("x" * 3000 + str(n) for n in range(500))
        batch = session.images.batch(source, max_pending=4, journal=sys.argv[1])
        async with batch as outcomes:
            try:
                async for outcome in outcomes:
                    results += outcome.result is not None
            except JournalError as error:
                print(error)
                raised = 1
        print(results, len(emulator.generations), raised)

asyncio.run(run())
"""


async def test_a_disk_that_fills_up_stops_ordering(path):
    """Everything that was ordered is handed over; then comes JournalError."""
    done = run(LIMITED.format(300_000) + BATCH, path)
    message, figures = done.stdout.splitlines()
    results, ordered, raised = map(int, figures.split())

    assert not done.stderr.strip() or "not in the store" in done.stderr
    assert f"the store {path} cannot be used" in message
    assert "full" in message or "disk I/O" in message
    assert raised == 1
    assert 0 < results == ordered < 500
    # Freed, the journal is sound, and the same batch can go on.
    states = rows(path)
    assert {"completed", "intended"} >= set(states)
    assert states.count("intended") <= 4
    await reopened(path)
