"""``apimodels recover``, on a store that other commands filled."""

from __future__ import annotations

import contextlib
import signal
import sqlite3

import pytest
from support.orders import read_orders
from support.sessions import KEY

from apimodels_async.emulator import Emulator
from apimodels_async.stores import SqliteStore
from apimodels_async.stores.store import scope_of

TASK = ("--model", "gpt-image-2")
STORE = ("--store", "orders.sqlite")
TAKES_S = 600


@pytest.fixture
async def emulator():
    """Serve the API; a task ends when its clock is moved: however slow we are."""
    times = {"*": 0, TASK[1]: TAKES_S}
    async with Emulator(api_key=KEY, service_times=times) as emulator:
        yield emulator


async def test_recover_fetches_what_was_left_and_only_once(run, emulator, folder):
    """Tasks nobody waited for are saved and recorded, and not fetched again."""
    for prompt in ("a moose", "a hare"):
        await run("generate", prompt, *TASK, "--no-wait", *STORE)
    emulator.advance(TAKES_S)

    done = await run("recover", *STORE, "--out", "rec")
    again = await run("recover", *STORE)

    assert (done.code, again.code) == (0, 0)
    assert sorted(path.name for path in (folder / "rec").iterdir()) == [
        "a-hare.jpg",
        "a-moose.jpg",
    ]
    assert "rec/a-moose.jpg  $0.025  cl" in done.out
    assert "2 saved." in done.err
    assert "Nothing is left to fetch in" in again.err
    assert len(emulator.tasks) == 2
    assert all(record.files for record in await read_orders(emulator))


async def test_recover_says_what_is_not_left_yet(run, emulator):
    """Orders of a program that may live are counted, with when to look again."""
    await run("generate", "a moose", *TASK, "--no-wait", *STORE)
    store = SqliteStore(STORE[1])
    await store.open()
    scope = scope_of(store, emulator.base_url)
    left = await store.recover(scope, "one that was killed just now")
    done = await run("recover", *STORE)
    await store.aclose()

    assert done.code == 0
    assert "Nothing is left for now to fetch in" in done.err
    assert "Orders of programs that run, or died just now: 1; if one did," in done.err
    assert "run this again in 60 s" in done.err
    assert left.task_id in emulator.tasks


async def test_recover_tells_programs(run, folder, emulator):
    """With --json each order is an object that names its key, prompt and files."""
    named = ("--idempotency-key", "moose")
    await run("generate", "a moose", *TASK, "--no-wait", *STORE, *named)
    emulator.advance(TAKES_S)

    done = await run("recover", *STORE, "--json")

    (record,) = done.records
    assert (record["event"], record["idempotency_key"]) == ("recovered", "moose")
    assert (folder / record["path"]).is_file()


async def test_what_is_unknown_is_listed_until_it_is_dropped(run, emulator):
    """An order of unknown outcome is told each time, with what to do, and code 4."""
    emulator.fault("create", "drop", after=True)
    lost = await run("generate", "a lost moose", *TASK, *STORE)
    runs = [await run("recover", *STORE, *argv) for argv in ((), ("--drop-lost",), ())]

    assert lost.code == 4
    assert [done.code for done in runs] == [4, 4, 0]
    assert "gpt-image-2: a lost moose" in runs[0].err
    assert "under another --idempotency-key" in runs[0].err
    assert "0 saved, 1 lost: see apimodels balance; --drop-lost" in runs[0].err
    assert "not listed again" in runs[1].err
    assert len(emulator.tasks) == 1


async def test_what_fails_is_told_and_the_rest_is_saved(run, folder, emulator):
    """A task that failed stops no other, and cost nothing."""
    await run("generate", "a moose [refused]", *TASK, "--no-wait", *STORE)
    await run("generate", "a hare", *TASK, "--no-wait", *STORE)
    emulator.advance(TAKES_S)

    done = await run("recover", *STORE, "--out", "rec")

    assert done.code == 1
    assert "not charged" in done.err
    assert "1 saved, 1 failed." in done.err
    assert [path.name for path in (folder / "rec").iterdir()] == ["a-hare.jpg"]


async def test_a_picture_that_cannot_be_saved_is_left_to_the_next_run(
    run, folder, emulator
):
    """Only what is on disk is handed over."""
    await run("generate", "a moose", *TASK, "--no-wait", *STORE)
    emulator.advance(TAKES_S)
    (folder / "rec").write_text("in the way")

    blocked = await run("recover", *STORE, "--out", "rec")
    (folder / "rec").unlink()
    done = await run("recover", *STORE, "--out", "rec")

    assert (blocked.code, done.code) == (1, 0)
    assert [path.name for path in (folder / "rec").iterdir()] == ["a-moose.jpg"]


async def test_what_another_release_ordered_is_saved_all_the_same(
    run, folder, emulator
):
    """Where the request cannot be read, the picture is named after its task."""
    await run("generate", "a moose", *TASK, "--no-wait", *STORE)
    emulator.advance(TAKES_S)
    (folder / "rec").write_text("in the way")
    await run("recover", *STORE, "--out", "rec")  # it has ended, and is not saved
    (folder / "rec").unlink()
    with contextlib.closing(sqlite3.connect("orders.sqlite")) as database:
        database.execute("UPDATE orders SET request = '[]'")
        database.commit()

    done = await run("recover", *STORE, "--out", "rec")

    (path,) = (folder / "rec").iterdir()
    assert done.code == 0
    assert path.name.startswith("cl")


async def test_an_interrupt_leaves_the_rest_to_the_next_run(
    run, interrupted, emulator, folder
):
    """After Ctrl-C what is not saved is recovered by the next run."""
    await run("generate", "a moose", *TASK, "--no-wait", *STORE)
    (task,) = emulator.tasks.values()
    before = task.polls  # a slow machine's --no-wait gets as far

    stopped = await interrupted(lambda: task.polls > before, "recover", *STORE)
    emulator.advance(TAKES_S)
    done = await run("recover", *STORE, "--out", "rec")

    assert stopped.code == 128 + signal.SIGINT
    assert "0 saved; 1 are left to the next: apimodels recover" in stopped.err
    assert done.code == 0
    assert len(list((folder / "rec").iterdir())) == 1


async def test_recover_needs_a_store_that_is_there(run, folder):
    """A misspelt path is no reason to make a file."""
    done = await run("recover", "--store", "order.sqlite")

    assert done.code == 2
    assert list(folder.iterdir()) == []


async def test_a_task_ordered_before_is_attached(run, emulator):
    """Also a task that runs is found again by its key, and bought once."""
    argv = ("generate", "a moose", *TASK, "--no-wait", *STORE)
    argv += ("--idempotency-key", "moose")
    first, again = await run(*argv), await run(*argv)
    emulator.advance(TAKES_S)
    waited = await run(*(each for each in argv if each != "--no-wait"))

    (task_id,) = emulator.tasks
    assert task_id in first.out
    assert task_id in again.out
    assert "not charged now" in again.err
    assert f"task {task_id} ordered before" in waited.err
