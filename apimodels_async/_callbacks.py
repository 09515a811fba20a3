"""
What a session makes of hints: it looks at the task, or finds an order that was lost.

Rules of this file:
1. A hint decides nothing. A known task is polled sooner; an unknown one is polled like
   any attached id, and only an answer of the API's makes it the order's task.
2. An order has one task: the one the API's answer names, or else the first that was
   hinted at and is confirmed. A task of another order is never taken.

Theory of operation:
1. Each order has an intent, found by its nonce, from before it is sent until an hour
   later, when the API has long given up calling.
2. An order whose answer is lost waits here for some time, in the order's own task, so a
   caller who is cancelled loses nothing. What is found later becomes an orphan.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

from apimodels_async._core.polling.entry import Entry
from apimodels_async.errors import SessionClosedError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from apimodels_async._io.tracker import Tracker
    from apimodels_async._ports import Clock, Hint
    from apimodels_async.webhooks.callback import Callback

logger = logging.getLogger("apimodels_async.webhooks")

KEPT_S: Final = 3600.0
"""A task ends within 30 minutes, or we stop asking; the API calls for 30 more."""
RELISTEN_S: Final = 5.0


@define(eq=False)
class Intent:
    """
    An order that a callback may tell of.
    """

    nonce: str
    model: str | None
    made_at: float
    task_id: str | None = None
    """Of its task, by the API's answer; empty where there is none."""
    rumour: str | None = None
    """The task that a hint named last, while the answer is not there."""
    news: asyncio.Event | None = None
    """Set by a hint, while somebody waits for one."""
    lost: bool = False
    """Its fate was reported as unknown: what is found now is an orphan."""
    journalled: bool = False
    """A journal keeps it: until that names the task, its callback may be needed again
    after a crash."""
    recorded: bool = False
    """Its callback is not needed again."""


@define(eq=False)
class Callbacks:
    """
    The intents of one session. Must be made in its loop.
    """

    callback: Callback
    _tracker: Tracker
    _clock: Clock
    _named: set[str]
    """Ids of the tasks that this session ordered."""
    _found: Callable[[Entry], None]
    """Takes what is found too late for whoever ordered it."""
    taken: int = field(init=False, default=0)
    """Hints about orders of this session."""
    _loop: asyncio.AbstractEventLoop = field(init=False)
    _intents: dict[str, Intent] = field(init=False, factory=dict[str, Intent])
    _tasks: set[asyncio.Task[None]] = field(
        init=False, factory=set["asyncio.Task[None]"]
    )
    _again: asyncio.TimerHandle | None = field(init=False, default=None)
    _ended: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        """
        Start listening to the relay.
        """
        listener = self._own(self._listen(), "apimodels-callbacks")
        listener.add_done_callback(self._deaf)

    def _own(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        # An empty context, as the tracker's: it serves every caller.
        task = self._loop.create_task(work, name=name, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _listen(self) -> None:
        async with self.callback.relay.listening(self.take):
            await self._loop.create_future()  # until cancelled

    def _deaf(self, listener: asyncio.Task[None]) -> None:
        # A relay is the user's, and may break in its own ways: polling goes on.
        trouble = None if listener.cancelled() else listener.exception()
        if trouble is not None and not self._ended:
            logger.warning("no callbacks for now: %r", trouble)
            self._again = self._loop.call_later(RELISTEN_S, self.start)

    def intend(self, model: str | None, nonce: str | None = None) -> Intent:
        """
        Return the intent of a new order, or of one of an earlier run by its *nonce*.
        """
        now = self._clock.time()
        for old in list(islice(self._intents.values(), 2)):  # the two oldest
            if old.made_at < now - KEPT_S:
                del self._intents[old.nonce]
        intent = Intent(nonce or self.callback.new_nonce(), model, now)
        self._intents[intent.nonce] = intent
        return intent

    def task_of(self, nonce: str) -> str | None:
        """
        Return the id of the task that is known to be the order's.
        """
        intent = self._intents.get(nonce)
        return intent.task_id if intent is not None else None

    def answered(self, intent: Intent, entry: Entry | None) -> None:
        """
        Take note of the task that the API's answer names; None: it named none.

        Its callback may have been faster than the answer.
        """
        intent.task_id = "" if entry is None else entry.task_id
        intent.recorded = not intent.journalled
        if entry is not None and not entry.done and intent.rumour is not None:
            self._tracker.hint(entry)

    def take(self, hint: Hint) -> bool:
        """
        Take a hint; False if it is for another session, or has to come again.

        Called in whatever thread the relay is at home in.
        """
        intent = self._intents.get(hint.nonce)
        if intent is None:
            return False
        try:
            self._loop.call_soon_threadsafe(self._follow, hint)
        except RuntimeError:  # the loop is closed
            return False
        # Heard now, and again later if we should be killed before it is on the disk:
        # the API is the one who remembers.
        return intent.recorded

    def _follow(self, hint: Hint) -> None:
        intent = self._intents.get(hint.nonce)
        if intent is None or self._ended:
            return
        self.taken += 1
        if intent.task_id is None:
            intent.rumour = hint.task_id
            if intent.news is not None:
                intent.news.set()
            elif intent.lost:
                self._own(self._take_up(intent), "apimodels-found")
            return
        # The address is the order's own, so that is where we look, whatever task the
        # body names.
        entry = self._tracker.ledger.get(intent.task_id)
        if entry is not None:
            self._tracker.hint(entry)

    async def rescue(self, intent: Intent, salvaged: str | None) -> Entry | None:
        """
        Wait for the callback of an order of unknown fate; return its task, confirmed.

        Args:
            salvaged: A task id that its broken answer shows.
        """
        intent.rumour = intent.rumour or salvaged
        intent.news = asyncio.Event()
        until = self._clock.time() + self.callback.patience
        entry = await self._confirm(intent)
        while entry is None and not self._ended and self._clock.time() < until:
            await self._clock.wait(intent.news, until)
            intent.news.clear()
            entry = await self._confirm(intent)
        intent.news = None
        intent.lost = entry is None
        return entry

    async def _take_up(self, intent: Intent) -> None:
        entry = await self._confirm(intent)
        if entry is not None:
            logger.warning("an order of unknown fate is task %s", entry.task_id)
            self._found(entry)

    async def _confirm(self, intent: Intent) -> Entry | None:
        """
        Return the task that a hint named, once the API has said a word about it.
        """
        task_id, intent.rumour = intent.rumour, None
        if task_id is None or task_id in self._named:
            return None
        entry = self._tracker.ledger.get(task_id)
        if entry is None:
            entry = Entry(task_id, intent.model, attached=True)
            try:
                self._tracker.watch(entry)
            except SessionClosedError:
                return None
        seen = await self._tracker.seen(entry)
        # While we waited, another order's answer may have named it.
        if not seen or task_id in self._named:
            return None
        intent.task_id = task_id
        intent.recorded = not intent.journalled
        self._named.add(task_id)
        return entry

    def give_up(self) -> None:
        """
        End every wait for a callback: the session closes.
        """
        self._ended = True
        for intent in self._intents.values():
            if intent.news is not None:
                intent.news.set()

    async def aclose(self) -> None:
        """
        Stop listening.
        """
        if self._again is not None:
            self._again.cancel()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))
