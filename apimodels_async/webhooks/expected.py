"""
The callbacks a session expects: one for each order, until an hour after it was sent.

Rules of this file:
1. A hint decides nothing. The order's own task is polled sooner, whatever the hint
   names.
2. An order has one task: the one that the API's answer names. Where that answer was
   lost, a hint says which task to look at, and it becomes the order's only if the API
   itself says that it has ended, as callbacks come then, and that it was made while the
   order was out. Naming it is not enough, nor that it exists. A task of another order
   of this session, or of its store, is never taken.
3. For each lost order one task is looked at, once an interval, however many are named.

Theory of operation:
1. Each order has an expected callback, found by its nonce, from before it is sent until
   an hour later, when the API has long given up calling.
2. An order whose answer is lost waits here for some time, in the order's own task, so a
   caller who is cancelled loses nothing. What is found later becomes an orphan.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import math
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

from apimodels_async._core.polling.entry import Entry
from apimodels_async.errors import SessionClosedError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from apimodels_async._core.counters import Counters
    from apimodels_async._io.tracker import Tracker
    from apimodels_async._ports import Clock, Hint
    from apimodels_async.stores.sent_order import SentOrder
    from apimodels_async.webhooks.callback import Callback

logger: logging.Logger = logging.getLogger("apimodels_async.webhooks")

KEPT_S: Final = 3600.0
"""A task ends within 30 minutes, or we stop asking; the API calls for 30 more."""
RELISTEN_S: Final = 5.0
EARLY_S: Final = 2.0
"""Before we began to send, by the API's clock, which it tells in whole seconds; so does
a journal."""
LATE_S: Final = 30.0
"""After the answer was lost: a gateway may still have held the request."""
LOOK_MIN_S: Final = 2.0
"""For one look, also where an emulator is polled many times a second."""
LOOKS: Final = 3
"""Intervals to wait for the end of a task that a hint named."""
NAMED_MAX: Final = 16
"""Tasks that wait to be looked at, for one order. The API will call again."""
REFUTED_MAX: Final = 256


@define(eq=False, repr=False)
class ExpectedCallback:
    """The callback that an order is to get."""

    nonce: str
    model: str | None
    made_at: float
    sent_since: float
    """When it was sent at the earliest."""
    record: SentOrder | None = None
    """Where the order is written down, if it is."""
    task_id: str | None = None
    """Of its task, once known; empty where the answer was the picture itself."""
    salvaged: str | None = None
    """The task that its broken answer shows."""
    lost_at: float = 0.0
    """When it was sent at the latest, where its answer was lost."""
    called: bool = False
    """Whether a hint has come."""
    named: dict[str, None] = field(factory=dict[str, None])
    """The tasks that hints named and that are still to be looked at, oldest first."""
    refuted: set[str] = field(factory=set[str])
    """Those of which the API has said that they are something else."""
    looked_at: float = -math.inf
    wake: asyncio.Event | None = None
    """Set by a hint, while one is waited for."""
    lost: bool = False
    """Its fate was reported as unknown: what is found now is an orphan."""

    @property
    def settled(self) -> bool:
        """
        Whether its callback is not needed again.

        With a record not before that names the task: after a crash in between the
        callback may be the only one who still knows it.
        """
        if self.task_id is None:
            return False
        return self.record is None or self.record.durable


@define(eq=False, repr=False)
class ExpectedCallbacks:
    """The expected callbacks of one session. Must be made in its loop."""

    callback: Callback
    _tracker: Tracker
    _clock: Clock
    _counters: Counters
    _loop: asyncio.AbstractEventLoop = field(init=False)
    _expected: dict[str, ExpectedCallback] = field(
        init=False, factory=dict[str, ExpectedCallback]
    )
    _adopt_late: Callable[[Entry], None] = field(init=False)
    _tasks: set[asyncio.Task[None]] = field(
        init=False, factory=set["asyncio.Task[None]"]
    )
    _again: asyncio.TimerHandle | None = field(init=False, default=None)
    _ended: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def start(self, adopt_late: Callable[[Entry], None]) -> None:
        """
        Start listening to the relay.

        Args:
            adopt_late: Called with the task of an order that was reported lost.
        """
        self._adopt_late = adopt_late
        self._listen()

    def _listen(self) -> None:
        listener = self._own(self._hear(), "apimodels-callbacks")
        listener.add_done_callback(self._on_listener_stopped)

    def _own(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        # An empty context, as the tracker's: it serves every caller.
        task = self._loop.create_task(work, name=name, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _hear(self) -> None:
        async with self.callback.relay.listening(self.take):
            await self._loop.create_future()  # until cancelled

    def _on_listener_stopped(self, listener: asyncio.Task[None]) -> None:
        # A relay is the user's, and may break in its own ways: polling goes on.
        trouble = None if listener.cancelled() else listener.exception()
        if trouble is not None and not self._ended:
            logger.warning("no callbacks for now: %r", trouble)
            self._again = self._loop.call_later(RELISTEN_S, self._listen)

    def expect(
        self,
        model: str | None,
        record: SentOrder | None = None,
        nonce: str | None = None,
        age_s: float = 0.0,
    ) -> ExpectedCallback:
        """
        Return what a new order expects, or one of an earlier run by its *nonce*.

        Args:
            age_s: Seconds since it was sent, at most.
        """
        now = self._clock.time()
        for old in list(islice(self._expected.values(), 2)):  # the two oldest
            if old.made_at < now - KEPT_S:
                del self._expected[old.nonce]
        nonce = nonce or self.callback.new_nonce()
        expected = ExpectedCallback(nonce, model, now, now - age_s, record)
        self._expected[nonce] = expected
        return expected

    def task_of(self, nonce: str) -> str | None:
        """Return the id of the task that is known to be the order's."""
        expected = self._expected.get(nonce)
        return expected.task_id if expected is not None else None

    def answered(self, expected: ExpectedCallback, entry: Entry | None) -> None:
        """
        Take note of the task that the API's answer names; None: it named none.

        Its callback may have been faster than the answer.
        """
        expected.task_id = "" if entry is None else entry.task_id
        if entry is not None and not entry.done and expected.called:
            self._tracker.hint(entry)

    def take(self, hint: Hint) -> bool:
        """
        Take a hint; False if it is for another session, or has to come again.

        Called in whatever thread the relay is at home in.
        """
        expected = self._expected.get(hint.nonce)
        if expected is None:
            return False
        try:
            self._loop.call_soon_threadsafe(self._follow, hint)
        except RuntimeError:  # the loop is closed
            return False
        # Heard now, and again later if we should be killed before it is on the disk:
        # the API is the one who remembers.
        return expected.settled

    def _follow(self, hint: Hint) -> None:
        expected = self._expected.get(hint.nonce)
        if expected is None or self._ended:
            return
        self._counters.callbacks += 1
        if expected.task_id is None:
            expected.called = True
            if hint.task_id in expected.refuted:
                return
            if len(expected.named) < NAMED_MAX:
                expected.named[hint.task_id] = None
            if expected.wake is not None:
                expected.wake.set()
            elif expected.lost:
                self._own(self._find_late(expected), "apimodels-late-callback")
            return
        # The address is the order's own, so that is where we look, whatever task the
        # body names.
        entry = self._tracker.ledger.get(expected.task_id)
        if entry is not None:
            self._tracker.hint(entry)

    async def wait_for_task(
        self, expected: ExpectedCallback, salvaged: str | None
    ) -> Entry | None:
        """
        Wait for the callback of an order of unknown fate; return its task, confirmed.

        Args:
            salvaged: A task id that its broken answer shows.
        """
        expected.salvaged, expected.lost_at = salvaged, self._clock.time()
        if salvaged is not None:
            expected.named = {salvaged: None, **expected.named}
        until = expected.lost_at + self.callback.patience
        entry = await self._search(expected, until)
        expected.lost = entry is None
        return entry

    async def _find_late(self, expected: ExpectedCallback) -> None:
        entry = await self._search(expected, math.inf)
        if entry is not None:
            entry.follow(expected.record)
            key = getattr(entry.record, "idempotency_key", None)
            order = "an order" if key is None else f"order {key!r}"
            logger.warning("%s of unknown fate is task %s", order, entry.task_id)
            self._adopt_late(entry)

    async def _search(self, expected: ExpectedCallback, until: float) -> Entry | None:
        """Look at what hints name, until *until*; if that is never, at what is left."""
        expected.wake = wake = asyncio.Event()
        try:
            while not self._ended:
                now = self._clock.time()
                if now >= until and expected.salvaged not in expected.named:
                    break
                if until == math.inf and not expected.named:
                    break
                again = expected.looked_at + self._tracker.ledger.interval
                if not expected.named or now < again:
                    at = min(again, until) if expected.named else until
                    await self._clock.wait(wake, at)
                    wake.clear()
                    continue
                entry = await self._look(expected)
                if entry is not None:
                    return entry
        finally:
            expected.wake = None
        return None

    async def _look(self, expected: ExpectedCallback) -> Entry | None:
        """Return the next task that is named, if the API says it is the order's."""
        ledger, task_id = self._tracker.ledger, next(iter(expected.named))
        del expected.named[task_id]
        if self._is_anothers(expected, task_id):
            return None
        entry = ledger.get(task_id)
        if entry is None:
            entry = Entry(task_id, expected.model, attached=True, glance=True)
            try:
                self._tracker.watch(entry)
            except SessionClosedError:
                return None
        expected.looked_at = self._clock.time()
        await self._see(expected, entry)
        expected.looked_at = max(expected.looked_at, entry.started_at)
        ours = self._fits(expected, entry)
        if ours and expected.record is not None:  # another process may know better
            ours = await expected.record.may_have(task_id)
        # While we waited, another order's answer may have named it.
        if not ours or self._is_anothers(expected, task_id):
            self._tracker.drop(entry)
            return None
        expected.task_id = task_id
        ledger.claimed.add(task_id)
        if entry.glance:
            ledger.keep(entry)
            self._counters.ended(entry.task_id, entry.outcome)
        return entry

    def _is_anothers(self, expected: ExpectedCallback, task_id: str) -> bool:
        claimed = task_id in self._tracker.ledger.claimed
        if claimed and task_id != expected.salvaged:
            self._refute(expected, task_id)
            return True
        return claimed and any(
            other.task_id == task_id for other in self._expected.values()
        )

    async def _see(self, expected: ExpectedCallback, entry: Entry) -> None:
        """Wait until the API has said what there is to know, for some polls."""
        interval = self._tracker.ledger.interval
        patience = max(LOOK_MIN_S, (LOOKS - 0.5) * interval)
        with contextlib.suppress(TimeoutError, SessionClosedError):
            if entry.task_id == expected.salvaged:
                await self._tracker.seen(entry)
                return
            async with asyncio.timeout(patience):
                await self._tracker.wait(entry)

    def _fits(self, expected: ExpectedCallback, entry: Entry) -> bool:
        """Return whether the API's own words make *entry* the order's task."""
        if entry.task_id == expected.salvaged:  # they named it, in the order's answer
            return entry.seen
        if not entry.done or not entry.seen or not entry.ended_by_word:
            return False
        fits = False
        if entry.created_at is not None:
            told_at = entry.answered_at or self._clock.utcnow()
            age = (told_at - entry.created_at).total_seconds()
            made = self._clock.time() - age
            earliest = expected.sent_since - EARLY_S
            fits = earliest <= made <= expected.lost_at + LATE_S
        if not fits:
            self._refute(expected, entry.task_id)
        return fits

    @staticmethod
    def _refute(expected: ExpectedCallback, task_id: str) -> None:
        if len(expected.refuted) < REFUTED_MAX:
            expected.refuted.add(task_id)

    def give_up(self) -> None:
        """End every wait for a callback: the session closes."""
        self._ended = True
        for expected in self._expected.values():
            if expected.wake is not None:
                expected.wake.set()

    async def aclose(self) -> None:
        """Stop listening."""
        if self._again is not None:
            self._again.cancel()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))
