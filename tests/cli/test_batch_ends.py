"""
How a batch is counted, told and ended: in words, and as an exit code.
"""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal

import pytest
from attrs import evolve

from apimodels_async import (
    AuthenticationError,
    BudgetExceededError,
    ConfigurationError,
    DownloadError,
    GenerationFailedError,
    ImageRequest,
    ImageResult,
    InsufficientCreditsError,
    JournalError,
    Outcome,
    OutcomeUnknownError,
    PollPolicy,
    RateLimitError,
    Session,
    SessionClosedError,
    TransportError,
)
from apimodels_async.cli.batch.folder import Folder, Plan
from apimodels_async.cli.batch.preflight import _tell
from apimodels_async.cli.batch.progress import (
    Progress,
    batch_exit_code,
    figures,
    group_failures,
    next_steps,
    span,
    truncated,
)
from apimodels_async.cli.batch.rows import PromptFile
from apimodels_async.cli.batch.run import Run
from apimodels_async.cli.batch.summary import print_summary
from apimodels_async.cli.output import Output

RESULT = ImageResult(urls=("https://a.b/c.png",))
REQUEST = ImageRequest("m", "a fox", {})


class Purse:
    """The money of a batch."""

    spent = Decimal("0.5")
    reserved = Decimal("0.25")


def progress_of(*errors, total=None, before=None, **more):
    """Return a tally that took an outcome for each error; None is a picture."""
    progress = Progress(
        total=len(errors) if total is None else total,
        before=before or {},
        max_pending=1,
        started_at=time.monotonic() - 10,
        replays=frozenset({"completed", "failed"}),
    )
    for number, error in enumerate(errors, 1):
        result = RESULT if error is None or isinstance(error, DownloadError) else None
        progress.given += 1
        progress.take(Outcome(number, REQUEST, result, error, **more))
    return progress


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (None, "completed"),
        (DownloadError("disk"), "unsaved"),
        (GenerationFailedError("no"), "failed"),
        (RateLimitError("slow"), "refused"),
        (OutcomeUnknownError("?"), "unknown"),
        (SessionClosedError("bye", task_id="clx1"), "pending"),
        (SessionClosedError("bye"), "unknown"),
    ],
)
def test_each_end_has_a_word(error, state):
    """Completed, unsaved, failed, refused, unknown or pending."""
    assert dict(progress_of(error).states) == {state: 1}


def test_what_an_earlier_run_ended_is_counted_apart():
    """Its outcomes are no pace of this run."""
    progress = progress_of(None, None, before={1: "completed"})

    assert progress.earlier == 1
    assert progress.pace(progress.started_at + 10) == pytest.approx(0.1)


def test_trouble_without_end_stops_a_batch():
    """After 20 more than can be under way in a row, going on makes no sense."""
    assert not progress_of(*[TransportError("gone")] * 20).broken
    assert progress_of(*[TransportError("gone")] * 21).broken
    assert not progress_of(*[TransportError("gone")] * 20, None, total=30).broken
    assert not progress_of(*[GenerationFailedError("no")] * 30).broken


def test_equal_reasons_are_told_together():
    """More than twenty of one reason are one line; others have their own."""
    progress = progress_of(
        *[RateLimitError("slow")] * 21, OutcomeUnknownError("?", task_id="clx1")
    )

    assert group_failures(progress.failures) == [
        "21 rows, the first is 1: refused: slow",
        "row 22: unknown: ? (task clx1) | a fox",
    ]
    assert truncated("a long prompt", 6) == "a lon…"


@pytest.mark.parametrize(
    ("errors", "halted", "code"),
    [
        ([None], None, 0),
        ([None], InsufficientCreditsError("poor"), 3),
        ([OutcomeUnknownError("?")], AuthenticationError("key"), 3),
        ([OutcomeUnknownError("?")], BudgetExceededError("max"), 4),
        ([GenerationFailedError("no")], None, 1),
        ([None], JournalError("disk"), 1),
    ],
)
def test_the_exit_code_says_the_worst(errors, halted, code):
    """No credit before unknown outcomes, these before failures."""
    assert batch_exit_code(progress_of(*errors), halted) == code


@pytest.mark.parametrize(
    ("errors", "halted", "stopped", "steps"),
    [
        ([None], None, False, []),
        ([None], None, True, ["apimodels resume '/a b'"]),
        ([RateLimitError("")], None, False, ["(orders the 1 refused again)"]),
        ([SessionClosedError("", task_id="c")], None, False, ["waits for the 1"]),
        ([DownloadError("")], None, False, ["fetches what was not saved"]),
        ([OutcomeUnknownError("")], None, False, ["--resubmit-unknown"]),
        ([GenerationFailedError("")], None, False, ["--retry-failed"]),
        ([None], InsufficientCreditsError(""), False, ["top up the account"]),
        ([None], AuthenticationError(""), False, ["check APIMODELS_API_KEY"]),
        ([None], BudgetExceededError(""), False, ["--max-cost MORE"]),
        ([None], JournalError(""), False, ["folder can be written"]),
        ([None], TransportError(""), False, ["when the cause is gone"]),
    ],
)
def test_what_to_do_next_is_said(folder, errors, halted, stopped, steps):
    """Each way a batch can end has the command that goes on from there."""
    place = type(folder)("/a b")
    found = next_steps(progress_of(*errors), halted, place, stopped=stopped)

    assert len(found) == len(steps)
    assert all(step in line for step, line in zip(steps, found, strict=True))


