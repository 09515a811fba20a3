"""``apimodels status`` and ``wait``."""

from __future__ import annotations

import pytest
from support.orders import an_order

from apimodels_async.stores import OrderState, SqliteStore, find_order

MODEL = ("--model", "gpt-image-2", "--no-wait", "--json")


@pytest.fixture
def submit(run):
    """Submit a task and return its id."""

    async def submit(prompt):
        done = await run("generate", prompt, *MODEL)
        return done.records[0]["task_id"]

    return submit


async def test_the_status_of_a_running_task(run, submit):
    """A task whose state does not change is told as soon as the API has answered."""
    task_id = await submit("a moose [stuck]")

    done = await run("status", task_id, "--json")

    (state,) = done.records
    assert done.code == 0
    assert {"event": "state", "task_id": task_id, "state": "pending"} == state


async def test_the_status_of_a_finished_task_has_its_picture(run, submit, emulator):
    """A completed task is told with the URL of its picture."""
    task_id = await submit("a moose")
    emulator.advance(1000)

    done = await run("status", task_id)

    assert done.code == 0
    assert "state    completed" in done.out
    assert "url      http" in done.out


async def test_the_status_of_a_failed_task_has_its_reason(run, submit, emulator):
    """A failed task ends with code 1 and the API's reason on stderr."""
    task_id = await submit("a moose [refused]")
    emulator.advance(1000)

    done = await run("status", task_id)

    assert done.code == 1
    assert "state    failed" in done.out
    assert "Content policy violation" in done.err
    assert "not charged" in done.err


async def test_the_status_without_readable_answers_gives_up(run, submit, emulator):
    """A status nobody answers for is a network failure, not an endless wait."""
    task_id = await submit("a moose")
    emulator.fault("poll", "drop", times=None)

    done = await run("status", task_id)

    assert done.code == 1
    assert "no readable answer in 3 tries" in done.err
    assert "may have been charged" in done.err


async def test_the_status_of_an_unknown_task(run):
    """An id the API does not know ends with code 1."""
    done = await run("status", "nobody", "--json")

    assert done.code == 1
    assert done.events == ["error"]
    assert done.records[0]["type"] == "TaskNotFoundError"


async def test_wait_saves_the_picture(run, submit, folder):
    """A task is waited for by its id, and its picture saved."""
    task_id = await submit("a moose")

    done = await run("wait", task_id, "--out", "moose")

    assert done.code == 0
    assert [path.name for path in folder.iterdir()] == ["moose.jpg"]


async def test_wait_without_saving(run, submit, folder):
    """--no-save prints the URL only."""
    task_id = await submit("a moose")

    done = await run("wait", task_id, "--no-save", "--json")

    assert done.events[-1] == "result"
    assert list(folder.iterdir()) == []


async def test_wait_gives_up_in_time(run, submit):
    """After --timeout the task goes on, and the error says how to find it."""
    task_id = await submit("a moose [stuck]")

    done = await run("wait", task_id, "--timeout", 0.2)

    assert done.code == 4
    assert "after 0.2 s" in done.err
    assert "may have been charged" in done.err
    assert f"apimodels wait {task_id}" in done.err


# --- by idempotency key -----------------------------------------------------------

STORE = ("--store", "orders.sqlite")
NAMED = ("--idempotency-key", "moose", *STORE)


async def test_a_task_is_followed_by_its_order_s_key(run, emulator, folder):
    """Status tells without taking; wait saves, and writes down that nobody need."""
    await run("generate", "a moose [slow]", *MODEL, *NAMED)
    store = SqliteStore("orders.sqlite")
    (task_id,) = emulator.tasks

    running = await run("status", *NAMED, "--json")
    emulator.advance(3600)
    ended = await run("status", *NAMED)
    asked = await find_order(store, "moose", base_url=emulator.base_url)
    saved = await run("wait", *NAMED, "--out", "moose")
    known = await find_order(store, "moose", base_url=emulator.base_url)
    again = await run("status", *NAMED)

    (state,) = running.records
    assert (state["task_id"], state["idempotency_key"]) == (task_id, "moose")
    assert "state    completed" in ended.out
    assert (asked.state, asked.handed_over) == (OrderState.COMPLETED, False)
    assert (known.handed_over, known.files) == (True, (str(folder / "moose.jpg"),))
    assert "before; not charged now" in saved.out
    assert (again.code, len(emulator.tasks)) == (0, 1)
    assert task_id in again.out


