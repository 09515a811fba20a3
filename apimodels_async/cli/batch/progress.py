"""Progress of a batch: counts, pace and failures, and the display of them."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from typing import TYPE_CHECKING, Final, Literal

from attrs import define, field, frozen
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from apimodels_async import (
    ApiModelsError,
    GenerationFailedError,
    Outcome,
    OutcomeUnknownError,
    TransportError,
)
from apimodels_async.cli.words import plain_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rich.console import RenderableType

    from apimodels_async.batch import Batch
    from apimodels_async.cli.gallery.card import State
    from apimodels_async.cli.output import Output

REFRESHES_PER_S: Final = 4
BAR_WIDTH: Final = 30
MINUTE_S, HOUR_S = 60, 3600
TROUBLE_EXTRA: Final = 20
REPLAYED: Final = frozenset({"completed", "failed", "unknown", "intended"})
"""The journal's words for what a run hands over again without ordering it."""


@frozen
class Failure:
    """One row that has no picture on the disk."""

    number: int
    state: str
    reason: str
    prompt: str
    task_id: str | None = None


@define(eq=False)
class Progress:
    """
    One run of a batch. Times are monotonic seconds.
    """

    total: int
    """Rows of this batch."""
    before: Mapping[int, str]
    """Number -> the journal's word, of what earlier runs ordered."""
    max_pending: int
    started_at: float
    replays: frozenset[str] = REPLAYED
    given: int = 0
    """Rows handed to the library."""
    stopping: bool = False
    """No further row is handed to it."""
    earlier: int = 0
    """Ended in an earlier run; nothing was ordered for them in this one."""
    states: Counter[str] = field(factory=Counter[str])
    """``completed``, ``unsaved`` (paid for, not on the disk), ``failed``,
    ``refused``, ``unknown`` and ``pending`` (its task lives on)."""
    failures: list[Failure] = field(factory=list[Failure])
    in_a_row: int = 0
    """Orders without an answer, or without a file, since the last that went well."""
    last_error: ApiModelsError | None = None

    def take(self, outcome: Outcome) -> str:
        """Count *outcome* and return its state."""
        state = outcome_state(outcome)
        self.states[state] += 1
        replayed = self.before.get(outcome.index) in self.replays
        if replayed:
            self.earlier += 1
        error = outcome.error
        if error is None:
            self.in_a_row = 0
            return state
        prompt = outcome.request.prompt if outcome.request else ""
        self.failures.append(
            Failure(
                outcome.index,
                state,
                plain_words(str(error)),
                prompt or "",
                error.task_id,
            )
        )
        trouble = isinstance(error, (TransportError, OutcomeUnknownError))
        if trouble or state == "unsaved":
            self.in_a_row += not replayed
            self.last_error = error
        return state

    @property
    def broken(self) -> bool:
        """
        Whether going on makes no sense: all that was under way and 20 more went wrong
        for want of an answer or of a place to save.
        """
        return self.in_a_row >= self.max_pending + TROUBLE_EXTRA

    @property
    def ended(self) -> int:
        """Rows that ended, in whichever way."""
        return self.states.total()

    @property
    def bad(self) -> int:
        """Rows that ended without a picture on the disk."""
        return self.ended - self.states["completed"]

    def pace(self, now: float) -> float:
        """Return pictures a second since the start, those of earlier runs left out."""
        return (self.ended - self.earlier) / max(now - self.started_at, 0.001)

    def eta_s(self, now: float) -> float | None:
        """Return the seconds the rest should take; None while nobody can tell."""
        pace = self.pace(now)
        expected = self.given if self.stopping else self.total
        return (expected - self.ended) / pace if pace else None


def outcome_state(outcome: Outcome) -> State | Literal["unsaved"]:
    """Return how *outcome* ended, in one word."""
    error = outcome.error
    if error is None:
        return "completed"
    return "unsaved" if outcome.result is not None else error_state(error)


def error_state(error: ApiModelsError) -> State:
    """Return how an order without a result ended, in one word."""
    if isinstance(error, GenerationFailedError):
        return "failed"
    if error.charged is False:
        return "refused"
    unknown = isinstance(error, OutcomeUnknownError) or error.task_id is None
    return "unknown" if unknown else "pending"


def figures(progress: Progress, money: Batch, now: float) -> str:
    """Return the progress in one line."""
    under_way = progress.given - progress.ended
    left = progress.eta_s(now)
    parts = [
        f"{progress.states['completed']} of {progress.total} done",
        f"{under_way} pending",
        f"{progress.bad} failed",
        f"{progress.pace(now):.1f} images/s",
        f"${money.spent:.3f} spent",
    ]
    if money.reserved:
        parts.append(f"${money.reserved:.3f} on its way or unknown")
    if left:
        parts.append(f"{duration(left)} left")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Return a duration for people: "42 s", "3 min", "2 h 5 min"."""
    if seconds < 2 * MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < 2 * HOUR_S:
        return f"{seconds / MINUTE_S:.0f} min"
    hours, rest = divmod(seconds, HOUR_S)
    return f"{hours:.0f} h {rest / MINUTE_S:.0f} min"


def print_progress(progress: Progress, money: Batch, output: Output) -> None:
    """Print the progress: a line on stderr, or an object on stdout."""
    now = time.monotonic()
    if not output.json:
        output.note(figures(progress, money, now), "")
    left = progress.eta_s(now)
    output.record(
        "progress",
        total=progress.total,
        pending=progress.given - progress.ended,
        completed=progress.states["completed"],
        failed=progress.bad,
        images_s=round(progress.pace(now), 3),
        spent=money.spent,
        reserved=money.reserved,
        eta_s=None if left is None else round(left, 1),
    )


@contextlib.contextmanager
def live_progress(
    progress: Progress, money: Batch, output: Output
) -> Iterator[Callable[[], None]]:
    """
    Show the progress on a terminal; yields what ends that before the body does.

    Elsewhere nothing moves, and nothing is shown.
    """

    def lines() -> RenderableType:
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            ProgressBar(
                total=progress.total, completed=progress.ended, width=BAR_WIDTH
            ),
            Text(f"{progress.ended}/{progress.total}"),
        )
        return Group(bar, Text(figures(progress, money, time.monotonic()), "dim"))

    live = Live(
        get_renderable=lines,
        console=output.stderr,
        refresh_per_second=REFRESHES_PER_S,
        transient=True,
    )
    with live if output.interactive else contextlib.nullcontext():
        yield live.stop
