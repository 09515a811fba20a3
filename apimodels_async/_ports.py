"""
The seams: HTTP-shaped values before any meaning, and the Protocols of ``_io``.

A transport returns what happened as a value and does not raise: an exception of the
HTTP library would carry the Authorization header in its repr and its frames.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

from attrs import define, field, frozen

from apimodels_async._text import Value
from apimodels_async.errors import DownloadError

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    from apimodels_async.errors import ApiModelsError
    from apimodels_async.models import (
        AnyRequest,
        ImageResult,
    )

REPLY_BYTES_MAX = 1 << 20  # status answers have some 300 bytes; a list of models, 10 kB


class Kind(Enum):
    """What a request is, as far as money and time are concerned."""

    FREE = auto()
    """A GET: nothing is bought, sending it twice is harmless."""
    CREATE = auto()
    """A paid POST that is known to be answered by a task, within seconds."""
    GENERATE = auto()
    """A paid POST that may be answered by the picture itself, within minutes."""
    UPLOAD = auto()
    """A POST of a file: free, but not worth sending twice behind anyone's back."""

    @property
    def paid(self) -> bool:
        """Whether the request may cost money."""
        return self in {Kind.CREATE, Kind.GENERATE}


@frozen(eq=False, repr=False)
class File(Value):
    """A file to send as multipart form data."""

    name: str
    content_type: str
    data: bytes = field(repr=False)


@frozen(eq=False, repr=False, kw_only=True)
class Request(Value):
    """One HTTP request, to be sent below the base URL."""

    method: str
    path: str
    """Relative to the base URL, query included; characters need no quoting."""
    kind: Kind = Kind.FREE
    body: bytes | None = field(default=None, repr=False)
    """JSON."""
    file: File | None = None
    nonce: str | None = None
    """Of an order that a callback will tell of."""
    reply_bytes_max: int = REPLY_BYTES_MAX
    spacing_s: float = 0.0
    """Between two tries at least, whatever the retry policy says."""


@frozen(eq=False, repr=False)
class Reply(Value):
    """A whole answer: status, headers (lower-case names) and the raw body."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class Phase(Enum):
    """How far a failed request had got."""

    CONNECT = "connecting"
    TLS = "checking the certificate"
    ANSWER = "waiting for the answer"
    BODY = "reading the answer"


@frozen(eq=False, repr=False)
class Failure(Value):
    """A request that got no whole answer. Holds words, never a foreign exception."""

    sent: bool
    """Whether its headers left this machine, by the HTTP library's own trace."""
    phase: Phase
    reason: str
    """For humans: class of the error and what the system said; no URL, no key."""
    timed_out: bool = False
    status: int | None = None
    """Where the head of an answer had arrived."""
    body: bytes = field(default=b"", repr=False)
    """What had arrived of its body."""
    retryable: bool = True
    """Whether another try can help (not so for a refused certificate)."""
    closed: bool = False
    """Whether the connection pool is closed for good: no request will get through."""


class Permit(Protocol):
    """Leave to send one order once, until the order has ended."""

    def taken(self) -> None:
        """Note that the order was answered, by whatever but a 429."""
        ...

    def throttled(self, retry_after: float | None) -> None:
        """Note that it was answered by a 429; gives the permit back."""
        ...

    def release(self) -> None:
        """Give the permit back: the order has ended. Idempotent."""
        ...


class OrderLimit(Protocol):
    """Says when the next order may be sent, for all who share an account."""

    async def acquire(self) -> Permit:
        """Wait until one more order may be sent; cancelled, it takes nothing."""
        ...


class Leave(Protocol):
    """What must hold at the very moment in which an order is sent."""

    @property
    def held(self) -> bool:
        """Whether it may be sent now."""
        ...


@define(eq=False, repr=False)
class Sent:
    """How far a request has got, while whoever sends it waits."""

    at: datetime | None = None
    """UTC time at which its headers left; None: they never did."""
    permit: Permit | None = None
    """Of an order that was taken; to be released once it has ended."""
    leave: Leave | None = None
    """Looked at in the step in which its headers leave; not held, nothing does."""


class Transport(Protocol):
    """
    Sends one request and returns what came back; no retry, no parsing.

    Where the API repeats the key, what comes back has it masked (``Secret.mask``):
    from here on nothing can show it.
    """

    async def send(self, request: Request, sent: Sent) -> Reply | Failure:
        """Send *request*; raises nothing but ``CancelledError``."""
        ...

    @property
    def connections(self) -> int | None:
        """Open connections, idle ones included; None where the pool is lent."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class CutError(DownloadError):
    """A file's own format says that its end is missing. Stays below the session."""


