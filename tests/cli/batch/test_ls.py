"""``apimodels ls``, also while a batch runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.batches import TASK, rewrite
from support.older import completed, version_of, write_journal
from support.orders import begun

from apimodels_async import ImageRequest, Session
from apimodels_async.stores import SqliteStore


async def test_a_folder_in_use_is_listed_but_not_shared(run, emulator, prompts):
    """A second run is told the first one's process id; ls may look on."""
    await run("batch", prompts("a fox"), "--out", "D")
    async with (
        Session(emulator.api_key, base_url=emulator.base_url) as session,
        session.images.batch([], journal=Path("D/journal.sqlite")),
    ):
        second = await run("resume", "D")
        seen = await run("ls", "D")

    assert second.code == 2
    assert f"another process (pid {os.getpid()}) is at work" in second.err
    assert f"running now (pid {os.getpid()})" in seen.err
    assert "a fox" in seen.out


async def test_a_terminal_sees_a_table(run, run_on_terminal, prompts):
    """Before a terminal ls has a table, and --state picks rows."""
    await run("batch", prompts("a fox", "a hare [refused]"), "--out", "D")
    listed = await run_on_terminal("ls", "D", "--state", "completed", columns=120)
    none = await run_on_terminal("ls", "D", "--state", "unknown")

    assert "prompt" in listed.out
    assert "a fox" in listed.out
    assert "a hare" not in listed.out
    assert "a fox" not in none.out


async def test_a_journal_of_the_library_is_listed(run, emulator, connect, folder):
    """Its file is enough: rows, files where they were saved, what it cost."""
    rows = ["a fox", ImageRequest(TASK, "a hare [fail]")]
    session = connect(emulator)
    async with session.images.batch(
        rows, journal="own.sqlite", download_to="out"
    ) as outcomes:
        _ = [each async for each in outcomes]

    told = await run("ls", "own.sqlite", "--json")
    text = await run("ls", "own.sqlite")

    fox, hare = told.records
    assert (fox["event"], fox["state"], hare["state"]) == (
        "item",
        "completed",
        "failed",
    )
    assert (folder / fox["path"]).is_file()
    assert "2 rows: 1 completed, 1 failed; $0.01 spent; not running" in text.err


async def test_addresses_are_listed_as_they_are(
    run, emulator, connect, folder, object_storage
):
    """What is in object storage has its address in full, or its name at a glance."""
    session, bucket = connect(emulator), (folder / "bucket").as_uri()
    async with session.images.batch(
        ["a fox"], journal="own.sqlite", download_to=bucket
    ) as outcomes:
        [outcome] = [each async for each in outcomes]

    told = await run("ls", "own.sqlite", "--json")
    text = await run("ls", "own.sqlite")

    assert told.records[0]["path"] == outcome.path == f"{bucket}/00000-a-fox.jpg"
    assert "00000-a-fox.jpg" in text.out
    assert "file://" not in text.out


async def test_a_store_is_listed_as_its_history_is(run, emulator, monkeypatch):
    """Each order, newest first; --state takes the words for a batch's rows."""
    for prompt in ("a fox", "a hen"):
        await run("generate", prompt, "--store", "o.sqlite", "--no-save")
    emulator.fault("create", "stuck")  # however long this takes
    moose = ("generate", "a moose", "--model", TASK, "--no-wait")
    await run(*moose, "--store", "o.sqlite")
    monkeypatch.delenv("APIMODELS_API_KEY")

    listed = await run("ls", "o.sqlite", "--json")
    told = await run("history", "--store", "o.sqlite", "--json")
    pending = await run("ls", "o.sqlite", "--state", "pending", "--json")
    elsewhere = await run("ls", "o.sqlite", "--base-url", "https://example.com/api")

    assert (listed.code, listed.records) == (0, told.records)
    assert [each["prompt"] for each in pending.records] == ["a moose"]
    assert "0 orders in" in elsewhere.err
    assert "need --base-url" in elsewhere.err


async def test_an_order_being_sent_is_pending_while_its_owner_lives(run, emulator):
    """Once nobody answers for it, it is of unknown fate."""
    store = SqliteStore("o.sqlite")
    await store.open()
    await begun(store, scope=emulator.base_url, owner="us")
    now = await run("ls", "o.sqlite", "--state", "pending", "--json")
    await store.release("us")
    later = await run("ls", "o.sqlite", "--state", "unknown", "--json")
    await store.aclose()

    assert [each["state"] for each in now.records + later.records] == ["intended"] * 2


@pytest.mark.parametrize("content", [b"", b"a fox and a hare" * 99])
async def test_another_file_is_said_to_be_none_of_these(run, folder, content):
    """An empty file, or a text, ends with a sentence about the file."""
    (folder / "other").write_bytes(content)

    done = await run("ls", "other")

    assert done.code == 2
    assert "other" in done.err
    assert "apimodels: error: " in done.err


async def test_a_journal_of_an_earlier_release_is_listed_and_left_as_it_is(run, folder):
    """An older release may be at work on it."""
    path = folder / "old.sqlite"
    write_journal(path, [("a fox", completed("a fox"))])
    before = path.read_bytes()
    done = await run("ls", "old.sqlite", "--json")

    assert [each["prompt"] for each in done.records] == ["a fox"]
    assert path.read_bytes() == before
    assert version_of(path) == 2


async def test_a_damaged_journal_of_an_earlier_release_is_named(run, folder):
    """It is not listed in part."""
    path = folder / "old.sqlite"
    write_journal(path, [("a fox", completed("a fox"))])
    rewrite(path, "UPDATE items SET request = 'no json'")
    done = await run("ls", "old.sqlite")

    assert done.code == 1
    assert "old.sqlite" in done.err
