"""
Batches from the command line, with what can happen to them.
"""

from __future__ import annotations

import asyncio
import json
import os
import pty
import sqlite3
import subprocess
import sys

import pytest

FAST = ("--poll-interval", "0.05")


@pytest.fixture
def prompts(folder):
    """Write a file of prompts, and return its name."""

    def prompts(*lines, name="p.txt"):
        (folder / name).write_text("".join(f"{line}\n" for line in lines))
        return name

    return prompts


async def test_a_dry_run_prices_and_sends_nothing(run, emulator, prompts, folder):
    """Rows, models, the sum and where prices come from; no folder, no request."""
    name = prompts(
        '"a fox"',
        '{"prompt":"a moose","model":"gpt-image-2","resolution":"2K"}',
        '{"prompt":"x","model":"brand-new"}',
        name="p.jsonl",
    )
    done = await run("batch", name, "--dry-run")
    programs = await run("batch", name, "--dry-run", "--json", "--shard", "1/2")

    assert done.code == programs.code == 0
    assert "no price known" in done.out
    assert "hints from the vendor's pages, read on" in done.out
    assert "Nothing was sent." in done.err
    assert programs.events == ["priced", "priced", "dry_run"]
    assert programs.records[-1]["rows"] == 2
    assert not emulator.requests
    assert [path.name for path in folder.iterdir()] == ["p.jsonl"]


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        ((), "--out is missing"),
        (("--out", "D", "--speed", "5"), "--speed needs --emulator"),
        (("--out", "D", "--emulator", "--speed", "-1"), "a number above 0"),
        (("--out", "D", "--shard", "x"), "--shard needs one of"),
    ],
)
async def test_wrong_options_send_nothing(run, emulator, prompts, argv, why):
    """They are told with what to give instead, and end with 2."""
    done = await run("batch", prompts("a fox"), *argv)

    assert done.code == 2
    assert why in done.err
    assert not emulator.requests


async def test_an_emulator_may_be_inside(run, prompts, folder, monkeypatch):
    """With --emulator nothing else is needed: no key, no network."""
    monkeypatch.delenv("APIMODELS_API_KEY")
    monkeypatch.delenv("APIMODELS_BASE_URL")
    name = prompts("a fox", "a hare")
    argv = ("--out", "D", "--emulator", "--speed", "100", "--max-cost", "0.01")
    done = await run("batch", name, *argv)
    reorder = await run("resume", "D", "--max-cost", "1")

    assert (done.code, reorder.code) == (1, 0)
    assert "It will stop before --max-cost $0.01 is passed." in done.err
    assert "--max-cost MORE" in done.out
    assert "2 of 2 saved" in reorder.out
    other = await run("batch", name, "--out", "D")
    assert other.code == 2
    assert "--emulator cannot be changed" in other.err


async def test_other_prompts_need_another_folder(run, prompts):
    """A folder goes on with its own rows, and rows added to them, alone."""
    await run("batch", prompts("a fox", "a hare"), "--out", "D")
    other = await run("batch", prompts("a fox", "a bear"), "--out", "D")
    more = await run("batch", prompts("a fox", "a hare", "a bear"), "--out", "D")
    same = await run("batch", prompts("a fox", "a hare", "a bear"), "--out", "D")

    assert other.code == 2
    assert "row 2 (line 2) is another one" in other.err
    assert "going on, with 1 added at the end" in more.err
    assert "going on, as before" in same.err


async def test_a_shard_of_unpriced_models_says_so(run, prompts):
    """What is ordered is announced: the part, and what has no price."""
    name = prompts("a", "b", "c")
    argv = ("--out", "D", "--shard", "1/2", "--model", "gpt-image-2", *FAST)
    done = await run("batch", name, *argv)
    odd = await run("batch", name, "--out", "E", "--model", "unknown-model", *FAST)

    assert "shard 1/2: 2 of 3 rows" in done.err
    assert "3 rows without a price" in odd.err


async def test_failures_are_told_and_can_be_ordered_again(run, emulator, prompts):
    """A failed row says why; --retry-failed orders it again, nothing else does."""
    name = prompts("a fox [refused]", "a hare")
    first = await run("batch", name, "--out", "D")
    reorder = await run("resume", "D", "--retry-failed")
    ordered = [one.endpoint for one in emulator.requests].count("sync")

    assert first.code == reorder.code == 1
    assert "1 of 2 saved; 1 " in first.out
    assert "apimodels resume" in first.out
    assert ordered == 3


async def test_no_credit_stops_a_batch(run, emulator, prompts):
    """What is not ordered is counted, and the exit code says credit."""
    emulator.fault("sync", "status", status=402, times=1)
    name = prompts(*(f"fox {number}" for number in range(30)))
    done = await run("batch", name, "--out", "D", "--max-pending", "1")

    assert done.code == 3
    assert "top up the account" in done.out
    assert "not ordered" in done.out


async def test_an_unknown_outcome_is_ordered_again_only_if_told(run, emulator, prompts):
    """It ends with 4; --resubmit-unknown wants a yes, and then pays again."""
    emulator.fault("sync", "drop", after=True)
    name = prompts("a fox")
    first = await run("batch", name, "--out", "D")
    asked = await run("resume", "D", "--resubmit-unknown")
    forced = await run("resume", "D", "--resubmit-unknown", "--yes")

    assert (first.code, asked.code, forced.code) == (4, 2, 0)
    assert "--resubmit-unknown" in first.out
    assert "may be paid for twice: say so with --yes" in asked.err
    assert str(emulator.spent) == "0.0200"


