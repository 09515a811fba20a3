"""``apimodels ls``: what a batch ordered, also while it runs."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import anyio.to_thread
from cyclopts import Parameter
from rich.table import Table
from rich.text import Text

from apimodels_async._text import escaped
from apimodels_async.cli.batch.folder import Folder
from apimodels_async.cli.batch.journal import (
    JournalEntry,
    State,
    read_entries,
)
from apimodels_async.cli.options import Flag
from apimodels_async.cli.output import Output, truncated
from apimodels_async.stores.journal import holder_of

States = Annotated[list[State] | None, Parameter(negative="")]
PROMPT_CHARS = 40
STYLES = {"completed": "green", "pending": "cyan", "unknown": "magenta"}


async def ls(folder: Path, *, state: States = None, json: Flag = False) -> None:
    """
    List what the batch in FOLDER ordered, also while it runs; free, needs no key.

    Args:
        folder: As given to "apimodels batch --out".

        state: Only these; repeatable.

        json: One JSON object a line instead of text.
    """
    output = Output(json)
    place = Folder.at(folder)
    plan = await anyio.to_thread.run_sync(place.started)
    pid = await anyio.to_thread.run_sync(holder_of, place.journal)
    running = pid is not None
    entries = await read_entries(place.journal, place.pictures, running=running)
    shown = [entry for entry in entries if not state or entry.state in state]
    if output.interactive and shown:
        output.show(_table(shown))
    for entry in shown:
        if not output.interactive:
            output.line(_line(entry))
        output.record(
            "item",
            number=entry.number,
            state=entry.state,
            model=entry.model,
            prompt=entry.prompt,
            credits=entry.cost,
            price=entry.price,
            task_id=entry.task_id,
            path=entry.file,
            paths=entry.files,
            seed=entry.seed,
            duration_s=entry.time_s,
            error=entry.error,
        )
    counts = Counter(entry.state for entry in entries)
    words = [f"{count} {word}" for word, count in counts.most_common()]
    words.append(f"{max(0, plan.ordered - len(entries))} not ordered yet")
    spent = sum(
        (entry.cost if entry.cost is not None else entry.price)
        for entry in entries
        if entry.state == "completed"
    )
    output.note(
        f"{plan.ordered} rows: {', '.join(words)}; ${spent} spent; "
        + ("not running" if pid is None else f"running now (pid {pid})")
    )


def _cells(entry: JournalEntry) -> tuple[str, ...]:
    cost = f"${entry.cost}" if entry.cost is not None else "-"
    file = ", ".join(each.name for each in entry.files) or "-"
    return (str(entry.number), entry.state, cost, entry.task_id or "-", file)


def _line(entry: JournalEntry) -> str:
    number, state, cost, task_id, file = _cells(entry)
    return (
        f"{number:>6}  {state:<9}  {cost:>8}  {task_id:<14}  {file}  "
        f"{truncated(entry.prompt, PROMPT_CHARS)}"
    )


def _table(entries: list[JournalEntry]) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 1))
    table.add_column("no.", justify="right")
    for title in ("state", "cost", "task", "file", "prompt"):
        table.add_column(title)
    for entry in entries:
        style = STYLES.get(entry.state, "red")
        cells = [Text(escaped(cell)) for cell in _cells(entry)]
        cells[1].stylize(style)
        prompt = truncated(entry.prompt, PROMPT_CHARS)
        table.add_row(*cells, Text(escaped(prompt), "dim"))
    return table
