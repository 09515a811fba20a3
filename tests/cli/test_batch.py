"""
``apimodels batch``, ``resume`` and ``ls`` against the emulator.
"""

from __future__ import annotations

import asyncio
import signal

import pytest

from apimodels_async.cli.batch.preflight import Shard, check_rows
from apimodels_async.cli.batch.rows import PromptFile, first_change


def rows(text, suffix=".txt", model=None):
    """Return the rows of a file with this text."""
    data = text if isinstance(text, bytes) else text.encode()
    return list(PromptFile("f", suffix, data).rows(model))


@pytest.mark.parametrize(
    ("suffix", "text", "items"),
    [
        (".txt", "\ufeffa\r\n\r\n# b\r\n c \r\n", [{"prompt": "a"}, {"prompt": "c"}]),
        (
            ".csv",
            "prompt,seed,model\n1984,3,\n,,\n",
            [{"prompt": "1984", "seed": 3}],
        ),
        (".jsonl", '"a"\n\n{"prompt":"b"}\n', [{"prompt": "a"}, {"prompt": "b"}]),
    ],
)
def test_rows_are_read_from_each_kind_of_file(suffix, text, items):
    """Blank lines, BOM and CRLF are no rows; empty cells are not given."""
    assert [row.item for row in rows(text, suffix)] == items


def test_a_bad_row_has_its_line_and_reason():
    """Every bad row is found, with its line in the file."""
    found = check_rows(rows('"a"\n[1]\n{"seed":1}\n', ".jsonl"), Shard(), limited=False)

    assert [line for line, _ in found.problems] == [2, 3]


def test_only_rows_added_at_the_end_continue_a_batch():
    """A changed or missing row is named; added ones are none of a change."""
    old = rows("a\nb\n")

    assert first_change(old, rows("a\nb\nc\n")) is None
    assert "row 2 (line 2)" in first_change(old, rows("a\nc\n"))
    assert "row 2" in first_change(old, rows("a\n"))


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


async def test_bad_rows_are_told_before_anything_is_sent(run, emulator, folder):
    """All bad rows are told, nothing is sent, and no folder is made."""
    (folder / "p.csv").write_text("prompt,width\na,100\nb,512\nc,x\n")
    done = await run("batch", "p.csv", "--out", "D")

    assert done.code == 2
    assert "p.csv:2: width=100" in done.err
    assert "p.csv:4: width='x'" in done.err
    assert not emulator.requests
    assert not (folder / "D").exists()


async def test_a_shard_keeps_the_numbers_of_the_file(run, folder):
    """Shard 2/3 orders rows 2 and 5, and its folder takes no other shard."""
    (folder / "p.txt").write_text("a\nb\nc\nd\ne\n")
    await run("batch", "p.txt", "--out", "D", "--shard", "2/3")
    other = await run("batch", "p.txt", "--out", "D", "--shard", "1/3")
    names = {path.name[:5] for path in (folder / "D" / "pictures").iterdir()}

    assert names == {"00002", "00005"}
    assert other.code == 2
    assert "a folder of its own" in other.err


async def test_ctrl_c_finishes_what_is_paid_for(interrupted, emulator, folder):
    """After Ctrl-C nothing more is ordered, and what was ordered is saved."""
    (folder / "p.txt").write_text("".join(f"fox {n} [slow]\n" for n in range(40)))
    argv = ("batch", "p.txt", "--out", "D", "--max-pending", 2)
    done = await interrupted(lambda: emulator.requests, *argv)

    saved = len(list((folder / "D" / "pictures").iterdir()))
    assert done.code == 130
    assert 0 < saved < 40
    assert "Stopping: nothing more is ordered" in done.err


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
    await asyncio.to_thread(process.wait, 5)
    done = await run("resume", "D", "--json")
    listed = await run("ls", "D", "--json")

    prompts = [task.prompt for task in emulator.tasks.values()]
    assert len(prompts) == len(set(prompts))
    assert done.records[-1]["not_ordered"] == 0
    assert len(listed.records) == 12
