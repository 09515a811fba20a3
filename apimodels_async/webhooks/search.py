"""
Finds the task of an order whose answer was lost, among those that hints name.

Rules of this file:
1. A task becomes the order's only if the API itself says that it has ended, as
   callbacks come then, and that it was made while the order was out. Naming it is not
   enough, nor that it exists. A task of another order of this session, or of its store,
   is never taken.
2. For each lost order one task is looked at, once an interval, however many are named.

Theory of operation: an order whose answer is lost waits here for some time, in the
order's own task, so a caller who is cancelled loses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING, Final

from attrs import define, field

from apimodels_async._core.polling.entry import Entry
from apimodels_async.errors import SessionClosedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apimodels_async._core.counters import Counters
    from apimodels_async._io.tracker import Tracker
    from apimodels_async._ports import Clock
    from apimodels_async.webhooks.callback import Callback
    from apimodels_async.webhooks.expected_callback import ExpectedCallback

EARLY_S: Final = 2.0
"""Before we began to send, by the API's clock, which it tells in whole seconds; so does
a journal."""
LATE_S: Final = 30.0
"""After the answer was lost: a gateway may still have held the request."""
LOOK_MIN_S: Final = 2.0
"""For one look, also where an emulator is polled many times a second."""
LOOKS: Final = 3
"""Intervals to wait for the end of a task that a hint named."""


@define(eq=False, repr=False)
class TaskSearch:
    """Finds the tasks of one session's lost orders, by their callbacks."""

    _callback: Callback
    _tracker: Tracker
    _clock: Clock
    _counters: Counters
    _expected: Mapping[str, ExpectedCallback]
    """All that the session expects, by nonce."""
    ended: bool = field(init=False, default=False)
    """Whether every search is to end: the session closes."""

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
        until = expected.lost_at + self._callback.patience
        entry = await self.run(expected, until)
        expected.lost = entry is None
        return entry

    async def run(self, expected: ExpectedCallback, until: float) -> Entry | None:
        """Look at what hints name, until *until*; if that is never, at what is left."""
        expected.wake = wake = asyncio.Event()
        try:
            while not self.ended:
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
            expected.refute(task_id)
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
            expected.refute(entry.task_id)
        return fits
