"""Orders of the CLI in a store: by key, forgotten, interrupted."""

from __future__ import annotations

import signal

import pytest
from support.orders import read_orders
from support.redis import RedisServer, needs_redis

from apimodels_async.cli.app import execute
from apimodels_async.stores import OrderState

TASK = ("--model", "gpt-image-2")
STORE = ("--store", "orders.sqlite")


# --- forget -----------------------------------------------------------------------


async def test_what_may_be_charged_is_forgotten_after_a_yes(run, emulator, monkeypatch):
    """Nobody to ask and no --yes: nothing changes; with it the next order is sent."""
    named = ("generate", "a moose", *TASK, *STORE, "--idempotency-key", "moose")
    emulator.fault("create", "drop", after=True)
    lost = await run(*named)
    key = emulator.api_key
    monkeypatch.delenv("APIMODELS_API_KEY")
    asked = len(emulator.requests)
    refused = await run("forget", "moose", *STORE)
    kept = await run("history", *STORE, "--json")
    forgotten = await run("forget", "moose", *STORE, "--yes")
    again = await run("forget", "moose", *STORE, "--yes")
    listed = await run("history", *STORE, "--json")
    assert len(emulator.requests) == asked
    monkeypatch.setenv("APIMODELS_API_KEY", key)
    bought = await run(*named, "--no-save")

    assert [lost.code, refused.code, forgotten.code, again.code] == [4, 2, 0, 2]
    assert "unknown and may be paid for twice: say so with --yes" in refused.err
    assert "state    unknown" in forgotten.out
    assert "may have been charged" in forgotten.out
    assert 'there is no order under "moose"' in again.err
    assert kept.records == listed.records
    assert (bought.code, len(emulator.tasks)) == (0, 2)


async def test_what_cost_nothing_is_forgotten_unasked(run, emulator):
    """A refused order is told as free; a completed one with its cost, as JSON too."""
    emulator.fault("sync", "envelope")
    await run("generate", "a fox", *STORE, "--idempotency-key", "fox")
    await run("generate", "a hare", *STORE, "--idempotency-key", "hare", "--no-save")

    refused = await run("forget", "fox", *STORE)
    asked = await run("forget", "hare", *STORE)
    completed = await run("forget", "hare", *STORE, "--yes", "--json")

    assert [refused.code, asked.code, completed.code] == [0, 2, 0]
    assert "not charged" in refused.out
    assert "$0.01, charged" in asked.out
    (record,) = completed.records
    assert (record["event"], record["idempotency_key"]) == ("forgotten", "hare")
    assert (record["state"], record["credits"]) == ("completed", "0.01")


# --- idempotency keys --------------------------------------------------------------


@pytest.mark.parametrize("model", [(), TASK])
async def test_the_same_key_again_is_free(run, emulator, folder, model):
    """The picture comes again, and it is said that nothing was charged now."""
    argv = ("generate", "a fox", *model, *STORE, "--idempotency-key", "msg17")
    first = await run(*argv, "--json", "--out", "one")
    spent = emulator.spent

    text = await run(*argv, "--out", "two")
    again = await run(*argv, "--out", "three", "--json")

    assert [first.code, text.code, again.code] == [0, 0, 0]
    assert first.records[-1]["ordered_before"] is False
    assert again.records[-1]["ordered_before"] is True
    assert again.records[-1]["urls"] == first.records[-1]["urls"]
    assert "before; not charged now" in text.out
    assert emulator.spent == spent
    assert {"one.jpg", "two.jpg", "three.jpg"} <= {p.name for p in folder.iterdir()}


@pytest.mark.parametrize("model", [(), TASK])
async def test_what_was_not_saved_is_recovered(run, emulator, folder, model):
    """An order counts as handed over once its files are there, not before."""
    argv = ("generate", "a fox", *model, *STORE)
    emulator.fault("file", "forbidden", times=None)
    blocked = await run(*argv, "--out", "out/")
    emulator.clear_faults()
    recovered = await run("recover", *STORE, "--out", "rec")
    saved = await run(*argv, "--out", "new/")
    shown = await run(*argv, "--no-save")
    nothing = await run("recover", *STORE)

    codes = [each.code for each in (blocked, recovered, saved, shown, nothing)]
    assert codes == [1, 0, 0, 0, 0]
    assert [path.name for path in (folder / "rec").iterdir()] == ["a-fox.jpg"]
    assert "Nothing is left to fetch in" in nothing.err
    assert all(record.handed_over for record in await read_orders(emulator))


async def test_interrupted_while_it_saves_it_is_recovered(
    run, interrupted, emulator, folder
):
    """After Ctrl-C in the middle of a download the next recover has the picture."""
    stuck = emulator.fault("file", "hang")

    stopped = await interrupted(lambda: stuck.hits, "generate", "a fox", *STORE)
    emulator.clear_faults()
    done = await run("recover", *STORE, "--out", "rec")

    assert stopped.code == 128 + signal.SIGINT
    assert done.code == 0
    assert [path.name for path in (folder / "rec").iterdir()] == ["a-fox.jpg"]


