"""The journal by itself: durable, private, locked, and clear about what is wrong."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import textwrap

import pytest
from apimodels_async._io.journal import SCHEMA_VERSION, Journal
from support.batches import rewrite, rows, uncovered

from apimodels_async import JournalError
from apimodels_async._core.money.resume import OrderState, Record


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


async def refused(path):
    """Return what opening the journal at *path* is refused with."""
    with pytest.raises(JournalError) as caught:
        await Journal(path).open()
    assert caught.value.charged is False
    return str(caught.value)


async def test_every_step_is_found_again(path):
    """A record goes from intent to file, also over a reopening."""
    journal = Journal(path)
    await journal.open()
    assert None is await journal.find("k")
    await journal.begin("k", 3, "gpt-image-2", "{}")
    assert Record("k", OrderState.INTENDED) == await journal.find("k")
    await journal.accepted("k", "cl1")
    assert Record("k", OrderState.ACCEPTED, "cl1") == await journal.find("k")
    await journal.ended("k", OrderState.COMPLETED, cost="0.01", result="{}")
    await journal.saved("k", "out/a.png")
    await journal.aclose()

    journal = Journal(path)
    await journal.open()
    expected = Record("k", OrderState.COMPLETED, "cl1", "{}", "out/a.png")
    assert expected == await journal.find("k")
    await journal.begin("k", 4, "gpt-image-2", "{}")
    assert Record("k", OrderState.INTENDED) == await journal.find("k")
    await journal.ended("k", OrderState.REFUSED, error="no")
    assert Record("k", OrderState.REFUSED, error="no") == await journal.find("k")
    await journal.aclose()


async def test_its_files_are_private(journal, path):
    """Prompts are nobody else's business: mode 600, the lock as well."""
    await journal.begin("k", 0, "m", "{}")
    modes = {
        file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()
    }
    assert {"j.sqlite", "j.sqlite.lock", "j.sqlite-wal", "j.sqlite-shm"} == set(modes)
    assert {0o600} == set(modes.values())


async def test_it_is_read_with_plain_sql_while_it_is_open(journal, path):
    """Another connection sees what was committed."""
    await journal.begin("k", 7, "gpt-image-2", '{"prompt":"a"}')
    await journal.ended("k", OrderState.COMPLETED, task_id="cl1", cost="0.01")
    columns = "number, model, request, state, task_id, cost"
    expected = (7, "gpt-image-2", '{"prompt":"a"}', "completed", "cl1", "0.01")
    assert [expected] == rows(path, columns)
    ((begun, ended),) = rows(path, "intended_at, ended_at")
    assert begun <= ended
    assert begun.endswith("Z")


async def test_a_write_is_durable_when_it_returns(journal, path):
    """WAL with synchronous=FULL: the log on disk has it at once."""
    mode = await journal._do(lambda db: db.execute("PRAGMA journal_mode").fetchone())
    full = await journal._do(lambda db: db.execute("PRAGMA synchronous").fetchone())
    assert (mode, full) == (("wal",), (2,))
    await journal.begin("k", 0, "m", '{"prompt":"a rare word"}')
    assert b"a rare word" in path.with_name("j.sqlite-wal").read_bytes()


async def test_writes_that_wait_are_committed_together(journal):
    """A thousand concurrent writes cost a few commits."""
    statements = []
    await journal._do(lambda db: db.set_trace_callback(statements.append))
    await asyncio.gather(
        *(journal.begin(f"k{number}", number, "m", "{}") for number in range(1200))
    )
    assert 3 <= statements.count("COMMIT") <= 12
    await journal._do(lambda db: db.set_trace_callback(None))
    count = "SELECT count(*) FROM items"
    assert await journal._do(lambda db: db.execute(count).fetchone()) == (1200,)


async def test_a_cancelled_write_is_written_all_the_same(path):
    """Its waiter goes; what is queued is committed before closing."""
    journal = Journal(path)
    await journal.open()
    loop = asyncio.get_running_loop()
    writers = [
        loop.create_task(journal.begin(f"k{number}", number, "m", "{}"))
        for number in range(50)
    ]
    await asyncio.sleep(0)
    for writer in writers:
        writer.cancel()
    await asyncio.gather(*writers, return_exceptions=True)
    await journal.aclose()
    assert len(rows(path)) == 50


async def test_a_cancelled_opening_leaves_nothing(path):
    """The thread ends and the lock is free for the next one."""
    for turns in range(4):
        journal = Journal(path)
        opening = asyncio.get_running_loop().create_task(journal.open())
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait([opening])
        if hasattr(journal, "_thread"):
            if not opening.cancelled():
                await journal.aclose()
            await asyncio.to_thread(journal._thread.join)
    journal = Journal(path)
    await journal.open()
    await journal.aclose()