def test_progress_is_one_line():
    """Done, pending, failed, pace, money and the time that is left."""
    line = figures(progress_of(None, total=3), Purse(), time.monotonic())

    assert line.startswith("1 of 3 done, 0 pending, 0 failed, 0.1 images/s, $0.500")
    assert "$0.250 on its way or unknown" in line
    assert line.endswith("20 s left")
    assert figures(progress_of(total=3), Purse(), time.monotonic()).endswith("unknown")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (119, "119 s"), (180, "3 min"), (7500, "2 h 5 min")],
)
def test_durations_are_for_people(seconds, text):
    """Seconds, minutes, or hours and minutes."""
    assert span(seconds) == text


def run_in(folder, progress, **more):
    """Return a run in an empty folder that ended as *tally* says."""
    plan = Plan(file="p.txt", prompts="prompts.txt", rows=1, ordered=1)
    return Run(
        folder=Folder.at(folder), plan=plan, progress=progress, output=Output(), **more
    )


async def test_a_journal_that_broke_is_told_at_the_end(folder, capsys):
    """The summary comes all the same, with what is known without the journal."""
    (folder / "journal.sqlite").write_bytes(b"no database" * 100)
    run = run_in(folder, progress_of(TransportError("gone"), total=4))
    code = await print_summary(run)
    shown = capsys.readouterr()

    assert code == 1
    assert "The gallery cannot be written: " in shown.err
    assert "cannot be read" in shown.err
    assert "0 of 4 saved; 1 refused; 3 not ordered" in shown.out.replace("unknown", "")


async def test_a_batch_that_gave_up_says_why(folder, capsys):
    """The last of too many errors in a row is named."""
    progress = progress_of(*[TransportError("the host is gone")] * 21, total=40)
    await print_summary(run_in(folder, progress))

    said = capsys.readouterr().err
    assert "Stopped: 21 orders in a row went wrong: the host is gone" in said


async def test_a_copy_that_is_gone_is_named(folder):
    """Without its copy of the prompts a run does not begin."""
    with pytest.raises(ConfigurationError, match="the copy of the prompts"):
        await run_in(folder, progress_of()).go(Session("k"))


async def test_an_api_that_falls_silent_is_told(folder, capsys, emulator):
    """While no poll is answered, that is said, and what is paid for is not given up."""
    emulator.fault("poll", "reset", times=25)
    prompt_file = PromptFile("p.txt", ".txt", b"a fox\n")
    run = run_in(folder, progress_of(total=1), period_s=0.1)
    run.plan = evolve(run.plan, model="gpt-image-2")
    run.folder.write(run.plan, prompt_file)
    session = Session(
        emulator.api_key,
        base_url=emulator.base_url,
        polling=PollPolicy.unchecked(interval=0.03),
    )
    await run.go(session)

    said = capsys.readouterr().err
    assert "The API does not answer. 1 tasks are paid for" in said
    assert dict(run.progress.states) == {"completed": 1}


async def test_each_next_step_has_a_line(folder, capsys):
    """Several things to do are told one below the other."""
    progress = progress_of(OutcomeUnknownError("?"), GenerationFailedError("no"))
    await print_summary(run_in(folder, progress))

    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].startswith("next     compare with apimodels balance")
    assert lines[-1].startswith("         apimodels resume")


# --- the folder -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"version": 9}', "version 9; this release reads 1"),
        ("{", "it is damaged"),
        ('{"version": 1, "rows": "x"}', "it is damaged"),
    ],
)
def test_a_folder_that_cannot_be_read_says_why(folder, text, why):
    """A batch.json of a later release, or damaged, is named."""
    (folder / "batch.json").write_text(text)
    with pytest.raises(
        ConfigurationError, match=r"batch\.json cannot be read"
    ) as caught:
        Folder.at(folder).started()

    assert why in str(caught.value)


def test_other_things_in_the_way_are_named(folder):
    """No batch, a directory for a file, a file for a directory."""
    with pytest.raises(ConfigurationError, match="is not the folder of a batch"):
        Folder.at(folder).started()
    (folder / "batch.json").mkdir()
    with pytest.raises(ConfigurationError, match="Is a directory"):
        Folder.at(folder).started()
    (folder / "file").write_text("")
    plan = Plan(file="p.txt", prompts="prompts.txt", rows=1, ordered=1)
    with pytest.raises(ConfigurationError, match="cannot be written"):
        Folder.at(folder / "file").write(plan, None)
    with pytest.raises(ConfigurationError, match="the copy of the prompts"):
        Folder.at(folder).prompt_file(plan)
    assert Folder.at(folder / "file").plan() is None


async def test_a_line_that_has_come_is_told_once():
    """The loop may report a terminal once more before its reader is gone."""
    ready = asyncio.get_running_loop().create_future()
    for _ in range(2):
        _tell(ready)

    assert ready.done()
