"""What the reference says that the package itself knows: models, commands, faults."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from apimodels_async import known_models
from apimodels_async.cli.help import topics
from apimodels_async.cli.help.commands import COMMANDS
from apimodels_async.emulator.faults import kinds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from apimodels_async import KnownModel, KnownParameter

COLUMNS = "84"
"""How wide the help of commands is, characters."""


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    names = list(head)
    lines = [names, ["---"] * len(names), *map(list, rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


# --- models -----------------------------------------------------------------------


def models() -> str:
    """Return all known models: first what sets them apart, then each by itself."""
    known = known_models().values()
    (read_on,) = {each.read_on for each in known}
    rows = (
        (
            f"[`{each.id}`](#{slug(each.id)})",
            "the picture, directly"
            if each.synchronous
            else "a task"
            if each.answers_with_task
            else "a task, or the picture",
            prices(each),
            inputs(each),
        )
        for each in known
    )
    head = ("Model", "Is answered with", "US dollars a picture", "Input images")
    parts = [
        f"Read on **{read_on.isoformat()}**, {len(known)} models.",
        table(head, rows),
        *(model(each) for each in known),
    ]
    return "\n\n".join(parts)


def slug(name: str) -> str:
    """Return the anchor of the heading *name*."""
    return name.replace(".", "")


def prices(known: KnownModel) -> str:
    """Return the price hints of a model."""
    shown = [
        f"{usd} ({tier})" if tier else str(usd) for tier, usd in known.prices.items()
    ]
    if shown and known.image_price:
        shown.append(f"and {known.image_price} for each input image")
    return ", ".join(shown) or "not published"


def inputs(known: KnownModel) -> str:
    """Return how many input images a model takes, and by which parameter."""
    if known.image_field is None:
        return "none"
    least = f"{known.images_min} or more" if known.images_min else "any number"
    if known.images_max is not None:
        least = f"{known.images_min} to {known.images_max}"
    return f"{least}, `{known.image_field}`"


def model(known: KnownModel) -> str:
    """Return the section of one model."""
    words = []
    if not known.prompt:
        words.append("Takes no prompt.")
    if known.prompt_unless:
        words.append(f"Needs no prompt with `{known.prompt_unless}`.")
    if known.prompt_max:
        words.append(f"A prompt has at most {known.prompt_max} characters.")
    rows = (
        (f"`{name}`", each.type, values(each), each.source)
        for name, each in known.params.items()
    )
    parts = [f"## {known.id}"]
    if words:
        parts.append(" ".join(words))
    head = ("Parameter", "Type", "Values", "Read in")
    parts.append(table(head, rows) if known.params else "No parameters are known.")
    return "\n\n".join(parts)


def values(known: KnownParameter) -> str:
    """Return what a parameter may be, as far as it is known."""
    said = [", ".join(f"`{each}`" for each in known.values)] if known.values else []
    unit = " px a side" if known.type == "size" else ""
    if known.low is not None or known.high is not None:
        low, high = number(known.low), number(known.high)
        said.append(
            f"{low} to {high}{unit}" if low and high else f"{low or high}{unit}"
        )
    if known.step is not None:
        said.append(f"multiples of {known.step}")
    if known.pixels is not None:
        said.append(f"{known.pixels[0]:,} to {known.pixels[1]:,} px in all")
    if known.ratio_max is not None:
        said.append(f"sides at most {number(known.ratio_max)} to 1")
    return "; ".join(said) or "not listed"


def number(value: float | None) -> str:
    """Return *value* without a fraction that is zero; nothing for None."""
    return "" if value is None else f"{value:g}"


# --- command line -----------------------------------------------------------------


def help_of(command: str) -> str:
    """Return what ``apimodels COMMAND --help`` prints."""
    words = [command, "--help"] if command else ["--help"]
    env = {**os.environ, "COLUMNS": COLUMNS, "NO_COLOR": "1", "TERM": "dumb"}
    run = (sys.executable, "-m", "apimodels_async.cli.main", *words)
    done = subprocess.run(  # noqa: S603  our own program
        run, check=True, stdout=subprocess.PIPE, encoding="utf-8", env=env
    )
    return "\n".join(line.rstrip() for line in done.stdout.splitlines())


def commands() -> str:
    """Return the help of every command, group by group."""
    names = ["", *COMMANDS]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        helps = dict(zip(names, pool.map(help_of, names), strict=True))
    parts = [f"```text\n{helps.pop('')}\n```"]
    group = ""
    for name, text in helps.items():
        if COMMANDS[name].group != group:
            group = COMMANDS[name].group
            parts.append(f"## {group}")
        parts.append(f"### apimodels {name}\n\n```text\n{text}\n```")
    return "\n\n".join(parts)


def exits() -> str:
    """Return the exit codes."""
    return table(("Code", "Says"), ((f"{n}", what) for n, what in topics.EXITS.items()))


def events() -> str:
    """Return the events of ``--json``."""
    rows = ((f"`{name}`", fields) for name, fields in topics.EVENTS.items())
    return f"{topics.ABOUT_JSON}\n\n{table(('Event', 'Fields'), rows)}"


# --- emulator ---------------------------------------------------------------------


SEEN = {
    "bad_json": "half of the JSON",
    "completed": "a task that is done in the very answer",
    "drop": "the connection is closed without an answer",
    "duplicate": "the callback comes twice",
    "empty": "an answer without a body",
    "envelope": "HTTP 200, with `code` in the body (402)",
    "forbidden": "403 in the API's own envelope",
    "garbage": "bytes that are not HTTP",
    "hang": "no answer, until the client leaves",
    "html": "a gateway's page, with `status` (200)",
    "no_result": "no addresses",
    "not_found": "404 in the API's own envelope",
    "rate_limit": "429, with `Retry-After: retry_after` (1; None: without)",
    "redirect": "307 to `location`",
    "refused": "the order fails moderation, and is not charged",
    "reset": "the connection is reset",
    "slow": "the right answer, `seconds` later",
    "status": "HTTP `status` (502), with `body` if one is given",
    "stuck": "a task that never ends",
    "truncated": "the answer up to byte `at` (half of it), then the end",
    "unauthorized": "401 in the API's own envelope",
    "unknown_state": "a state nobody knows: `word` (moderating)",
    "wrong_id": "an answer about another task",
}
"""Kind of a fault -> what a client sees; in brackets the default of its option."""


def faults() -> str:
    """Return the kinds of faults, what is seen of each, and where it applies."""
    rows = (
        (f"`{kind}`", SEEN[kind], ", ".join(sorted(kinds.wheres_of(kind))))
        for kind in sorted(kinds.KINDS)
    )
    return table(("Kind", "What is seen", "Applies to"), rows)


MADE: dict[str, Callable[[], str]] = {
    "models": models,
    "commands": commands,
    "exits": exits,
    "events": events,
    "faults": faults,
}
"""The word in ``<!-- made: WORD -->`` -> what takes its place."""
