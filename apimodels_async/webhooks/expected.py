"""
The callbacks a session expects: one for each order, until an hour after it was sent.

Rules of this file:
1. A hint decides nothing. The order's own task is polled sooner, whatever the hint
   names.
2. An order has one task: the one that the API's answer names. Where that answer was
   lost, ``search`` finds out, and what it finds too late becomes an orphan.

Theory of operation: each order has an expected callback, found by its nonce, from
before it is sent until an hour later, when the API has long given up calling.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

from apimodels_async.webhooks.expected_callback import NAMED_MAX, ExpectedCallback
from apimodels_async.webhooks.search import TaskSearch

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from apimodels_async._core.counters import Counters
    from apimodels_async._core.polling.entry import Entry
    from apimodels_async._io.tracker import Tracker
    from apimodels_async._ports import Clock, Hint
    from apimodels_async.stores.sent_order import SentOrder
    from apimodels_async.webhooks.callback import Callback

logger: logging.Logger = logging.getLogger("apimodels_async.webhooks")

KEPT_S: Final = 3600.0
"""A task ends within 30 minutes, or we stop asking; the API calls for 30 more."""
RELISTEN_S: Final = 5.0


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
    search: TaskSearch = field(init=False)
    """Where an order waits whose answer was lost."""
    _adopt_late: Callable[[Entry], None] = field(init=False)
    _tasks: set[asyncio.Task[None]] = field(
        init=False, factory=set["asyncio.Task[None]"]
    )
    _again: asyncio.TimerHandle | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.search = TaskSearch(
            *(self.callback, self._tracker, self._clock, self._counters), self._expected
        )

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
        if trouble is not None and not self.search.ended:
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
        if expected is None or self.search.ended:
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

    async def _find_late(self, expected: ExpectedCallback) -> None:
        entry = await self.search.run(expected, math.inf)
        if entry is not None:
            entry.follow(expected.record)
            key = getattr(entry.record, "idempotency_key", None)
            order = "an order" if key is None else f"order {key!r}"
            logger.warning("%s of unknown fate is task %s", order, entry.task_id)
            self._adopt_late(entry)

    def give_up(self) -> None:
        """End every wait for a callback: the session closes."""
        self.search.ended = True
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