@pytest.mark.parametrize(("answer", "code"), [("n", 2), ("y", 0)])
async def test_a_terminal_is_asked(run, emulator, prompts, answer, code):
    """On a terminal the question is put, and only a yes pays again."""
    emulator.fault("sync", "drop", after=True)
    await run("batch", prompts("a fox"), "--out", "D")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "apimodels_async.cli.main", "resume", "D"]
    process = subprocess.Popen(  # noqa: ASYNC220  it only forks
        [*command, "--resubmit-unknown"], stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    said = ""
    while "[y/N]" not in said:
        said += (await asyncio.to_thread(os.read, ours, 1000)).decode()
    os.write(ours, f"{answer}\n".encode())

    def rest():
        try:
            while data := os.read(ours, 1000):
                yield data.decode(errors="replace")
        except OSError:  # the other end is gone
            return

    said += "".join(await asyncio.to_thread(lambda: list(rest())))
    os.close(ours)
    assert await asyncio.to_thread(process.wait, 20) == code
    assert ("1 of 1 saved" in said) is (answer == "y")


async def test_two_processes_do_not_share_a_folder(program, run, emulator, prompts):
    """The second one is told the first one's number; ls may look on."""
    name = prompts(*(f"fox {number} [slow]" for number in range(9)))
    process = program("batch", name, "--out", "D", "--max-pending", "1")
    async with asyncio.timeout(20):
        while not emulator.requests:  # noqa: ASYNC110  it has no event to wait for
            await asyncio.sleep(0.01)
    second = await run("resume", "D")
    seen = await run("ls", "D")

    assert second.code == 2
    assert f"another process (pid {process.pid}) is at work" in second.err
    assert f"running now (pid {process.pid})" in seen.err


async def test_a_terminal_sees_moving_lines_and_tables(run_on_terminal, prompts):
    """Progress moves on a terminal, ls has a table, and --state picks rows."""
    name = prompts("a fox", "a hare [refused]")
    done = await run_on_terminal("batch", name, "--out", "D")
    listed = await run_on_terminal("ls", "D", "--state", "completed", columns=120)
    none = await run_on_terminal("ls", "D", "--state", "unknown")

    assert "2/2" in done.err or "of 2 done" in done.err
    assert "prompt" in listed.out
    assert "a fox" in listed.out
    assert "a hare" not in listed.out
    assert "a fox" not in none.out


async def test_a_damaged_journal_is_named(run, emulator, prompts, folder):
    """Nothing is sent, and the path is told."""
    await run("batch", prompts("a fox"), "--out", "D")
    before = len(emulator.requests)
    (folder / "D" / "journal.sqlite").write_bytes(b"no database" * 500)
    done = await run("resume", "D")
    listed = await run("ls", "D")

    assert done.code == listed.code == 1
    assert "journal.sqlite cannot be read" in done.err
    assert "journal.sqlite cannot be read" in listed.err
    assert len(emulator.requests) == before


async def test_a_gallery_in_the_way_does_not_stop_a_batch(run, prompts, folder):
    """The pictures are made; that there is no page is said once."""
    (folder / "D" / "index.html").mkdir(parents=True)
    done = await run("batch", prompts("a fox"), "--out", "D")

    assert done.code == 0
    assert done.err.count("The gallery cannot be written") == 1
    assert "1 of 1 saved" in done.out
    assert "gallery " not in done.out


async def test_a_very_large_batch_has_a_page_of_its_own_size(run, prompts, folder):
    """The page shows ten thousand rows and says so; ls and the sums know all."""
    await run("batch", prompts("a fox"), "--out", "D")
    with sqlite3.connect(folder / "D" / "journal.sqlite") as journal:
        columns = [row[1] for row in journal.execute("PRAGMA table_info(items)")]
        row = dict(
            zip(columns, journal.execute("SELECT * FROM items").fetchone(), strict=True)
        )
        names = ", ".join(columns)
        marks = ", ".join(f":{name}" for name in columns)
        journal.executemany(
            f"INSERT INTO items ({names}) VALUES ({marks})",  # noqa: S608  from the file
            (
                {**row, "key": f"k{n}", "number": n, "cost": None}
                for n in range(2, 10_500)
            ),
        )
    journal.close()
    done = await run("resume", "D")
    page = (folder / "D" / "index.html").read_text("utf-8")

    assert done.code == 0
    assert "10000, those without a picture first" in page
    assert "1 by the API's own figures, 10498 by published prices" in done.out


async def test_a_closed_pipe_ends_a_batch(program, environment, emulator, prompts):
    """When nobody reads --json any more, the program ends as others do."""
    name = prompts(*(f"fox {number}" for number in range(40)))
    process = program("batch", name, "--out", "D", "--json", "--max-pending", "2")
    await asyncio.to_thread(process.stdout.readline)
    process.stdout.close()
    code = await asyncio.to_thread(process.wait, 20)
    process.stdout = None

    assert code == 141
    assert len([one for one in emulator.requests if one.endpoint == "sync"]) < 40


async def test_the_records_are_documented_ones(run, prompts):
    """With --json, progress, outcomes and the sum are objects."""
    done = await run("batch", prompts("a fox"), "--out", "D", "--json")

    assert set(done.events) == {"progress", "outcome", "batch"}
    assert json.dumps(done.records[-1])