class Turn(Protocol):
    """The right of one file to be under way, and its time."""

    @property
    def left(self) -> float:
        """Seconds left of its time."""
        ...

    async def pause(self, sleep: Awaitable[None]) -> None:
        """Let another file go on while *sleep* lasts."""
        ...


class Disk(Protocol):
    """
    What a file system is asked to do; for threads, and raises ``OSError``.

    A *part* is a file under a passing name, to be given its own once it is whole.
    """

    def enter(self, folder: Path) -> list[Path]:
        """Make *folder*, and return the directories that were missing."""
        ...

    def create(self, path: Path) -> int:
        """Open a new file at *path*, and return its descriptor."""
        ...

    def move(self, part: Path, path: Path) -> None:
        """Give *part* a name that is free; ``FileExistsError`` where it is not."""
        ...

    def replace(self, part: Path, path: Path) -> None:
        """Give *part* the name *path*, whatever has it."""
        ...

    def unlink(self, *paths: Path) -> None:
        """Remove files as far as that can be done; raises nothing."""
        ...

    def sync(self, descriptor: int) -> None:
        """Make an open file durable, where there is something to make durable."""
        ...

    def sync_folder(self, folder: Path) -> None:
        """Make the names in *folder* durable."""
        ...

    def is_never_durable(self, error: OSError) -> bool:
        """Return whether *error* says that nothing there can be made durable."""
        ...


class Sink(Protocol):
    """Where the bytes of one file go."""

    async def check(self) -> None:
        """
        Find out whether a file can be kept there; leaves nothing behind.

        Raises ``ConfigurationError`` if it cannot.
        """
        ...

    async def add(self, chunk: bytes) -> None:
        """Take in the next bytes; raises ``DownloadError`` if it cannot."""
        ...

    @property
    def size(self) -> int:
        """Bytes taken in so far."""
        ...

    async def restart(self) -> None:
        """Forget all bytes so far."""
        ...

    async def finish(self) -> Path | str:
        """Keep the file, and return where; ``CutError``: it is not whole."""
        ...

    async def discard(self) -> None:
        """Leave nothing behind, unless ``finish`` is through."""
        ...


class EndListener(Protocol):
    """Somebody who is told how a task ended; nothing here waits or raises."""

    def settled(self, outcome: ImageResult | ApiModelsError) -> None:
        """Take in how it ended."""
        ...

    def handed_over(self) -> None:
        """Take in that its end reached a caller."""
        ...

    def found(self, task_id: str) -> None:
        """Take in that this is the task of an order that counted as lost."""
        ...


class Observer(Protocol):
    """Somebody who watches orders from call to result, such as a tracer."""

    def ordering(
        self, request: AnyRequest, idempotency_key: str | None = None
    ) -> AbstractContextManager[Callable[[str], None]]:
        """Surround one order; what it yields is called with the task id, once known."""
        ...


@frozen(eq=False, repr=False)
class Hint(Value):
    """
    What a callback is to us: a reason to look at one task. Nothing in it is believed.
    """

    nonce: str
    """Of the order, from the address that was called."""
    task_id: str
    """As the body names it."""


class Relay(Protocol):
    """
    Carries hints from where callbacks are received to the sessions that wait for them.

    Losing one is harmless (polling goes on), and so is carrying one twice.
    """

    async def publish(self, hint: Hint) -> bool:
        """
        Offer *hint* to every session; return whether one of them took it.

        A relay that cannot know returns True once the hint is on its way.
        """
        ...

    def listening(
        self, take: Callable[[Hint], bool]
    ) -> AbstractAsyncContextManager[object]:
        """
        Call *take* for every hint while this is open; it may be called in any thread.

        It returns at once, True if the hint is for its session, and raises nothing.
        """
        ...


class Waitable(Protocol):
    """Something that can become true, such as an event."""

    async def wait(self) -> object:
        """Return once it is true."""
        ...


class Clock(Protocol):
    """Time as ``_io`` sees it."""

    def time(self) -> float:
        """Return monotonic seconds."""
        ...

    def utcnow(self) -> datetime:
        """Return the wall clock, for people and for the API's dates."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for *seconds*."""
        ...

    async def wait(self, event: Waitable, until: float | None) -> None:
        """Wait for *event*, at most until *until* on ``time`` (None: for ever)."""
        ...
