"""How a batch ends: in words, as an exit code, and with what to do next."""

from __future__ import annotations

from pathlib import Path

from cli.batch.conftest import progress_of

from apimodels_async import (
    AuthenticationError,
    BudgetExceededError,
    DownloadError,
    GenerationFailedError,
    InsufficientCreditsError,
    JournalError,
    OutcomeUnknownError,
    RateLimitError,
    SessionClosedError,
    TransportError,
)
from apimodels_async.cli.batch.summary import (
    batch_exit_code,
    group_failures,
    next_steps,
    print_summary,
)


def test_equal_reasons_share_a_line():
    """More than twenty of one reason are one line; others have their own."""
    progress = progress_of(
        *[RateLimitError("slow")] * 21, OutcomeUnknownError("?", task_id="clx1")
    )

    assert group_failures(progress.failures) == [
        "21 rows, the first is 1: refused: slow",
        "row 22: unknown: ? (task clx1) | a fox",
    ]


def test_the_exit_code_says_the_worst():
    """No credit before unknown outcomes, these before failures."""
    ends = [
        (None, None, 0),
        (None, InsufficientCreditsError("poor"), 3),
        (OutcomeUnknownError("?"), AuthenticationError("key"), 3),
        (OutcomeUnknownError("?"), BudgetExceededError("max"), 4),
        (GenerationFailedError("no"), None, 1),
        (None, JournalError("disk"), 1),
    ]
    found = [batch_exit_code(progress_of(error), halted) for error, halted, _ in ends]

    assert found == [code for _, _, code in ends]


def test_what_to_do_next_is_said():
    """Each way a batch can end has the command that goes on from there."""
    ends = [
        (RateLimitError(""), None, "(orders the 1 refused again)"),
        (SessionClosedError("", task_id="c"), None, "waits for the 1"),
        (DownloadError(""), None, "fetches what was not saved"),
        (OutcomeUnknownError(""), None, "--resubmit-unknown"),
        (GenerationFailedError(""), None, "--retry-failed"),
        (None, InsufficientCreditsError(""), "top up the account"),
        (None, AuthenticationError(""), "check APIMODELS_API_KEY"),
        (None, BudgetExceededError(""), "--max-cost MORE"),
        (None, JournalError(""), "folder can be written"),
        (None, TransportError(""), "when the cause is gone"),
    ]
    place, wrong = Path("/a b"), []
    for error, halted, step in ends:
        found = next_steps(progress_of(error), halted, place, stopped=False)
        if len(found) != 1 or step not in found[0]:
            wrong.append((step, found))

    assert wrong == []
    assert next_steps(progress_of(None), None, place, stopped=False) == []
    assert next_steps(progress_of(None), None, place, stopped=True) == [
        f"apimodels resume '{place}'"
    ]
    typed = next_steps(
        progress_of(None), None, place, stopped=True, base_url="https://a.b/v1"
    )
    assert typed == [f"apimodels resume '{place}' --base-url https://a.b/v1"]


async def test_a_journal_that_broke_is_named_at_the_end(run_of, folder, capsys):
    """The summary comes all the same, with what is known without the journal."""
    (folder / "journal.sqlite").write_bytes(b"no database" * 100)
    code = await print_summary(run_of(progress_of(TransportError("gone"), total=4)))
    shown = capsys.readouterr()

    assert code == 1
    assert "The gallery cannot be written: " in shown.err
    assert "cannot be used" in shown.err
    assert "0 of 4 saved; 1 refused; 3 not ordered" in shown.out.replace("unknown", "")


async def test_a_batch_that_gave_up_says_why(run_of, capsys):
    """The last of too many errors in a row is named."""
    progress = progress_of(*[TransportError("the host is gone")] * 21, total=40)
    await print_summary(run_of(progress))

    said = capsys.readouterr().err
    assert "Stopped: 21 orders in a row went wrong: the host is gone" in said


async def test_each_next_step_has_a_line(run_of, capsys):
    """Several things to do are told one below the other."""
    progress = progress_of(OutcomeUnknownError("?"), GenerationFailedError("no"))
    await print_summary(run_of(progress))

    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].startswith("next     compare with apimodels balance")
    assert lines[-1].startswith("         apimodels resume")
