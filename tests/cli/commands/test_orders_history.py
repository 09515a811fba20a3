"""``apimodels history``, on a store that other commands filled."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

import pytest
from support.sessions import KEY

from apimodels_async.emulator import Emulator

TASK = ("--model", "gpt-image-2")
STORE = ("--store", "orders.sqlite")


@pytest.fixture
async def emulator():
    """Serve the API; a task never ends."""
    times = {"*": 0, TASK[1]: 600}
    async with Emulator(api_key=KEY, service_times=times) as emulator:
        yield emulator


async def test_history_tells_what_was_ordered_newest_first(run, emulator, folder):
    """Each order is told with time, state, cost, key, task and files."""
    await run("generate", "a fox", *STORE, "--idempotency-key", "fox", "--out", "new/")
    await run("generate", "a moose", *TASK, "--no-wait", *STORE)

    done = await run("history", *STORE, "--json")

    moose, fox = done.records
    (path,) = (folder / "new").iterdir()
    assert (done.code, done.events) == (0, ["order", "order"])
    assert (fox["idempotency_key"], fox["state"]) == ("fox", "completed")
    assert (fox["credits"], fox["files"]) == ("0.01", [str(path)])
    assert (moose["prompt"], moose["state"]) == ("a moose", "accepted")
    assert moose["task_id"] in emulator.tasks
    assert fox["ordered_at"] < moose["ordered_at"]
    assert "2 orders in" in done.err


async def test_history_needs_neither_key_nor_network(run, emulator, monkeypatch):
    """The store alone answers, in one line an order."""
    await run("generate", "a fox", *STORE, "--idempotency-key", "fox")
    monkeypatch.delenv("APIMODELS_API_KEY")
    monkeypatch.setenv("APIMODELS_STORE", "orders.sqlite")
    asked = len(emulator.requests)

    done = await run("history")

    assert done.code == 0
    assert "completed  $0.01  sparkpix-image  -  fox  " in done.out
    assert done.out.endswith("  a fox\n")
    assert len(emulator.requests) == asked


async def test_a_journal_is_not_said_to_have_nothing(run, folder):
    """What a batch was paid for is in its journal: both commands say who lists it."""
    (folder / "prompts.txt").write_text("a fox")
    await run("batch", "prompts.txt", "--out", "deck")
    for command in ("history", "recover"):
        told = await run(command, "--store", "deck/journal.sqlite")
        assert told.code == 0
        assert f"apimodels ls {folder / 'deck' / 'journal.sqlite'}" in told.err


async def test_history_can_be_narrowed(run):
    """State, model, time, text and number each leave out what does not fit."""
    for prompt in ("a fox", "a hare"):
        await run("generate", prompt, *STORE, "--no-save")
    await run("generate", "a moose", *TASK, "--no-wait", *STORE)
    expected = {
        (): ["a moose", "a hare", "a fox"],
        ("--limit", 2): ["a moose", "a hare"],
        ("--state", "accepted"): ["a moose"],
        ("--model", "sparkpix-image"): ["a hare", "a fox"],
        ("--text", "FOX"): ["a fox"],
        ("--since", "2001-02-03"): ["a moose", "a hare", "a fox"],
        ("--since", "2901-02-03"): [],
        ("--base-url", "https://example.com/api"): [],
    }
    found = {}
    for argv in expected:
        done = await run("history", *STORE, *argv, "--json")
        found[argv] = [record["prompt"] for record in done.records]

    assert found == expected


async def test_history_makes_no_store(run, folder):
    """Without a store, and where the file is not there, it says so and makes none."""
    unnamed = await run("history")
    missing = await run("history", *STORE)

    assert (unnamed.code, missing.code) == (2, 2)
    assert "APIMODELS_STORE" in unnamed.err
    assert "there is no store at" in missing.err
    assert list(folder.iterdir()) == []


async def test_a_store_that_is_none_is_a_matter_of_set_up(run, emulator, folder):
    """A folder, a text, another program's: as one that is missing, and no order."""
    (folder / "dir").mkdir()
    (folder / "text").write_text("no database at all" * 99)
    (folder / "empty").touch()
    with closing(sqlite3.connect("other")) as other:
        other.execute("CREATE TABLE cats (name)")
    reading = [("history",), ("recover",), ("wait", "--idempotency-key", "k")]
    cases = [(argv, place) for argv in reading for place in ("gone", "dir", "other")]
    ordering = ("generate", "a fox")
    cases += [(ordering, "dir"), (ordering, "text"), (ordering, "other")]
    for argv, place in [*cases, (("history",), "text"), (("history",), "empty")]:
        done = await run(*argv, "--store", place, "--json")
        (error,) = done.records
        assert (done.code, error["type"]) == (2, "ConfigurationError"), (argv, place)
        assert place in error["message"]
        assert place == "gone" or "another --store" in done.err

    assert emulator.requests == []
    assert not (folder / "gone").exists()
    assert (folder / "empty").stat().st_size == 0


async def test_history_before_a_terminal_is_a_table(run_on_terminal, run):
    """A terminal gets columns; without orders none."""
    await run("generate", "a fox", *STORE, "--no-save")

    shown = await run_on_terminal("history", *STORE, columns=160)
    empty = await run_on_terminal("history", *STORE, "--text", "moose")

    assert "state" in shown.out
    assert "a fox" in shown.out
    assert empty.out == ""
    assert "0 orders" in empty.err


async def test_history_stops_where_nobody_reads(run, program, emulator, folder):
    """A reader who left has seen enough."""
    await run("generate", "a fox", *STORE, "--no-save")
    reader, writer = os.pipe()
    os.close(reader)
    history = program("history", *STORE, stdout=writer, cwd=folder)
    os.close(writer)
    _, err = history.communicate(timeout=20)

    assert (history.returncode, err) == (141, "")
