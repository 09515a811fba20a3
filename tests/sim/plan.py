"""
What is going to happen in a run, as one flat list that a seed decides.

Everything in the list can be dropped on its own and the rest still makes sense: a fault
of an order that is not there never strikes, an order whose actor is not there is not
placed. That is how a failing run is made short. Every order and process has chance of
its own, so what is dropped changes little for what stays.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields


@dataclass(frozen=True, slots=True)
class Process:
    """A program with one session."""

    number: int
    seed: int
    interval: float = 2.5
    deadline: float = 120.0
    connections: int = 100
    callbacks: bool = False
    learned: bool = False
    store: bool = False
    trouble: float = 0.0
    """Share of the calls to its store that fail."""
    acks: float = 1.0
    """Share of the orders it recovers that it deals with."""


@dataclass(frozen=True, slots=True)
class Actor:
    """A user's coroutine in a process."""

    number: int
    process: int
    at: float
    kind: str
    """generate, submit, attach, batch or recover."""
    manner: str = ""
    """What is done with the handle or the result."""
    again: bool = False
    """Asks again after an unknown outcome."""
    journal: bool = False
    max_pending: int = 5
    max_cost: float | None = None
    download: bool = False
    reruns: int = 0
    resubmit: bool = False
    of: int = 0
    """The order of another actor that this one places, too, under its key."""
    twist: bool = False
    """Orders something else under that key."""
    retries: int = 0
    """Times it orders again after an error."""
    returns: bool = False
    """Begins anew when its process died."""


@dataclass(frozen=True, slots=True)
class Order:
    """One picture that an actor wants, and what the vendor is going to make of it."""

    number: int
    actor: int
    seed: int
    model: str = "gpt-image-2"
    queue_s: float = 1.0
    work_s: float = 20.0
    fate: str = "completed"
    keyed: bool = False
    """Has an idempotency key."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong with one request for an order."""

    order: int
    where: str
    """create, poll, file or callback."""
    nth: int
    """Of these requests, 1 is the first."""
    kind: str


@dataclass(frozen=True, slots=True)
class Leave:
    """An actor that does not wait for the end."""

    actor: int
    how: str
    """steps (handles of the loop), time, timeout or break."""
    amount: float
    twice: bool = False


@dataclass(frozen=True, slots=True)
class Storm:
    """Something that goes wrong for everybody."""

    at: float
    seconds: float
    kind: str


@dataclass(frozen=True, slots=True)
class Close:
    """A session that is closed before its users are through."""

    process: int
    at: float
    patience: float | None = None
    """Seconds after which closing is cancelled, and begun again."""


@dataclass(frozen=True, slots=True)
class Death:
    """A process that ends between two steps, and what has a journal begins anew."""

    process: int
    at: float
    steps: int
    """Handles of the loop after that time."""


@dataclass(frozen=True, slots=True)
class Nap:
    """A process that is stopped for a while, and then goes on."""

    process: int
    at: float
    seconds: float
    suspended: bool = False
    """Whether its monotonic clock stops, too."""


@dataclass(frozen=True, slots=True)
class Jump:
    """A wall clock that is set."""

    process: int | None
    """None: everybody's, and the store's."""
    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Server:
    """The Redis server that the store of all processes is on, in place of memory."""

    seed: int
    flush: str = "always"
    """Its appendfsync: always or everysec."""
    waits: bool = False
    """Whether it can be asked to wait for its disk (WAITAOF)."""
    replicas: int = 0
    """That are waited for."""
    trouble: float = 0.0
    """Share of the requests to it that something happens to."""


@dataclass(frozen=True, slots=True)
class Outage:
    """Something that happens to that server."""

    at: float
    seconds: float
    kind: str
    """cut, hangs, away, crash (of its machine), or failover (to a replica)."""
    forgets: float
    """Seconds by which the replica is behind."""


def describe(item):
    """Return an item of a plan in one line, without what is as usual."""
    told = [type(item).__name__.lower()]
    for each in fields(item):
        value = getattr(item, each.name)
        if each.name != "seed" and (each.default is MISSING or value != each.default):
            shown = f"{value:.3f}" if isinstance(value, float) else value
            told.append(f"{each.name}={shown}")
    return " ".join(told)
