"""
Finds out how pending tasks end: one coroutine sweeps them all, some pollers ask.

Rules of this file:
1. It carries; ``apimodels_async._core.polling.ledger`` decides.
2. A poll that fails in any way is an answer like any other: it goes to the ledger,
   which keeps the task.
3. Nobody waits for a dead tracker: however ``Tracker.run`` ends, every waiter is
   told, and later calls are refused before money is spent.

Theory of operation:
1. ``run`` sleeps until the next tick or deadline, takes what is due off the ledger's
   grid, and puts it in a deque.
2. At most ``max_polls`` pollers draw from the deque. They persist between sweeps (a
   task made per poll would cost as much as decoding its answer) and live in a task
   group inside ``run``, so they end with it.
3. An answer settles an entry, and with it the futures of its waiters: one for each,
   made when it waits, so that a cancellation is its own.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
from collections import deque
from typing import TYPE_CHECKING, Final

from attrs import define, field

from apimodels_async._api import requests, responses
from apimodels_async._api.refusals import OK
from apimodels_async._core.money.retry import failure_error, info_of
from apimodels_async._core.polling.brake import THROTTLED, Brake
from apimodels_async._ports import Kind, Reply, Sent
from apimodels_async._text import counted
from apimodels_async.errors import (
    ApiModelsError,
    APIStatusError,
    ConfigurationError,
    SessionClosedError,
)
from apimodels_async.models import TaskEvent, TaskSnapshot, TaskState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from apimodels_async._core.counters import Counters
    from apimodels_async._core.polling.entry import Entry
    from apimodels_async._core.polling.ledger import Ledger
    from apimodels_async._ports import Clock, Transport

logger: logging.Logger = logging.getLogger("apimodels_async.tracker")

KNOWN_STATES: Final = frozenset(TaskState)
SLICE: Final = 100
"""Waiters notified in one iteration of the event loop."""
BEGUN: Final = 16
"""Polls begun in one iteration: a sweep is no burst, and nor are its answers."""


@define(eq=False, repr=False)
class _Watchers:
    """Those who wait for one entry, and what its event streams have to show."""

    waiting: dict[asyncio.Future[None], None] = field(
        factory=dict["asyncio.Future[None]", None]
    )
    """For its end; told in the order in which they came."""
    changed: asyncio.Future[None] | None = None
    """For its next change of state, its end included: one for all event streams."""
    events: list[TaskEvent] = field(factory=list[TaskEvent])

    def tell(self, *, ended: bool) -> None:
        """Let go on who waits for what has come."""
        told, self.changed = self.changed, None
        if told is not None:
            told.set_result(None)
        if ended:
            for waiter in self.waiting:
                if not waiter.done():  # it was cancelled
                    waiter.set_result(None)


@define(eq=False, repr=False)
class Tracker:
    """The driver of a ledger. Must be made in a running loop."""

    ledger: Ledger
    _transport: Transport
    _clock: Clock
    _max_polls: int
    _counters: Counters
    _brake: Brake = field(init=False, factory=Brake)
    _queue: deque[Entry] = field(init=False, factory=deque)
    _idle: deque[asyncio.Future[None]] = field(init=False, factory=deque)
    _pollers: int = field(init=False, default=0)
    _wake: asyncio.Event = field(init=False, factory=asyncio.Event)
    _armed: float = field(init=False, default=math.inf)
    """Until when run() sleeps."""
    _watchers: dict[str, _Watchers] = field(init=False, factory=dict)
    _unknown_states: set[str] = field(init=False, factory=set)
    _loop: asyncio.AbstractEventLoop = field(init=False)
    _sweeper: asyncio.Task[None] | None = field(init=False, default=None)
    _on_end: Callable[[], None] | None = field(init=False, default=None)
    _end: SessionClosedError | None = field(init=False, default=None)
    """Why nothing is tracked any more."""
    lost_keys: dict[str, str] = field(init=False, factory=dict)
    """After the end: id of a task pending then -> idempotency key of its order."""

    def __attrs_post_init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def start(self, on_end: Callable[[], None] | None = None) -> None:
        """
        Start the one coroutine, in an empty context: a caller's trace or request id
        must not hang on to every poll of everybody's tasks.

        Args:
            on_end: Called once nothing is tracked any more, whatever ended it.
        """
        self._on_end = on_end
        self._sweeper = self._loop.create_task(
            self.run(), name="apimodels-tracker", context=contextvars.Context()
        )
        self._sweeper.add_done_callback(self._ended)

    def check_loop(self) -> None:
        """
        Raise ``ConfigurationError`` in any event loop but the session's.

        A future of ours that is awaited there would never end, or end this tracker.
        """
        if asyncio.get_running_loop() is not self._loop:
            msg = (
                "this handle belongs to a Session in another event loop: await it "
                "there, or attach its task id to a Session of this loop"
            )
            raise ConfigurationError(msg)

    def check_alive(self) -> None:
        """Raise ``SessionClosedError`` if nothing is tracked any more."""
        if self._end is not None:
            raise self._end.fresh()

    def check_usable(self, task_id: str | None = None) -> None:
        """
        Refuse new work with ``SessionClosedError`` if nothing is tracked any more.

        Args:
            task_id: Of the task that it is about, which may be charged; None: it buys
                something, and nothing was sent.
        """
        if self._end is not None:
            error = self._end.fresh(task_id=task_id)
            error.charged = None if task_id else False
            raise error

    def watch(self, entry: Entry) -> None:
        """Track *entry* until it settles."""
        self.check_alive()
        now = self._clock.time()
        self.ledger.watch(entry, now)
        self._rearm(now)

    def hint(self, entry: Entry) -> None:
        """Look at *entry* soon: something said that it has ended."""
        now = self._clock.time()
        self.ledger.hint(entry, now)
        self._rearm(now)

    def drop(self, entry: Entry) -> None:
        """Look at *entry* no more, unless somebody waits for it by now."""
        for dropped in self.ledger.drop(entry, self._clock.time()):
            self._notify(dropped)

    def seconds_since_poll(self, entry: Entry) -> float | None:
        """Return how many seconds ago *entry* was last polled; None: not yet."""
        ago = self._clock.time() - entry.started_at
        return ago if math.isfinite(ago) else None

    async def wait(self, entry: Entry) -> None:
        """Return once *entry* has an outcome."""
        self.check_loop()
        while not entry.done:
            self.check_alive()
            waiting = self._watchers_of(entry).waiting
            ended = self._loop.create_future()
            waiting[ended] = None
            try:
                await ended
            finally:
                waiting.pop(ended, None)

    async def seen(self, entry: Entry) -> bool:
        """
        Return whether the API has said a word about *entry*, once it has or it ended.
        """
        while not entry.seen and not entry.done:
            await self._change(entry)
        return entry.seen

    async def events(self, entry: Entry) -> AsyncIterator[TaskEvent]:
        """
        Yield the current state, then each change once, until *entry* has an outcome.
        """
        self.check_loop()
        if entry.done:
            if entry.seen:
                yield self._event(entry)
            return
        self.check_alive()
        watchers = self._watchers_of(entry)
        while not entry.seen:
            await self._change(entry)
            if entry.outcome is not None and not entry.seen:
                return  # it ended before the API ever said a word about it
        if not watchers.events:
            watchers.events.append(self._event(entry))
        seen = len(watchers.events) - 1
        while True:
            # A slow reader catches up here: events are kept until the task ends.
            while seen < len(watchers.events):
                yield watchers.events[seen]
                seen += 1
            if entry.outcome is not None:
                return
            await self._change(entry)

    async def _change(self, entry: Entry) -> None:
        """Return at the next change of *entry*, which is pending."""
        watchers = self._watchers_of(entry)
        if watchers.changed is None:
            watchers.changed = self._loop.create_future()
        # One waiter's cancellation is not the others'.
        await asyncio.shield(watchers.changed)

    def _watchers_of(self, entry: Entry) -> _Watchers:
        found = self._watchers.get(entry.task_id)
        if found is None:
            found = self._watchers[entry.task_id] = _Watchers()
        return found

    def _event(self, entry: Entry) -> TaskEvent:
        return TaskEvent(entry.state, entry.task_id, self._clock.utcnow())

    async def run(self) -> None:
        """Sweep until cancelled."""
        async with asyncio.TaskGroup() as pollers:
            while True:
                now = self._clock.time()
                # While this waits, pollers apply answers and callers watch() new
                # entries. What they set _wake for is cleared below, and not lost: the
                # next wake-up is computed after that, from what the ledger holds then.
                await self._notify_all(self.ledger.expire(now))
                if now >= self._brake.until:
                    self._queue.extend(self.ledger.due(now))
                    await self._start_pollers(pollers)
                # No await between these two and the wait: a watch() or an answer that
                # comes later compares with the new _armed and sets the event.
                self._wake.clear()
                self._armed = at = self._next_wake(now)
                await self._clock.wait(self._wake, None if at == math.inf else at)

    def _next_wake(self, now: float) -> float:
        due = self.ledger.next_due()
        if now < self._brake.until:
            due = self._brake.until if self._queue else max(due, self._brake.until)
        return min(self.ledger.next_deadline(), due)

    def _rearm(self, now: float) -> None:
        # Most answers put their entry behind others: waking run() for each would
        # cost one wake-up a poll, which the grid is there to save.
        if self._next_wake(now) < self._armed:
            self._wake.set()

    async def _start_pollers(self, pollers: asyncio.TaskGroup) -> None:
        free = len(self._idle) + self._max_polls - self._pollers
        for number in range(min(len(self._queue), free)):
            if number and number % BEGUN == 0:
                await asyncio.sleep(0)
            if self._idle:
                self._idle.popleft().set_result(None)
            else:
                self._pollers += 1
                pollers.create_task(self._poll_queue(), name="apimodels-poller")

    async def _poll_queue(self) -> None:
        while True:
            while self._queue and self._clock.time() >= self._brake.until:
                entry = self._queue.popleft()
                if not entry.done:
                    await self._poll(entry)
            if self._queue:  # braked with work left: run() comes back for it
                self._rearm(self._clock.time())
            idle: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(idle)
            await idle

    async def _poll(self, entry: Entry) -> None:
        started = self._clock.time()
        entry.started_at = started
        # The entry is off the grid from due() until apply() puts it back, so no second
        # poll of it can start while this one waits. hint() and expire() may touch it.
        self._counters.polled(started - entry.due_at)
        answer = await self._ask(entry)
        now = self._clock.time()
        self._note_answer(answer, started, now)
        before = entry.state if entry.seen else None
        # The deadline, a refused key or close() may have settled this entry while
        # we awaited; apply() then changes nothing.
        settled = self.ledger.apply(entry, answer, now)
        if settled:
            await self._notify_all(settled)
        elif entry.state != before:
            self._notify(entry)
        self._rearm(now)

    async def _ask(self, entry: Entry) -> TaskSnapshot | ApiModelsError:
        request, sent = requests.poll(entry.task_id), Sent()
        reply = await self._transport.send(request, sent)
        if isinstance(reply, Reply):
            return _read(entry, reply)
        if reply.closed:  # no poll will ever be answered: who waits is told now
            msg = "the connection pool is closed"
            raise RuntimeError(msg)
        return failure_error(Kind.FREE, reply, info_of(request, sent))

    def _note_answer(
        self, answer: TaskSnapshot | ApiModelsError, started: float, now: float
    ) -> None:
        if isinstance(answer, TaskSnapshot):
            self._brake.recovered(started)
            self._log_unknown_state(answer)
            return
        self._counters.poll_errors += 1
        logger.debug("poll failed, task stays pending: %s", answer)
        if isinstance(answer, APIStatusError) and answer.status in THROTTLED:
            self._brake.throttled(started, now, answer.retry_after)

    def _log_unknown_state(self, answer: TaskSnapshot) -> None:
        word = answer.state
        if word not in KNOWN_STATES and word not in self._unknown_states:
            self._unknown_states.add(word)
            means = "not finished" if answer.error is None else "an end of unknown cost"
            logger.warning("unknown task state %r counts as %s", str(word), means)

    async def _notify_all(self, settled: list[Entry]) -> None:
        # Each waiter runs in the loop's next iteration. 2,000 of them in one iteration
        # would hold up everything else, so they are notified in slices. The entries
        # have settled already: who asks in between sees the outcome, not a notice.
        left = deque(settled)
        try:
            while left:
                for _ in range(min(SLICE, len(left))):
                    self._notify(left.popleft())
                if left:
                    await asyncio.sleep(0)
        finally:
            for entry in left:  # cancelled here: the rest is notified all the same
                self._notify(entry)

    def _notify(self, entry: Entry) -> None:
        if not entry.glance:  # what is no order's is not counted
            self._counters.ended(entry.task_id, entry.outcome)
        if entry.outcome is not None:
            if entry.permit is not None:
                entry.permit.release()
            if entry.record is not None:
                entry.record.settled(entry.outcome)
        watchers = self._watchers.get(entry.task_id)
        if watchers is None:
            return
        if watchers.events and watchers.events[-1].state != entry.state:
            watchers.events.append(self._event(entry))
        if entry.done:
            del self._watchers[entry.task_id]
        watchers.tell(ended=entry.done)

    def _ended(self, sweeper: asyncio.Task[None]) -> None:
        """Tell every waiter, whether the session closed or the tracker broke."""
        if self._end is not None:
            return
        cause = None if sweeper.cancelled() else sweeper.exception()
        if cause is not None:
            logger.error("the tracker stopped; attach the tasks again", exc_info=cause)
        task_ids = tuple(self.ledger)
        why = "the session is closed" if cause is None else "the tracker stopped"
        left = counted(len(task_ids), "task")
        msg = f"{why} with {left} pending; attach them again by id"
        self._end = SessionClosedError(msg if task_ids else why, task_ids=task_ids)
        self._end.__cause__ = cause
        for entry in self.ledger.close(self._end):
            key = getattr(entry.record, "idempotency_key", None)
            if key is not None:
                self.lost_keys[entry.task_id] = key
            self._notify(entry)
        if self._on_end is not None:
            self._on_end()

    async def aclose(self) -> tuple[str, ...]:
        """Stop; return the ids of the tasks that were pending."""
        sweeper = self._sweeper
        if sweeper is not None:
            if not sweeper.done():
                sweeper.cancel()
                await asyncio.wait([sweeper])
            # Where all tasks of a program are cancelled in one go, it is done and its
            # callback still waits for its turn.
            self._ended(sweeper)
        return self.lost

    @property
    def lost(self) -> tuple[str, ...]:
        """The ids of the pending tasks; after the end, of those pending then."""
        return tuple(self.ledger) if self._end is None else self._end.task_ids


def _read(entry: Entry, reply: Reply) -> TaskSnapshot | ApiModelsError:
    # Most answers are the last one again, word for word: reading it costs as much as
    # all else that we do for a poll. Two texts of one hash would cost one poll more.
    heard = hash(reply.body)
    if heard == entry.heard and reply.status == OK:
        return TaskSnapshot(entry.task_id, entry.state)
    try:
        answer = responses.read_task(reply, entry.task_id, entry.model)
    except ApiModelsError as error:
        return error
    if answer.result is None and answer.error is None:
        entry.heard = heard
    return answer
