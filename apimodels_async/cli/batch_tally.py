"""
How a batch is going: counts, pace, failures with their reasons, and what to do next.
"""

from __future__ import annotations

import shlex
from collections import Counter
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from apimodels_async import (
    ApiModelsError,
    AuthenticationError,
    BudgetExceededError,
    GenerationFailedError,
    InsufficientCreditsError,
    JournalError,
    Outcome,
    OutcomeUnknownError,
    PermissionDeniedError,
    TransportError,
)
from apimodels_async.cli.verdict import Exit, exit_code

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

GROUPED_ABOVE: Final = 20
"""Failures that share a reason; fewer are listed one by one."""
TROUBLE_EXTRA: Final = 20
REPLAYED: Final = frozenset({"completed", "failed", "unknown", "intended"})
"""The journal's words for what a run hands over again without ordering it."""


@frozen
class Failure:
    """
    One row that has no picture on the disk.
    """

    number: int
    state: str
    reason: str
    prompt: str
    task_id: str | None = None


@define(eq=False)
class Tally:
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
        """
        Count *outcome* and return its state.
        """
        state = state_of(outcome)
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
            Failure(outcome.index, state, str(error), prompt or "", error.task_id)
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
        """
        Rows that ended, in whichever way.
        """
        return self.states.total()

    @property
    def bad(self) -> int:
        """
        Rows that ended without a picture on the disk.
        """
        return self.ended - self.states["completed"]

    def pace(self, now: float) -> float:
        """
        Return pictures a second since the start, those of earlier runs left out.
        """
        return (self.ended - self.earlier) / max(now - self.started_at, 0.001)

    def eta_s(self, now: float) -> float | None:
        """
        Return the seconds the rest should take; None while nobody can tell.
        """
        pace = self.pace(now)
        return (self.total - self.ended) / pace if pace else None


def state_of(outcome: Outcome) -> str:
    """
    Return how *outcome* ended, in one word.
    """
    error = outcome.error
    if error is None:
        return "completed"
    if outcome.result is not None:
        return "unsaved"
    if isinstance(error, GenerationFailedError):
        return "failed"
    if error.charged is False:
        return "refused"
    unknown = isinstance(error, OutcomeUnknownError) or error.task_id is None
    return "unknown" if unknown else "pending"


def grouped(failures: list[Failure]) -> list[str]:
    """
    Return one line a failure, by number; one for all that share a reason if many do.
    """
    reasons = Counter((each.state, each.reason) for each in failures)
    many = {reason for reason, count in reasons.items() if count > GROUPED_ABOVE}
    lines = []
    for each in sorted(failures, key=lambda failure: failure.number):
        reason = (each.state, each.reason)
        if reason not in reasons:
            continue  # its group was told
        if reason in many:
            count = reasons.pop(reason)
            lines.append(
                f"{count} rows, the first is {each.number}: {each.state}: {each.reason}"
            )
        else:
            task = f" (task {each.task_id})" if each.task_id else ""
            lines.append(
                f"row {each.number}: {each.state}: {each.reason}{task} "
                f"| {shortened(each.prompt, 40)}"
            )
    return lines


def shortened(text: str, most: int) -> str:
    """
    Return *text* in at most *most* characters.
    """
    return text if len(text) <= most else f"{text[: most - 1]}…"


def code_of(tally: Tally, halted: ApiModelsError | None) -> Exit:
    """
    Return the exit code: no credit before unknown outcomes, these before failures.
    """
    if halted is not None and exit_code(halted) is Exit.NO_CREDIT_OR_KEY:
        return Exit.NO_CREDIT_OR_KEY
    if tally.states["unknown"] or tally.states["pending"]:
        return Exit.UNKNOWN
    if halted is not None or tally.states["completed"] < tally.total:
        return Exit.FAILED
    return Exit.OK


def what_next(
    tally: Tally, halted: ApiModelsError | None, folder: Path, *, stopped: bool
) -> list[str]:
    """
    Return what to do or to run next, the most pressing first.
    """
    resume = f"apimodels resume {shlex.quote(str(folder))}"
    states = tally.states
    steps: list[str] = []
    if halted is not None or tally.broken:
        steps.append(_after_halt(halted, resume))
    elif stopped or tally.ended < tally.total:
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