async def test_a_key_names_one_request(run, emulator):
    """Another prompt under the same key is refused; nothing is sent."""
    named = (*STORE, "--idempotency-key", "msg17", "--no-save")
    await run("generate", "a fox", *named)
    done = await run("generate", "a hare", *named, "--json")

    assert done.code == 2
    assert done.records[0]["idempotency_key"] == "msg17"
    assert len(emulator.generations) == 1


async def test_a_key_needs_a_store(run, emulator, monkeypatch):
    """Without a store a key is refused before anything is sent."""
    done = await run("generate", "a fox", "--idempotency-key", "msg17")
    smuggled = await run("generate", "a fox", "--param", "idempotency_key=msg17")

    assert (done.code, smuggled.code) == (2, 2)
    assert "give --store PATH, or set APIMODELS_STORE" in done.err
    assert emulator.requests == []


async def test_the_store_may_come_from_the_environment(emulator, run, monkeypatch):
    """APIMODELS_STORE remembers every order, also those without a key."""
    monkeypatch.setenv("APIMODELS_STORE", "orders.sqlite")
    await run("generate", "a fox", "--no-save")

    (order,) = await read_orders(emulator)
    assert order.state is OrderState.COMPLETED
    assert order.handed_over
    assert order.files == ()


async def test_a_store_that_cannot_be_used_stops_the_order(run, folder, emulator):
    """What cannot be written down is not ordered."""
    (folder / "orders.sqlite").write_text("this is no database, but a long text" * 99)

    done = await run("generate", "a fox", *STORE)

    assert done.code == 2
    assert "apimodels: error: " in done.err
    assert emulator.requests == []


@pytest.mark.parametrize(
    "command",
    [
        ("generate", "a fox", "--store", ""),
        ("batch", "p.txt", "--out", "deck", "--broker", ""),
    ],
)
async def test_an_address_that_is_empty_names_no_other(
    run, folder, emulator, command, monkeypatch
):
    """A variable of a script that is not set does not mean the environment's."""
    monkeypatch.setenv("APIMODELS_STORE", "orders.sqlite")
    (folder / "p.txt").write_text("a fox")

    done = await run(*command)

    assert done.code == 2
    assert "apimodels: error: " in done.err
    assert emulator.requests == []


async def test_help_names_both(capsys):
    """The list of commands has them."""
    assert await execute(["--help"]) == 0

    shown = capsys.readouterr().out
    assert "history" in shown
    assert "recover" in shown


# --- on a server ------------------------------------------------------------------


@needs_redis
async def test_a_server_s_address_is_taken_for_a_store(run, emulator, monkeypatch):
    """Bought, listed, recovered and forgotten there; its password is never shown."""
    with RedisServer() as server:
        server.ask("CONFIG", "SET", "requirepass", "hush")
        place = ("--store", f"unix://:hush@{server.path}")
        named = ("generate", "a moose", *TASK, "--idempotency-key", "moose")
        done = [await run(*named, *place), await run(*named, *place)]
        monkeypatch.setenv("APIMODELS_STORE", place[1])
        done += [
            await run("history"),
            await run("ls", place[1]),
            await run("recover"),
            await run("forget", "moose", "--yes"),
            await run("forget", "moose", "--yes"),
        ]

    assert [each.code for each in done[:-1]] == [0] * 6
    assert done[-1].code != 0
    assert len(emulator.tasks) == 1
    assert f"1 order in unix://{server.path}" in done[2].err
    assert f"1 order in unix://{server.path}" in done[3].err
    assert "Nothing is left" in done[4].err
    assert "hush" not in "".join(each.out + each.err for each in done)


@pytest.mark.parametrize("command", ["history", "recover"])
async def test_a_server_that_is_not_there_is_said(run, emulator, command, monkeypatch):
    """In one line, without the password."""
    done = await run(command, "--store", "redis://:hush@[::1/0")

    assert done.code == 2
    assert "no address of a Redis server" in done.err
    assert "hush" not in done.err


async def test_pictures_go_to_object_storage(run, emulator, folder, object_storage):
    """The address is told and written down; recover takes one, too."""
    out = (folder / "bucket").as_uri()
    left = await run("generate", "a hare", *STORE, "--out", f"{out}/x\ty")
    saved = await run("generate", "a fox", *STORE, "--out", f"{out}/fox")
    recovered = await run("recover", *STORE, "--out", out)
    files = [record.files for record in await read_orders(emulator)]

    assert [left.code, saved.code, recovered.code] == [2, 0, 0]
    assert f"saved    {out}/fox.jpg" in saved.out
    assert files == [(f"{out}/fox.jpg",)]
    assert [path.name for path in (folder / "bucket").iterdir()] == ["fox.jpg"]