async def test_what_is_waited_for_by_its_key_is_named_as_it_was(run, emulator, folder):
    """After its prompt, so that the file that is there already is the one."""
    await run("generate", "a moose", *MODEL, *NAMED)
    await run("wait", *NAMED)

    assert [each.name for each in folder.glob("*.jpg")] == ["a-moose.jpg"]


async def test_a_picture_that_came_at_once_has_a_key_too(run, emulator, folder):
    """What has no task is told and saved again by its key alone."""
    await run("generate", "a fox", *NAMED, "--no-save")

    told = await run("status", *NAMED, "--json")
    saved = await run("wait", *NAMED, "--out", "fox")

    assert told.events == ["state", "result"]
    assert told.records[0]["task_id"] is None
    assert (saved.code, (folder / "fox.jpg").exists()) == (0, True)
    assert len(emulator.generations) == 1


async def test_what_ended_badly_is_told_by_key(run, emulator):
    """A refusal and a failed task cost nothing: code 1; a lost answer is code 4."""
    for key, prompt, fault, codes in (
        ("lost", "a moose", "drop", (4, 4)),
        ("refused", "a moose", "envelope", (1, 1)),
        ("failed", "a moose [refused]", None, (1, 1)),
    ):
        named = (*STORE, "--idempotency-key", key)
        if fault is not None:
            emulator.fault("create", fault)
        await run("generate", prompt, *MODEL, *named)
        emulator.advance(1000)
        done = [await run(command, *named) for command in ("status", "wait")]
        assert tuple(each.code for each in done) == codes, (key, done)
        assert done[1].err.count("apimodels: ") == 1


async def test_what_another_program_is_sending_is_waited_for(run, emulator):
    """Status says that it is on its way; wait waits, at most --timeout seconds."""
    store = SqliteStore("orders.sqlite")
    await store.open()
    order = an_order("moose", scope=emulator.base_url, owner="another program")
    await store.begin(order, ())

    asked = await run("status", *NAMED, "--json")
    waited = await run("wait", *NAMED, "--timeout", 0.2)
    await store.aclose()

    assert [state["state"] for state in asked.records] == ["intended"]
    assert "Another program is sending it now." in asked.err
    assert waited.code == 4
    assert "still being sent after 0.2 s" in waited.err
    assert emulator.requests == []


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ((), "name one task"),
        (("clx1", *NAMED), "name one task"),
        (("clx1", *STORE), "--store goes with --idempotency-key"),
        (("--idempotency-key", "moose"), "give --store PATH"),
        (NAMED, "there is no store at"),
    ],
)
async def test_one_task_is_to_be_named_in_one_way(run, emulator, argv, words):
    """An id or a key, and a store for a key, else nothing is asked."""
    for command in ("status", "wait"):
        done = await run(command, *argv)
        assert done.code == 2
        assert words in done.err
    assert emulator.requests == []


async def test_a_key_that_names_nothing_is_said(run, emulator):
    """Neither status nor wait orders anything."""
    await run("generate", "a fox", *STORE, "--no-save")

    done = [await run(command, *NAMED) for command in ("status", "wait")]

    assert [each.code for each in done] == [2, 2]
    assert "there is no order under --idempotency-key moose" in done[0].err
    assert len(emulator.generations) == 1


# --- several at once --------------------------------------------------------------


async def test_several_tasks_are_saved_as_they_end(run, submit, folder):
    """One that fails stops no other; the exit code is the highest."""
    ids = [await submit(words) for words in ("a moose", "a hare [refused]", "an elk")]
    done = await run("wait", *ids, ids[0], "--out", "pictures")
    told = await run("wait", ids[0], ids[2], "--no-save", "--json")

    assert done.code == 1
    assert sorted(path.stem for path in (folder / "pictures").iterdir()) == sorted(
        (ids[0], ids[2])
    )
    assert done.err.count("apimodels: error: ") == 1
    assert "not charged" in done.err
    assert sorted(told.events) == ["result", "result", "state", "state"]


async def test_several_tasks_and_a_key_are_too_much(run):
    """Ids and an idempotency key name different orders."""
    done = await run("wait", "cl1", "cl2", *NAMED)

    assert (done.code, "name different orders" in done.err) == (2, True)


async def test_ctrl_c_names_every_task_that_is_left(interrupted, submit, emulator):
    """What was waited for is found again by its id."""
    ids = [await submit(words) for words in ("a moose [stuck]", "an elk [stuck]")]
    done = await interrupted(
        lambda: all(emulator.tasks[each].polls for each in ids), "wait", *ids
    )

    assert done.code == 130
    assert all(f"apimodels wait {each}" in done.err for each in ids)