async def test_a_failed_write_spoils_no_later_one(journal):
    """What failed is rolled back; each waiter has its own error."""

    def fail(connection):
        connection.execute("INSERT INTO nowhere VALUES (1)")

    ends = await asyncio.gather(
        journal._do(fail), journal._do(fail), return_exceptions=True
    )
    assert [JournalError, JournalError] == [*map(type, ends)]
    assert ends[0] is not ends[1]
    assert "no such table" in str(ends[0])
    await journal.begin("k", 0, "m", "{}")
    assert await journal.find("k") is not None


async def test_a_bug_in_a_job_is_told_and_kills_no_thread(journal):
    """Whatever a job raises, its waiter hears of it and the next one is served."""

    def fail(_connection):
        return 1 // 0

    with pytest.raises(JournalError, match="by zero"):
        await journal._do(fail)
    assert None is await journal.find("k")


HOLD = """
import asyncio, sys
from pathlib import Path
from apimodels_async._io.journal import Journal

async def hold():
    journal = Journal(Path(sys.argv[1]))
    await journal.open()
    print("open", flush=True)
    sys.stdin.read()
    await journal.aclose()

asyncio.run(hold())
"""


async def test_a_second_process_is_refused_by_name(path):
    """The message has the pid of the one that works with it; its end frees it."""
    holder = subprocess.Popen(  # noqa: ASYNC220  a second process is the point
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=uncovered(),
    )
    with holder:
        assert holder.stdout.readline() == b"open\n"
        assert f"pid {holder.pid}) is working with it" in await refused(path)
        holder.kill()
    journal = Journal(path)
    await journal.open()
    await journal.aclose()


async def test_a_second_journal_in_one_process_is_refused(journal, path):
    """Two batches cannot share a file either."""
    assert f"pid {os.getpid()}" in await refused(path)
    await journal.begin("k", 0, "m", "{}")


