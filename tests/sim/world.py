"""
Virtual time for many processes at once: one clock, one queue, no threads, no sockets.

Each process has an event loop of its own, and all of them draw on one queue: what is
ready runs first in, first out, as asyncio promises; what waits runs by its time, and at
equal times in the order it was set. Nothing else decides the order, so a run is a
function of its plan.

A process that sleeps is a loop whose handles are put aside until it goes on; one that
dies, a loop whose handles are passed over from then on. Its tasks are
kept until the world ends, or their ``finally`` blocks would run at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from heapq import heapify, heappop, heappush

HORIZON_S = 20_000.0
TURNS_MAX = 200_000
"""Handles run at one moment: more is a loop that never waits."""


class StuckError(RuntimeError):
    """Time does not pass any more, or for ever."""


class Handle(list):
    """
    A callback to come: its loop, itself, its arguments, and its context.

    A list, because making one is the most frequent thing that happens here.
    """

    __slots__ = ()

    def cancel(self):
        """Never call it."""
        self[1] = self[2] = None


class World:
    """The clock and the queue."""

    def __init__(self):
        self.now = 0.0
        self.ready = deque()
        self._timers = []
        self._serial = 0
        self.loops = []
        self.steps = 0
        self.stopped = False
        """Set by whoever has seen enough."""

    def at(self, when, callback, *args, loop=None, context=None):
        """Call *callback* at the time *when*; without a loop it outlives processes."""
        handle = Handle((loop, callback, args, context))
        self._serial = serial = self._serial + 1
        heappush(self._timers, (when, serial, handle))
        return handle

    def delay(self, loop, seconds):
        """Put off all timers of *loop*: its own clock has stood still."""
        self._timers[:] = [
            (when + seconds * (handle[0] is loop), serial, handle)
            for when, serial, handle in self._timers
        ]
        heapify(self._timers)

    def timers_of(self, loop):
        """Return the timers that *loop* has set and not cancelled."""
        return [
            callback
            for _, _, (owner, callback, _, _) in self._timers
            if owner is loop and callback is not None
        ]

    def run(self):
        """
        Run until nothing is left to run.

        Raises:
            StuckError: Time stands still, or runs on beyond all bounds.
        """
        try:
            self._run()
        finally:
            asyncio._set_running_loop(None)

    def _run(self):  # noqa: C901, PLR0912  every call in here would cost a tenth
        ready, timers, turns = self.ready, self._timers, 0
        current, pop = None, heappop
        while True:
            while ready:
                loop, callback, args, context = handle = ready.popleft()
                if callback is None:
                    continue
                if loop is not current:
                    asyncio._set_running_loop(loop)
                    current = loop
                if loop is not None and loop.halted:
                    loop.park(handle)
                    continue
                turns += 1
                try:
                    if context is None:
                        callback(*args)
                    else:
                        context.run(callback, *args)
                except Exception as error:
                    if loop is None:  # a mistake in the simulation itself
                        raise
                    loop.call_exception_handler({"exception": error})
                if loop is not None:
                    loop.turn += 1
                    if loop.turn >= loop.alarm:
                        loop.ring()
                if self.stopped:
                    return
                if turns > TURNS_MAX:
                    msg = f"{turns} callbacks in one moment, last {callback}"
                    raise StuckError(msg)
            self.steps += turns
            turns = 0
            while timers and timers[0][2][1] is None:
                pop(timers)
            if not timers:
                return
            self.now = now = timers[0][0]
            if now > HORIZON_S:
                msg = f"still busy after {HORIZON_S:,.0f} virtual seconds"
                raise StuckError(msg)
            while timers and timers[0][0] <= now:
                ready.append(pop(timers)[2])

    def bury(self):
        """End what is left of every task, without any effect."""
        for loop in self.loops:
            loop.kill()
            asyncio._set_running_loop(loop)
            while left := [task for task in loop.unfinished() if not task.buried]:
                for task in left:
                    task.bury()
        asyncio._set_running_loop(None)
        self.ready.clear()
        self._timers.clear()
