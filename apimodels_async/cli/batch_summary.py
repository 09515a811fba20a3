"""
How a run of a batch ended, in words and as an object; and its exit code.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio.to_thread

from apimodels_async import JournalError
from apimodels_async.cli.batch_display import span
from apimodels_async.cli.batch_tally import code_of, grouped, what_next
from apimodels_async.cli.records import Sums, read_sums

if TYPE_CHECKING:
    from apimodels_async.cli.batch_run import Run

SIGNAL_BASE = 128  # of exit codes, as shells have it


async def tell_summary(run: Run) -> int:
    """
    Write the gallery a last time, say how it ended, and return the exit code.
    """
    tally, output, states = run.tally, run.output, run.tally.states
    wall_s = time.monotonic() - tally.started_at
    await run.write_gallery(running=False)
    try:
        sums = await anyio.to_thread.run_sync(read_sums, run.folder.journal)
    except JournalError as error:
        output.error(error)
        sums = Sums()
    if run.halted is not None:
        output.error(run.halted)
    elif tally.broken:
        output.note(
            f"Stopped: {tally.in_a_row} orders in a row went wrong: {tally.last_error}",
            "red",
        )
    for line in grouped(tally.failures):
        output.line(line, "red")
    steps = what_next(
        tally, run.halted, run.folder.path, stopped=run.signal is not None
    )
    bad = ", ".join(
        f"{count} {state}" for state, count in states.items() if state != "completed"
    )
    left = tally.total - tally.ended
    output.facts(
        pictures=f"{states['completed']} of {tally.total} saved"
        + (f"; {bad}" if bad else "")
        + (f"; {left} not ordered" if left else ""),
        earlier=f"{tally.earlier} of them ended in earlier runs"
        if tally.earlier
        else None,
        wall=f"{span(wall_s)}, {tally.pace(time.monotonic()):.1f} images/s",
        spend=_spend(sums),
        gallery=None if run.mute else run.folder.index,
        next=steps[0] if steps else None,
    )
    for step in steps[1:]:
        output.line(f"         {step}")
    output.record(
        "batch",
        total=tally.total,
        earlier=tally.earlier,
        not_ordered=left,
        **{
            state: states[state]
            for state in (
                *("completed", "unsaved", "failed"),
                *("refused", "unknown", "pending"),
            )
        },
        spent=sums.spent,
        reserved=sums.reserved,
        wall_s=round(wall_s, 3),
        gallery=run.folder.index,
        next=steps,
    )
    if run.signal is not None:
        return SIGNAL_BASE + run.signal
    return code_of(tally, run.halted)


def _spend(sums: Sums) -> str:
    sources = []
    if sums.stated:
        sources.append(f"{sums.stated} by the API's own figures")
    if sums.priced:
        sources.append(f"{sums.priced} by published prices")
    text = f"${sums.spent} over all runs"
    if sources:
        text += f": {', '.join(sources)}"
    if sums.reserved:
        text += f"; ${sums.reserved} more on what is on its way or unknown"
    return text
