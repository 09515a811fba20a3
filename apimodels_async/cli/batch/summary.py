"""Summary of a run of a batch: text, JSON, exit code and next steps."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from apimodels_async import (
    ApiModelsError,
    AuthenticationError,
    BudgetExceededError,
    InsufficientCreditsError,
    JournalError,
    PermissionDeniedError,
)
from apimodels_async.cli.batch.folder import resume_command
from apimodels_async.cli.batch.journal import Totals, read_totals
from apimodels_async.cli.batch.progress import duration
from apimodels_async.cli.errors import ExitCode, exit_code, signal_exit_code
from apimodels_async.cli.output import short_prompt
from apimodels_async.cli.words import plain_words

if TYPE_CHECKING:
    from pathlib import Path

    from apimodels_async.cli.batch.progress import Failure, Progress
    from apimodels_async.cli.batch.run import Run

GROUPED_ABOVE: Final = 20
"""Failures that share a reason; fewer are listed one by one."""


async def print_summary(run: Run) -> int:
    """Write the gallery a last time, say how it ended, and return the exit code."""
    progress, output, states = run.progress, run.output, run.progress.states
    wall_s = time.monotonic() - progress.started_at
    await run.write_gallery(running=False)
    try:
        totals = await read_totals(run.folder.journal)
    except JournalError as error:
        output.error(error)
        totals = Totals()
    if run.halted is not None:
        output.error(run.halted)
    elif progress.broken:
        output.note(
            f"Stopped: {progress.in_a_row} orders in a row went wrong: "
            f"{plain_words(str(progress.last_error))}",
            "red",
        )
    for line in group_failures(progress.failures):
        output.line(line, "red")
    steps = next_steps(
        progress,
        run.halted,
        run.folder.path,
        stopped=run.signal is not None,
        base_url=run.base_url,
        out=run.plan.out,
    )
    bad = ", ".join(
        f"{count} {state}" for state, count in states.items() if state != "completed"
    )
    left = progress.total - progress.ended
    output.facts(
        pictures=f"{states['completed']} of {progress.total} saved"
        + (f"; {bad}" if bad else "")
        + (f"; {left} not ordered" if left else ""),
        earlier=f"{progress.earlier} of them ended in earlier runs"
        if progress.earlier
        else None,
        wall=f"{duration(wall_s)}, {progress.pace(time.monotonic()):.1f} images/s",
        spend=_spend(totals),
        gallery=None if run.gallery_warned else run.place.page,
        folder=run.folder.path if run.plan.out else None,
        next=steps[0] if steps else None,
    )
    for step in steps[1:]:
        output.line(f"         {step}")
    output.record(
        "batch",
        total=progress.total,
        earlier=progress.earlier,
        not_ordered=left,
        **{
            state: states[state]
            for state in (
                *("completed", "unsaved", "failed"),
                *("refused", "unknown", "pending"),
            )
        },
        spent=totals.spent,
        reserved=totals.reserved,
        wall_s=round(wall_s, 3),
        gallery=run.place.page,
        folder=run.folder.path,
        next=steps,
    )
    if run.signal is not None:
        return signal_exit_code(run.signal)
    return batch_exit_code(progress, run.halted)


def _spend(totals: Totals) -> str:
    sources = []
    if totals.stated:
        sources.append(f"{totals.stated} by the API's own figures")
    if totals.priced:
        sources.append(f"{totals.priced} by published prices")
    text = f"${totals.spent} over all runs"
    if sources:
        text += f": {', '.join(sources)}"
    if totals.reserved:
        text += f"; ${totals.reserved} more on what is on its way or unknown"
    return text


def group_failures(failures: list[Failure]) -> list[str]:
    """
    Return one line a failure, by number; one for all that share a reason if many do.
    """
    reasons = Counter((each.state, each.reason) for each in failures)
    many = {reason for reason, count in reasons.items() if count > GROUPED_ABOVE}
    lines = []
    for each in sorted(failures, key=lambda failure: failure.number):
        reason = (each.state, each.reason)
        if reason not in reasons:
            continue  # its group has a line already
        if reason in many:
            count = reasons.pop(reason)
            lines.append(
                f"{count} rows, the first is {each.number}: {each.state}: {each.reason}"
            )
        else:
            task = f" (task {each.task_id})" if each.task_id else ""
            lines.append(
                f"row {each.number}: {each.state}: {each.reason}{task} "
                f"| {short_prompt(each.prompt)}"
            )
    return lines


def batch_exit_code(progress: Progress, halted: ApiModelsError | None) -> ExitCode:
    """
    Return the exit code: no credit before unknown outcomes, these before failures.
    """
    if halted is not None and exit_code(halted) is ExitCode.NO_CREDIT_OR_KEY:
        return ExitCode.NO_CREDIT_OR_KEY
    if progress.states["unknown"] or progress.states["pending"]:
        return ExitCode.UNKNOWN
    if halted is not None or progress.states["completed"] < progress.total:
        return ExitCode.FAILED
    return ExitCode.OK


def next_steps(
    progress: Progress,
    halted: ApiModelsError | None,
    folder: Path,
    *,
    stopped: bool,
    base_url: str | None = None,
    out: str | None = None,
) -> list[str]:
    """
    Return what to do or to run next, the most pressing first.

    Args:
        base_url: As it was typed: a folder does not say where to order.

        out: Where pictures go, in object storage.
    """
    resume = resume_command(folder, out)
    if base_url is not None:
        resume += f" --base-url {shlex.quote(base_url)}"
    states = progress.states
    steps: list[str] = []
    if halted is not None or progress.broken:
        steps.append(_after_halt(halted, resume))
    elif stopped or progress.ended < progress.total:
        steps.append(resume)
    elif states["refused"]:
        steps.append(f"{resume}  (orders the {states['refused']} refused again)")
    if states["pending"]:
        steps.append(f"{resume}  (waits for the {states['pending']} tasks)")
    if states["unsaved"]:
        steps.append(f"{resume}  (fetches what was not saved; within 7 days)")
    if states["unknown"]:
        steps.append(
            f"compare with apimodels balance, then: {resume} --resubmit-unknown  "
            f"(orders {states['unknown']} again; may pay twice)"
        )
    if states["failed"]:
        steps.append(f"{resume} --retry-failed")
    return steps


def _after_halt(halted: ApiModelsError | None, resume: str) -> str:
    match halted:
        case InsufficientCreditsError():
            return f"top up the account (see: apimodels balance), then: {resume}"
        case AuthenticationError() | PermissionDeniedError():
            return f"check APIMODELS_API_KEY and what it may do, then: {resume}"
        case BudgetExceededError():
            return f"{resume} --max-cost MORE"
        case JournalError():
            return f"see that the folder can be written, then: {resume}"
        case _:
            return f"when the cause is gone: {resume}"
