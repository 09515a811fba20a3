"""
The only file here that knows the library's inside: its seams, played by the simulation.

What is not public elsewhere in this folder comes from here.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import attrs
from sim.outside.disk import SimSink

from apimodels_async import ImageResult, Session, TaskHandle
from apimodels_async._adapters import Adapters
from apimodels_async._io.clock import LoopClock
from apimodels_async._io.files.downloads import Files, _Trouble
from apimodels_async._ports import Failure, Kind, Phase, Reply
from apimodels_async._runtime import State
from apimodels_async.errors import DownloadError
from apimodels_async.stores.redis.calls import Waiting

__all__ = ["Failure", "Kind", "Phase", "Reply"]

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
LOGGER = "apimodels_async"
PACKAGE = "apimodels_async/"
PLAIN = (str, bytes, bytearray, dict, tuple, Reply, Failure, BaseException)
"""What is searched for the key: the rest has a repr of its own that is, or is long."""


def utc(seconds):
    """Return the wall clock at a virtual time."""
    return EPOCH + timedelta(seconds=seconds)


class SimSession(Session):
    """A session in a simulated process."""

    def __init__(self, outside, *args, **options):
        self._outside = outside
        super().__init__(*args, **options)

    def _make_adapters(self):
        return self._outside


class SimAdapters(Adapters):
    """What a process of the simulation gives its session."""

    def __init__(self, life, chance):
        self._life = life
        self._chance = chance

    def view(self, session):
        """Return the session as its users see it."""
        return session

    def clock(self):
        """Return the process's clock."""
        return SimClock(self._life)

    def store(self, store):
        """Return the way to the store that all processes share."""
        return store

    def draw(self):
        """Draw from the process's own chance."""
        return self._chance.random()

    def transport(self, options):
        """Return the way to the simulated API."""
        return SimPool(self._life.network, options.key)

    def files(self, clock, timeouts, retry, refresh, *, local, **_options):
        """Return the way to the simulated file host."""
        files = SimFiles(clock, timeouts, retry, self.draw, local, refresh, None)
        files.network = self._life.network
        return files

    def sink(self, target, keeping, *_args):
        """Return a place on the simulated disk."""
        return SimSink(self._life.disk, target, keeping.stem)

    def journal(self, path):
        """Return a journal on the simulated disk."""
        from sim.outside.store import SimJournal

        return SimJournal(path, self._life, self._chance)


class SimClock(LoopClock):
    """The loop's time, and a wall clock that may be set."""

    def __init__(self, life):
        super().__init__()
        self._life = life

    def utcnow(self):
        """Return the wall clock."""
        return self._life.wall()


class SimPool:
    """The session's transport."""

    connections = 0

    def __init__(self, network, key):
        self.network = network
        self._key = key

    async def send(self, request, sent):
        """Carry a request; what comes back has the key masked, as the Protocol says."""
        answer = await self.network.send(request, sent)
        body = self._key.mask(answer.body)
        return answer if body is answer.body else attrs.evolve(answer, body=body)

    async def aclose(self):
        """Take no request any more."""
        self.network.closed = True


class SimFiles(Files):
    """Downloads with the library's own retries, over the simulated network."""

    __slots__ = ("network",)

    async def _fetch(self, address, transfer):
        status, content, whole = await self.network.fetch(address)
        if status != 200:
            return _Trouble(f"HTTP {status}", status, status >= 500)
        if content is None:
            msg = "the disk is full"
            raise DownloadError(msg)
        await transfer.restart(None)
        await transfer.sink.add(content)
        return None if whole else _Trouble("cut")

    async def aclose(self):
        """Close nothing."""


# --- looking into a session


def wait_for_nothing(store):
    """Let an open ``RedisStore`` take as durable what was answered."""
    store._open.waiting = Waiting()


def write_nothing_again(store):
    """Let a ``RedisStore`` know nothing of what it has begun."""
    store._claims.begun.clear()


def attempt_of(memory, number):
    """Return the record of an attempt in a ``MemoryStore``, or None."""
    found = memory._attempts.get(number)
    return None if found is None else found.record


def attempts_of(memory):
    """Return all attempts of a ``MemoryStore``, oldest first, to be changed."""
    return list(memory._attempts.values())


def lease_of(memory):
    """Return until when each owner counts as alive, to be changed."""
    return memory._alive_until


def current(memory, key):
    """Return the attempt that a key names, or None."""
    found = [n for (_, name), n in memory._current.items() if name == key]
    return found[0] if found else None


def entry_of(session, task_id):
    """Return what the session tracks a task by, or None."""
    parts = session._runtime.parts
    return None if parts is None else parts.tracker.ledger.get(task_id)


def keys_of(things):
    """Return the task ids and addresses that handles, results and errors name."""
    found = set()
    for thing in things:
        if isinstance(thing, ImageResult):
            found.update((thing.task_id or thing.url, *thing.urls))
        elif isinstance(thing, TaskHandle):
            found.add(thing.task_id)
            if isinstance(thing._entry.outcome, ImageResult):
                found.update(thing._entry.outcome.urls)
        elif thing is not None:
            found.add(thing.task_id or getattr(thing.request, "digest", None))
    return found


def digest(body):
    """Return what an error calls a request by."""
    return hashlib.sha256(body).hexdigest()[:16]


def disown(session):
    """Let a session whose process has died go without a warning."""
    session._runtime.state = State.CLOSED


def locals_of(error):
    """Return the locals of the library's frames that an error holds, as text."""
    found, trace = [], error.__traceback__
    while trace is not None:
        if PACKAGE in trace.tb_frame.f_code.co_filename:
            values = trace.tb_frame.f_locals.values()
            found += [repr(value) for value in values if isinstance(value, PLAIN)]
        trace = trace.tb_next
    return "\n".join(found)
