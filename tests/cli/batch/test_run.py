"""One run of a batch, with what can happen to it."""

from __future__ import annotations

import io
import sqlite3

import pytest
from attrs import evolve
from cli.batch.conftest import progress_of

from apimodels_async import PollPolicy, Session
from apimodels_async.cli.batch.journal import read_cards
from apimodels_async.cli.batch.rows import PromptFile, Row
from apimodels_async.cli.batch.source import SessionSource
from apimodels_async.cli.batch.summary import print_summary


@pytest.fixture
async def outcome(run_of, emulator):
    """Run a batch of one task in the folder, and return the run."""

    async def outcome(**more):
        run = run_of(progress_of(total=1), "gpt-image-2", **more)
        run.folder.write(run.plan, PromptFile("p.txt", ".txt", b"a fox\n"))
        session = Session(
            emulator.api_key,
            base_url=emulator.base_url,
            polling=PollPolicy.unchecked(interval=0.02),
        )
        await run.execute(SessionSource(session))
        return run

    return outcome


async def test_nothing_is_ordered_that_nobody_hears_of(run_of):
    """Once stdout takes no more, or too much went wrong, the rows are left."""
    rows = [Row(number, {"prompt": "a fox"}) for number in range(3)]
    heard, unheard, broken = (run_of(progress_of(total=3)) for _ in range(3))
    unheard.output.stdout.file = Failed()
    broken.progress.in_a_row = 99
    given = [
        [item async for item in run._items(iter(rows))]
        for run in (heard, unheard, broken)
    ]

    assert [len(items) for items in given] == [3, 0, 0]
    assert unheard.progress.stopping


class Failed(io.StringIO):
    """A stream whose reader has left."""

    failure = OSError("gone")


async def test_who_leaves_at_once_is_told_what_goes_on(run_of, folder):
    """The last words name the folder, and the place in object storage."""
    run = run_of(progress_of())
    words = run._last_words(SessionSource(Session("k")))
    run.plan = evolve(run.plan, out="s3://bucket/my deck/")
    more = run._last_words(SessionSource(Session("k")))

    assert words == f"Or all of them: apimodels resume {folder}\n"
    assert more == f"{words.rstrip()} --out 's3://bucket/my deck/'\n"


async def test_an_api_that_falls_silent_is_reported(outcome, capsys, emulator):
    """While no poll is answered, that is said, and what is paid for is not given up."""
    emulator.fault("poll", "reset", times=25)
    run = await outcome(period_s=0.05)

    assert "The API does not answer. 1 tasks are paid for" in capsys.readouterr().err
    assert dict(run.progress.states) == {"completed": 1}


async def test_who_is_told_to_stop_does_not_wait_for_a_silent_api(
    outcome, capsys, emulator, folder
):
    """After a signal a silent API is left; the journal keeps what is paid for."""
    emulator.fault("poll", "reset", times=None)
    run = await outcome(period_s=0.05, signal=15)

    assert "The API does not answer: leaving." in capsys.readouterr().err
    (entry,) = await read_cards(
        folder / "journal.sqlite", folder, running=False, limit=9
    )
    assert (entry.state, entry.task_id in emulator.tasks) == ("pending", True)
    assert run.progress.states["completed"] == 0


async def test_a_very_large_batch_has_a_page_of_its_own_size(outcome, folder, capsys):
    """The page shows as many rows as it may and says so; the sums know all."""
    run = await outcome(cards_max=3)
    with sqlite3.connect(folder / "journal.sqlite") as journal:
        journal.execute("CREATE TEMP TABLE more AS SELECT * FROM orders")
        for number in range(2, 6):
            sql = (
                "UPDATE more SET attempt=?, idempotency_key=?, number=?, cost=NULL, "
                "result=json_set(result, '$.credits', NULL)"
            )
            journal.execute(sql, (number, f"k{number}", number))
            journal.execute("INSERT INTO orders SELECT * FROM more")
    journal.close()
    await print_summary(run)

    page = (folder / "index.html").read_text("utf-8")
    assert page.count('<li class="card') == 3
    assert "3, those without a picture first" in page
    assert (
        "1 by the API's own figures, 4 by published prices" in capsys.readouterr().out
    )