async def test_a_lock_that_names_nobody_is_a_lock(path):
    """A holder that was stopped before it wrote its pid is unknown."""
    import fcntl

    path.parent.mkdir()
    with path.with_name("j.sqlite.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "pid unknown" in await refused(path)


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


async def test_a_damaged_row_is_told_of_and_undoes_no_write(journal, path):
    """Whoever asks for it gets an error; what is written beside it stays."""
    await journal.begin("bad", 0, "m", "{}")
    await journal._do(lambda db: db.execute("UPDATE items SET intended_at = 'soon'"))
    ends = await asyncio.gather(
        journal.begin("good", 1, "m", "{}"),
        journal.find("bad"),
        return_exceptions=True,
    )
    assert [None, JournalError] == [ends[0], type(ends[1])]
    assert (await journal.find("good")).state is OrderState.INTENDED
    await journal._do(lambda db: db.execute("UPDATE items SET price = '-5'"))
    with pytest.raises(JournalError, match="below zero"):
        await journal.sums()


async def test_another_version_is_refused_untouched(path):
    """A newer release's journal is not written to."""
    await made(path)
    rewrite(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = path.read_bytes()
    message = await refused(path)
    assert f"version {SCHEMA_VERSION + 1}" in message
    assert before == path.read_bytes()


async def test_a_journal_of_the_version_before_is_brought_up_to_date(path):
    """A batch begun by an older release goes on, its records as they were."""
    journal = Journal(path)
    await journal.open()
    await journal.begin("k", 3, "gpt-image-2", "{}")
    await journal.aclose()
    rewrite(path, "ALTER TABLE items DROP COLUMN nonce")
    rewrite(path, "PRAGMA user_version = 1")

    journal = Journal(path)
    await journal.open()
    found = await journal.find("k")
    assert (found.state, found.nonce) == (OrderState.INTENDED, None)
    await journal.begin("l", 4, "gpt-image-2", "{}", nonce="abc")
    assert (await journal.find("l")).nonce == "abc"
    await journal.aclose()


async def made(path):
    """Make a journal with a hundred records."""
    journal = Journal(path)
    await journal.open()
    await asyncio.gather(
        *(
            journal.begin(f"k{number}", number, "m", '{"prompt":"' + "x" * 300 + '"}')
            for number in range(100)
        )
    )
    await journal.aclose()


async def test_a_file_of_another_kind_is_refused_untouched(path):
    """Text is not a journal."""
    path.parent.mkdir()
    path.write_text("a list of prompts\n" * 99)
    before = path.read_bytes()
    assert "not a database" in await refused(path)
    assert before == path.read_bytes()


async def test_the_database_of_another_program_is_refused_untouched(path):
    """SQLite is popular: what has tables and no version of ours is not a journal."""
    path.parent.mkdir()
    rewrite(path, "CREATE TABLE items (moose TEXT)")
    before = path.read_bytes()
    assert "another program" in await refused(path)
    assert before == path.read_bytes()


@pytest.mark.parametrize("where", ["zeros", "flipped", "cut"])
async def test_a_damaged_journal_is_refused(path, where):
    """Pages of zeros, turned bits and a cut file are found before anything is sent."""
    await made(path)
    data = bytearray(path.read_bytes())
    assert len(data) > 5 * 4096
    if where == "zeros":
        data[4096:12288] = bytes(8192)
    elif where == "flipped":
        data[4096 : 4096 + 16] = bytes(byte ^ 0xFF for byte in data[4096 : 4096 + 16])
    else:
        del data[3 * 4096 :]
    path.write_bytes(data)
    message = await refused(path)
    assert "damaged" in message or "malformed" in message


async def test_a_torn_log_is_rolled_back(path):
    """Rubbish at the end of the write-ahead log costs nothing that was committed."""
    script = HOLD.replace("sys.stdin.read()", "await fill(journal)").replace(
        "async def hold", FILL + "async def hold"
    )
    done = subprocess.run(  # noqa: ASYNC221  killed with its log unmerged
        [sys.executable, "-c", script, str(path)],
        check=False,
        capture_output=True,
        env=uncovered(),
    )
    assert done.returncode == -9
    log = path.with_name("j.sqlite-wal")
    log.write_bytes(log.read_bytes() + b"\xa5" * 3000)
    journal = Journal(path)
    await journal.open()
    assert OrderState.INTENDED is (await journal.find("k9")).state
    await journal.aclose()


FILL = """
import os
async def fill(journal):
    for number in range(10):
        await journal.begin(f"k{number}", number, "m", "{}")
    os.kill(os.getpid(), 9)

"""


async def test_a_folder_in_the_way_is_said(tmp_path):
    """A journal cannot be a folder, nor lie beneath a file."""
    (tmp_path / "file").write_text("")
    assert "File exists" in await refused(tmp_path / "file" / "j.sqlite")
    (tmp_path / "folder").mkdir()
    assert "Is a directory" in await refused(tmp_path / "folder")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0,
    reason="only root can give up its rights",
)
async def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    """The message has the system's reason."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    script = HOLD.replace("asyncio.run", "import os; os.setuid(65534)\nasyncio.run")
    done = run(script, folder / "j.sqlite")
    assert "Permission denied" in done.stderr
    assert "JournalError" in done.stderr


def run(script, path, *arguments):
    """Run *script* to its end."""
    return subprocess.run(
        [sys.executable, "-c", script, str(path), *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        input="",
        env=uncovered(),
    )


LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))\n"


def test_a_disk_that_is_full_at_the_start_is_said(path):
    """Neither lock nor journal can be written, and it is a JournalError."""
    done = run(LIMITED.format(0) + HOLD, path)
    assert done.returncode == 1
    assert "JournalError: the journal" in done.stderr
    done = run(LIMITED.format(100) + HOLD, path)
    assert "JournalError: the journal" in done.stderr


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


def test_a_disk_that_fills_up_stops_ordering(path):
    """Everything that was ordered is handed over; then comes JournalError."""
    done = run(LIMITED.format(300_000) + BATCH, path)
    assert (
        textwrap.dedent(done.stderr).strip() == ""
        or "not in the journal" in done.stderr
    )
    message, figures = done.stdout.splitlines()
    results, ordered, raised = map(int, figures.split())
    assert "full" in message or "disk I/O" in message
    assert raised == 1
    assert 0 < results == ordered < 500
    # Freed, the journal is sound, and the same batch can go on.
    states = rows(path)
    assert {"completed", "intended"} >= set(states)
    assert states.count("intended") <= 4


async def test_a_big_journal_opens_quickly(path):
    """A hundred thousand records: checked and open within two seconds."""
    await made(path)
    with sqlite3.connect(path) as connection:
        connection.executemany(
            "INSERT INTO items (key, number, model, request, price, state, intended_at)"
            " VALUES (?, ?, 'gpt-image-2', ?, '0', 'completed', '2026')",
            (
                (f"{n:032x}-1", n, '{"prompt":"' + "x" * 200 + '"}')
                for n in range(100_000)
            ),
        )
    connection.close()
    async with asyncio.timeout(30):
        journal = Journal(path)
        await journal.open()
    assert await journal.find(f"{99_999:032x}-1") is not None
    await journal.aclose()
