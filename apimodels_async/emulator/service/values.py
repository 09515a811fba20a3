"""Tasks, records of requests and callbacks, and the words of the API's answers."""

import json
import random
from collections.abc import Callable
from decimal import Decimal
from math import inf
from typing import Any

from attrs import define, field, frozen

KEPT_RECORDS = 200_000  # records; a day of 2-3 polls a second, about 100 MB
KEPT_POLL_TIMES = 10_000  # per task; one stuck for 7 hours of polls
_MOST_DIGITS = 18


class RefusalError(Exception):
    """The emulated API refuses a request with *status* and *msg*."""

    def __init__(self, status: int, msg: str) -> None:
        super().__init__(msg)
        self.status = status
        self.msg = msg


@define(eq=False)
class RequestRecord:
    """One request that reached the emulator, in order of arrival."""

    method: str
    """``GET``, ``POST`` or ``PUT``."""

    path: str
    """Path without the query."""

    endpoint: str
    """The *where* of faults: create, sync, edit, edits, poll, file, ..."""

    at: float
    """Arrival, seconds of ``time.monotonic()``."""

    task_id: str | None = None
    """The task it made or asked about."""

    body: dict[str, Any] | None = None
    """JSON that was sent, if any."""

    prompt: str | None = None
    """The prompt in it, if any."""

    status: int | None = None
    """Status answered; None while unanswered or when the connection was cut."""

    charged: bool = False
    """Whether what this request made has been paid for by now."""

    has_key: bool = False
    """Whether an ``Authorization`` header came with it."""

    fault: str | None = None
    """Kind of the fault that hit it."""


@define(eq=False)
class CallbackRecord:
    """One attempt to deliver a callback."""

    url: str
    task_id: str
    attempt: int
    """1-based."""

    at: float
    """Seconds of ``time.monotonic()``."""

    body: dict[str, Any]
    status: int | None = None
    """What the receiver answered; None when nobody answered."""


@frozen
class Input:
    """One input image: its label, and its bytes unless it could not be loaded."""

    label: str
    data: bytes | None = field(default=None, repr=False)
    sides: tuple[int, int] | None = None
    """Width and height as it came, pixels; it may be kept smaller."""


@frozen
class Sketch:
    """Everything a picture is drawn from; equal sketches give equal bytes."""

    model: str
    prompt: str
    seed: int
    width: int
    height: int
    format: str = "jpeg"
    transparent: bool = False
    inputs: tuple[Input, ...] = ()
    mask: Input | None = None
    layer: int | None = None


@frozen
class Failure:
    """Why a task fails, in the API's words."""

    message: str
    code: str
    retryable: bool


@define(eq=False)
class EmulatedTask:
    """One generation as the service sees it; `state` follows the emulator's clock."""

    id: str
    """Task id."""

    model: str
    """Model id."""

    prompt: str
    """What to draw."""

    params: dict[str, Any]
    """The request body without model and prompt."""

    created_ms: int
    """When it was accepted, milliseconds since 1970."""

    price: Decimal
    """US dollars."""

    endpoint: str
    """create, sync, edit or edits."""

    starts_at: float
    """When `pending` turns into `processing`, clock seconds."""

    due_at: float
    """When it is settled, clock seconds; infinite for a stuck one."""

    clock: Callable[[], float] = field(repr=False)
    """The emulator's clock, seconds."""

    sketches: tuple[tuple[str, Sketch], ...] = field(default=(), repr=False)
    """File name and drawing of each picture it will give."""

    urls: tuple[str, ...] = ()
    """Result addresses, shown once completed."""

    layers: list[dict[str, Any]] = field(factory=list, repr=False)
    """What the API says of each layer, of a model that gives some."""

    failure: Failure | None = None
    """Why it fails; None: it does not."""

    callback_url: str | None = None
    """Where its end is told; None: nowhere."""

    record: RequestRecord | None = field(default=None, repr=False)
    """The request that made it."""

    settled: bool = False
    """Whether it has ended."""

    completed_ms: int | None = None
    """When it ended, milliseconds since 1970."""

    charged: bool = False
    """Whether it has been paid for."""

    polls: int = 0
    """How often it was asked for."""

    poll_times: list[float] = field(factory=list, repr=False)
    """Arrival of each poll, seconds of ``time.monotonic()``."""

    @property
    def endless(self) -> bool:
        """Whether it never ends."""
        return self.due_at == inf

    @property
    def state(self) -> str:
        """pending, processing, completed or failed."""
        if self.settled:
            return "failed" if self.failure else "completed"
        return "pending" if self.clock() < self.starts_at else "processing"


def envelope(data: object, code: int = 200, msg: str = "success") -> dict[str, Any]:
    """Return the JSON object around every answer and callback of the API."""
    return {"code": code, "msg": msg, "data": data}


def result_json(task: EmulatedTask) -> str:
    """Return the results as the JSON *string* the API puts into JSON."""
    results: dict[str, Any] = {"resultUrls": list(task.urls)}
    if task.layers:
        results["layers"] = task.layers
    return json.dumps(results)


def append_capped(
    records: list[Any], record: object, limit: int = KEPT_RECORDS
) -> None:
    """Append *record*, dropping the oldest tenth when there are more than *limit*."""
    records.append(record)
    if len(records) > limit:
        del records[: limit // 10]


def seeded(seed: int, purpose: str) -> random.Random:
    """Return a random generator for *purpose*, independent of those for others."""
    return random.Random(f"{seed}:{purpose}")  # noqa: S311 - reproducible, not secret


def is_count(text: str) -> bool:
    """Return whether *text* is a whole number short enough for ``int()``."""
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
