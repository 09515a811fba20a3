"""``apimodels batch`` and ``resume``, with what can happen to them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from decimal import Decimal

import pytest
from cli.conftest import FAST
from support.waiting import until

from apimodels_async import ConfigurationError
from apimodels_async.cli.batch.folder import Folder


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


async def test_wrong_options_send_nothing(run, emulator, prompts):
    """They are refused with what to give instead, and end with 2."""
    wrong = {
        (): "--out is missing",
        ("--out", "ftp://bucket/D"): "s3://, gs://, az://, file://",
        ("--out", "memory://D"): "would be gone with this command",
        ("--out", "D", "--folder", "E"): "--folder goes with --out in object storage",
        ("--out", "D", "--speed", "5"): "--speed needs --emulator",
        ("--out", "D", "--emulator", "--speed", "-1"): "a number above 0",
        ("--out", "D", "--emulator", "--speed", "inf"): "a number above 0",
        ("--out", "D", "--max-cost", "inf"): "must be a finite number",
        ("--out", "D", "--max-cost", "nan"): '--max-cost "nan": ',
        ("--out", "D", "--shard", "x"): "--shard needs one of",
    }
    name, found = prompts("a fox"), []
    for argv, why in wrong.items():
        done = await run("batch", name, *argv)
        if done.code != 2 or why not in done.err:
            found.append((argv, done))

    assert found == []
    assert not emulator.requests


async def test_bad_rows_are_told_before_anything_is_sent(run, emulator, folder):
    """All bad rows are told, nothing is sent, and no folder is made."""
    (folder / "p.csv").write_text("prompt,width\na,100\nb,512\nc,x\n")
    done = await run("batch", "p.csv", "--out", "D")

    assert done.code == 2
    assert "p.csv:2: width 100" in done.err
    assert 'p.csv:4: width "x"' in done.err
    assert not emulator.requests
    assert not (folder / "D").exists()


async def test_the_same_command_again_orders_nothing_twice(run, emulator, folder):
    """A second run hands over what the first one paid for; added rows are ordered."""
    (folder / "p.txt").write_text("a fox\na hare\n")
    first = await run("batch", "p.txt", "--out", "D")
    spent = emulator.spent
    second = await run("batch", "p.txt", "--out", "D", "--json")

    assert (first.code, second.code) == (0, 0)
    assert spent == emulator.spent
    assert second.records[-1]["earlier"] == 2
    assert len(list((folder / "D" / "pictures").iterdir())) == 2


async def test_a_shard_keeps_the_numbers_of_the_file(run, folder):
    """Shard 2/3 orders rows 2 and 5, and its folder takes no other shard."""
    (folder / "p.txt").write_text("a\nb\nc\nd\ne\n")
    await run("batch", "p.txt", "--out", "D", "--shard", "2/3")
    other = await run("batch", "p.txt", "--out", "D", "--shard", "1/3")
    names = {path.name[:5] for path in (folder / "D" / "pictures").iterdir()}

    assert names == {"00002", "00005"}
    assert other.code == 2
    assert "a folder of its own" in other.err


async def test_an_emulator_may_be_inside(run, prompts, folder, monkeypatch):
    """With --emulator nothing else is needed: no key, no network."""
    monkeypatch.delenv("APIMODELS_API_KEY")
    monkeypatch.delenv("APIMODELS_BASE_URL")
    name = prompts("a fox", "a hare")
    argv = ("--out", "D", "--emulator", "--speed", "100", "--max-cost", "0.01")
    done = await run("batch", name, *argv)
    reorder = await run("resume", "D", "--max-cost", "1")

    assert (done.code, reorder.code) == (1, 0)
    assert "It may stop early: --max-cost $0.01 is never passed." in done.err
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


async def test_a_default_written_out_is_the_same_batch(run, prompts, emulator):
    """Naming the model that would be taken anyway orders nothing again."""
    file = prompts("a fox", "a hare")
    await run("batch", file, "--out", "D")
    again = await run("batch", file, "--out", "D", "--model", "sparkpix-image")

    assert again.code == 0
    assert "2 of them ended in earlier runs" in again.out
    assert len(emulator.generations) == 2


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


async def test_ctrl_c_finishes_what_is_paid_for(interrupted, emulator, folder):
    """After Ctrl-C nothing more is ordered, and what was ordered is saved."""
    (folder / "p.txt").write_text("".join(f"fox {n} [slow]\n" for n in range(40)))
    argv = ("batch", "p.txt", "--out", "D", "--max-pending", 2)
    done = await interrupted(lambda: emulator.requests, *argv)

    saved = len(list((folder / "D" / "pictures").iterdir()))
    assert done.code == 130
    assert 0 < saved < 40
    assert "Stopping: nothing more is ordered" in done.err


async def test_ctrl_c_orders_nothing_that_waits_for_money(
    interrupted, emulator, prompts
):
    """Rows that were read, and would fit once others have ended, are left."""
    name = prompts(*(f"fox {n} [slow]" for n in range(4)))
    options = ("--model", "gpt-image-2", "--max-cost", "0.1", "--poll-interval", "0.05")
    done = await interrupted(
        lambda: len(emulator.tasks) == 2, "batch", name, "--out", "D", *options
    )

    assert done.code == 130
    assert len(emulator.tasks) == 2


async def test_a_second_signal_names_the_tasks_and_the_folder(
    program, environment, emulator, prompts
):
    """A batch that is left at once says which tasks go on, and what finds them."""
    name = prompts("a moose [stuck]", "a fox [stuck]")
    argv = ("--model", "gpt-image-2", "--out", "D D", "--poll-interval", "0.05")
    process = program("batch", name, *argv)
    tasks = emulator.tasks
    await until(lambda: len(tasks) == 2 and all(t.polls for t in tasks.values()))
    process.send_signal(signal.SIGINT)
    said = await asyncio.to_thread(_read_until, process.stderr, "Stopping: ")
    process.send_signal(signal.SIGINT)
    rest = await asyncio.to_thread(process.stderr.read)

    assert await asyncio.to_thread(process.wait, 20) == 130
    assert "Ctrl-C again leaves at once" in said
    for task_id in emulator.tasks:
        assert f"apimodels wait {task_id}" in rest
    assert "/D D'" in rest
    assert "apimodels resume '" in rest


def _read_until(stream, words):
    for line in stream:
        if words in line:
            return line
    return ""


async def test_a_killed_batch_is_resumed_without_paying_twice(
    program, run, emulator, folder
):
    """After kill -9 the next run pays for no row a second time; ls shows them."""
    text = "".join(f'{{"prompt":"m {n}","model":"gpt-image-2"}}\n' for n in range(12))
    (folder / "p.jsonl").write_text(text)
    process = program(
        *("batch", "p.jsonl", "--out", "D", "--max-pending", "4"),
        *("--poll-interval", "0.05"),
    )
    async with asyncio.timeout(20):
        while len(emulator.tasks) < 3:  # noqa: ASYNC110  the books have no event
            await asyncio.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    await asyncio.to_thread(process.wait, 20)
    done = await run("resume", "D", "--json")
    listed = await run("ls", "D", "--json")

    prompts = [task.prompt for task in emulator.tasks.values()]
    assert len(prompts) == len(set(prompts))
    assert done.records[-1]["not_ordered"] == 0
    assert len(listed.records) == 12


async def test_a_terminal_sees_moving_lines(run_on_terminal, prompts):
    """Progress moves on a terminal."""
    done = await run_on_terminal("batch", prompts("a fox"), "--out", "D")

    assert "1/1" in done.err or "of 1 done" in done.err
    assert "\x1b[" in done.err


async def test_a_damaged_journal_is_named(run, emulator, prompts, folder):
    """Nothing is sent, and the path is told."""
    await run("batch", prompts("a fox"), "--out", "D")
    before = len(emulator.requests)
    (folder / "D" / "journal.sqlite").write_bytes(b"no database" * 500)
    done = await run("resume", "D")
    listed = await run("ls", "D")

    assert done.code == listed.code == 2
    assert "journal.sqlite cannot be used" in done.err
    assert "journal.sqlite cannot be used" in listed.err
    assert len(emulator.requests) == before


async def test_a_folder_does_not_choose_the_api(
    run, emulator, prompts, folder, monkeypatch
):
    """Where it was ordered is compared with options and environment, and never used."""
    await run("batch", prompts("a fox"), "--out", "D")
    before = len(emulator.requests)
    elsewhere = emulator.base_url.replace("127.0.0.1", "localhost")
    monkeypatch.setenv("APIMODELS_BASE_URL", elsewhere)
    resumed = await run("resume", "D")
    again = await run("batch", "p.txt", "--out", "D")
    asked = await run("resume", "D", "--base-url", emulator.base_url)

    assert (resumed.code, again.code, asked.code) == (2, 2, 0)
    assert f"--base-url {emulator.base_url}" not in resumed.err
    assert f"it was ordered at {emulator.base_url}, and" in resumed.err
    assert f"ordered at {emulator.base_url}" in asked.err
    assert before == len(emulator.requests)


async def test_a_folder_does_not_set_limits_unseen(run, emulator, prompts, folder):
    """The limit of the last run is told, and rows are counted, not believed."""
    await run("batch", prompts("a fox"), "--out", "D", "--max-cost", "1")
    plan = json.loads((folder / "D/batch.json").read_text())
    forged = plan | {"max_cost": "500", "rows": 9, "ordered": 9, "max_pending": 10**9}
    (folder / "D/batch.json").write_text(json.dumps(forged))
    done = await run("resume", "D")

    assert done.code == 0
    assert "--max-cost $500 of the last run is in force" in done.err
    assert "1 of 1 saved" in done.out


async def test_the_pictures_of_a_batch_do_not_leave_its_folder(
    run, emulator, prompts, folder
):
    """With a link for its directory nothing is ordered and nothing is written."""
    (folder / "D").mkdir()
    (folder / "home").mkdir()
    (folder / "D/pictures").symlink_to(folder / "home")
    done = await run("batch", prompts("a fox"), "--out", "D")

    assert done.code == 2
    assert "pictures is a link" in done.err
    assert not emulator.requests
    assert [*(folder / "home").iterdir()] == []


async def test_a_gallery_in_the_way_does_not_stop_a_batch(run, prompts, folder):
    """The pictures are made; that there is no page is said once."""
    (folder / "D" / "index.html").mkdir(parents=True)
    done = await run("batch", prompts("a fox"), "--out", "D")

    assert done.code == 0
    assert done.err.count("The gallery cannot be written") == 1
    assert "1 of 1 saved" in done.out
    assert "gallery " not in done.out


@pytest.mark.parametrize(("name", "text"), [("prompts.txt", "a"), ("index.html", "")])
async def test_a_file_that_is_not_ours_is_not_replaced(
    run, emulator, prompts, folder, name, text
):
    """A folder may have had that name in it before; nothing is ordered there."""
    (folder / "here").mkdir()
    (folder / "here" / name).write_text(text, encoding="utf-8")

    done = await run("batch", prompts("a fox"), "--out", "here")

    assert done.code == 2
    assert name in done.err
    assert (folder / "here" / name).read_text("utf-8") == text
    assert emulator.requests == []


async def test_the_page_tells_what_it_took(run, prompts, folder):
    """Models, spend over all runs and wall time are in its head, parameters below."""
    for _ in range(2):
        await run("batch", prompts("a fox", "a hare"), "--out", "D")
    page = (folder / "D" / "index.html").read_text("utf-8")

    facts = dict(re.findall("<dt>(.*?)</dt><dd>(.*?)</dd>", page))
    assert facts["models"] == "sparkpix-image"
    assert Decimal(facts["spent"].removeprefix("$")) == Decimal("0.02")
    assert facts["wall time"].endswith(" s, this run")
    assert page.count('data-options="--model sparkpix-image"') == 2


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


async def test_who_comes_second_changes_nothing_of_the_first(
    run, emulator, prompts, folder
):
    """Two that begin in one new folder: one orders, the other writes nothing there."""
    ours, other = prompts("a fox"), prompts("a moose", "a hare", name="other.txt")
    inside = Folder.at(folder / "D")
    lock = inside.lock(None)  # as the first has it before it writes
    second = await run("batch", other, "--out", "D")
    with pytest.raises(ConfigurationError, match=r"another process .* at work"):
        inside.lock(None)  # who began at the same moment
    kept = sorted(path.name for path in inside.path.iterdir())
    os.close(lock)
    running = asyncio.create_task(run("batch", ours, "--out", "D"))
    await until((inside.path / "batch.json").exists)
    with pytest.raises(ConfigurationError, match=r"is at work in"):
        inside.lock(inside.plan())
    first = await running
    with pytest.raises(ConfigurationError, match=r"at work in .* meanwhile"):
        inside.lock(None)  # who saw the folder before all that
    resumed = await run("resume", "D")

    assert second.code == 2
    assert f"another process (pid {os.getpid()}) is at work" in second.err
    assert kept == ["batch.json.lock"]
    assert (first.code, resumed.code) == (0, 0)
    assert (inside.path / "prompts.txt").read_text() == "a fox\n"
    assert sum(one.method == "POST" for one in emulator.requests) == 1
