"""
The books of both sides: what the emulator charged, and where its user can find it.

A paid order is accounted for when a place that its user can look into names its task
id or a URL of its picture, or an error that the very call raised says that it may have
been charged. An unknown fate that names neither accounts for one order, and only for
one that is found nowhere else.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections import Counter
from pathlib import Path

from attrs import define, field
from support.emulators import emulator_says, program

from apimodels_async import (
    ApiModelsError,
    ImageResult,
    Outcome,
    OutcomeUnknownError,
    PollPolicy,
    Timeouts,
)

PLACES = ("returned", "error", "orphans", "unread", "pending", "log", "printed")
UNNAMED = ("was cut when the session closed", "of unknown fate:")
"""What a line of the log says of an order whose id nobody knows."""
SETTLED_S = 30.0


@define(eq=False)
class Account:
    """What one surface ordered, what was done to it, and where its orders are."""

    name: str
    orders: int = 0
    """Asked of the library, paid for or not."""
    cut: Counter[str] = field(factory=Counter)
    """Calls that ended by it, for each kind of end."""
    named: dict[str, set[str]] = field(factory=dict)
    """Task ids, URLs and prompts for each place."""
    unnamed: Counter[str] = field(factory=Counter)
    """Unknown fates without an id or a prompt."""
    faults: list[str] = field(factory=list)
    """What went wrong besides: cut files, words that say too little."""
    seconds: float = 0.0
    paid: int = 0
    found: Counter[str] = field(factory=Counter)
    lost: list[str] = field(factory=list)
    """Prompts of paid orders that are nowhere."""

    def prompt(self) -> str:
        """Return the prompt of the next order; no other has it."""
        self.orders += 1
        return f"{self.name} {self.orders:06}."

    def note(self, place: str, found: object, prompt: str | None = None) -> None:
        """Write down that *place* holds *found*."""
        names = self.named.setdefault(place, set())
        match found:
            case None:
                pass
            case str():
                names.add(found)
            case ImageResult():
                names.update({*found.urls, found.task_id or ""})
            case Outcome():
                self._note_outcome(place, found)
            case ApiModelsError():
                self._note_error(place, found, prompt)
            case _:  # a handle, of either session
                names.add(found.task_id)
                if found.done and not found.task_id:
                    names.update(found._entry.outcome.urls)

    def _note_outcome(self, place: str, found: Outcome) -> None:
        self.note(place, found.result)
        prompt = found.request.prompt if found.request is not None else None
        self.note(place, found.error, prompt)

    def _note_error(
        self, place: str, found: ApiModelsError, prompt: str | None
    ) -> None:
        if found.charged is False:
            return
        names = self.named[place]
        names.update(getattr(found, "task_ids", ()))
        if found.task_id is not None:
            names.add(found.task_id)
        elif isinstance(found, OutcomeUnknownError):
            if prompt is None:
                self.unnamed[place] += 1
            else:
                names.add(prompt)

    def note_text(self, place: str, text: str, works: list[dict]) -> None:
        """Write down what a text that is all there is says of *works*."""
        for work in works:
            if work["id"] in text or (work["url"] and work["url"] in text):
                self.note(place, work["id"])
        self.unnamed[place] += sum(text.count(words) for words in UNNAMED)

    def audit(self, works: list[dict]) -> None:
        """Compare with what the emulator charged."""
        unnamed, nowhere = Counter(self.unnamed), []
        for work in works:
            if not work["charged"]:
                continue
            self.paid += 1
            known = {work["id"], work["prompt"], work["url"]}
            for place in PLACES:
                if known & self.named.get(place, set()):
                    self.found[place] += 1
                    break
            else:
                nowhere.append(work["prompt"])
        for prompt in nowhere:
            place = next((place for place in PLACES if unnamed[place]), None)
            if place is None:
                self.lost.append(prompt)
            else:
                unnamed[place] -= 1
                self.found[place] += 1


@define(eq=False)
class Served:
    """An emulator in a process of its own, with its books."""

    base_url: str
    key: str

    @property
    def options(self) -> dict:
        """What a session takes to find it, and to be quick."""
        return {
            "api_key": self.key,
            "base_url": self.base_url,
            "polling": PollPolicy.unchecked(interval=0.01),
            "timeouts": Timeouts(connect=20, read=20, generate=20, download=20),
        }

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which a program finds it."""
        return {
            "APIMODELS_BASE_URL": self.base_url,
            "APIMODELS_API_KEY": self.key,
            "APIMODELS_POLL_INTERVAL": "0.03",
        }

    def works(self) -> list[dict]:
        """Return all tasks and generations, once each of them has ended."""
        until = time.monotonic() + SETTLED_S
        while time.monotonic() < until:
            works = emulator_says(self.base_url, "tasks")["tasks"]
            if all(work["state"] in {"completed", "failed"} for work in works):
                return works
            time.sleep(0.1)
        msg = "the emulator has works that never end"
        raise AssertionError(msg)


@contextlib.contextmanager
def serving(
    times: tuple[float, float] = (0.0, 0.006),
    jitter: float = 0.004,
    seed: int = 0,
):
    """Serve the API from another process; *times* and *jitter* are seconds."""
    script = Path(__file__).parent / "accounting.py"
    how = json.dumps({"times": times, "jitter": jitter, "seed": seed})
    with program(script, "--serve", how) as told:
        yield Served(told["base_url"], told["key"])


class Lines(logging.Handler):
    """Keeps the warnings of the library."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record):
        """Keep one line."""
        self.lines.append(record.getMessage())


@contextlib.contextmanager
def listening():
    """Give the warnings that the library logs meanwhile, and print none of them."""
    logger, lines = logging.getLogger("apimodels_async"), Lines()
    logger.addHandler(lines)
    before, logger.propagate = logger.propagate, False
    try:
        yield lines.lines
    finally:
        logger.propagate = before
        logger.removeHandler(lines)
