"""
Virtual time for many processes at once: one clock, one queue, no threads, no sockets.

Each process has an event loop of its own, and all of them draw on one queue: what is
ready runs first in, first out, as asyncio promises; what waits runs by its time, and at
equal times in the order it was set. Nothing else decides the order, so a run is a
function of its plan.

Theory of operation:
1. asyncio iterates over sets of tasks (``wait``, ``TaskGroup``). A task here hashes to
   its number, not to its address, so that their order is the same in every run.
2. A process that dies is a loop whose handles are passed over from then on. Its tasks
   are kept until the world ends, or their ``finally`` blocks would run at once.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections import deque
from contextlib import suppress
from contextvars import copy_context
from itertools import count

HORIZON_S = 20_000.0
TURNS_MAX = 200_000
"""Handles run at one moment: more is a loop that never waits."""
BURIALS = 20
"""Times that ``finally`` blocks of a coroutine may wait for something."""


class StuckError(RuntimeError):
    """
    Time does not pass any more, or for ever.
    """


class _Buried(BaseException):
    pass


class Handle:
    """
    A callback to come.
    """

    __slots__ = ("args", "callback", "context", "loop", "off")

    def __init__(self, loop, callback, args, context):
        self.loop = loop
        self.callback = callback
        self.args = args
        self.context = context
        self.off = False

    def cancel(self):
        """Never call it."""
        self.off = True
        self.callback = self.args = None


class NumberedTask(asyncio.Task):
    """
    A task whose place in a set is the same in every run.
    """

    def __init__(self, coro, *, loop, name, number, context=None):
        self.number = number
        self.buried = False
        super().__init__(coro, loop=loop, name=name, context=context)

    def __hash__(self):
        return self.number

    def bury(self):
        """End the coroutine, however often it still wants to wait for something."""
        self.buried = True
        self._log_destroy_pending = False
        asyncio.tasks._enter_task(self.get_loop(), self)  # anyio asks who is leaving
        with suppress(BaseException):
            for _ in range(BURIALS):
                self.get_coro().throw(_Buried)
        asyncio.tasks._leave_task(self.get_loop(), self)


class World:
    """
    The clock and the queue.
    """

    def __init__(self):
        self.now = 0.0
        self.ready = deque()
        self._timers = []
        self._serial = count()
        self.loops = []
        self.steps = 0
        self.stopped = False
        """Set by whoever has seen enough."""

    def at(self, when, callback, *args, loop=None, context=None):
        """Call *callback* at the time *when*; without a loop it outlives processes."""
        handle = Handle(loop, callback, args, context)
        heapq.heappush(self._timers, (when, next(self._serial), handle))
        return handle

    def timers_of(self, loop):
        """Return the timers that *loop* has set and not cancelled."""
        return [
            handle
            for _, _, handle in self._timers
            if handle.loop is loop and not handle.off
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

    def _run(self):
        ready, timers, turns = self.ready, self._timers, 0
        current, pop = None, heapq.heappop
        while True:
            while ready:
                handle = ready.popleft()
                if handle.off:
                    continue
                loop = handle.loop
                if loop is not current:
                    asyncio._set_running_loop(loop)
                    current = loop
                if loop is not None and loop.dead:
                    continue
                turns += 1
                context = handle.context
                try:
                    if context is None:
                        handle.callback(*handle.args)
                    else:
                        context.run(handle.callback, *handle.args)
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
                    msg = f"{turns} callbacks in one moment, last {handle.callback}"
                    raise StuckError(msg)
            self.steps += turns
            turns = 0
            while timers and timers[0][2].off:
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
        """
        End what is left of every task, without any effect.
        """
        for loop in self.loops:
            loop.dead = True
            asyncio._set_running_loop(loop)
            while left := [task for task in loop.unfinished() if not task.buried]:
                for task in left:
                    task.bury()
        asyncio._set_running_loop(None)
        self.ready.clear()
        self._timers.clear()


class ProcessLoop(asyncio.AbstractEventLoop):
    """
    The event loop of one process: as much of one as asyncio's own parts ask for.
    """

    def __init__(self, world, name, on_error):
        self.world = world
        self.name = name
        self.dead = False
        self._on_error = on_error
        self._tasks = {}
        self._numbers = count(1)
        self._ready = world.ready
        self.turn = 0
        """Handles run so far."""
        self.alarm = math.inf
        self._alarms = []
        world.loops.append(self)

    def after_turns(self, turns, callback, *args):
        """Call *callback* between two handles of this loop, *turns* from now."""
        self._alarms.append((self.turn + turns, callback, args))
        self.alarm = min(alarm for alarm, _, _ in self._alarms)

    def ring(self):
        """Call whom it is time for."""
        due = [each for each in self._alarms if each[0] <= self.turn]
        self._alarms = [each for each in self._alarms if each[0] > self.turn]
        self.alarm = min((alarm for alarm, _, _ in self._alarms), default=math.inf)
        for _, callback, args in due:
            callback(*args)

    def time(self):
        """Return the world's seconds."""
        return self.world.now

    def call_soon(self, callback, *args, context=None):
        """Call *callback* after what is ready now."""
        handle = Handle(self, callback, args, context or copy_context())
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_at(self, when, callback, *args, context=None):
        """Call *callback* at a time."""
        context = context or copy_context()
        return self.world.at(when, callback, *args, loop=self, context=context)

    def call_later(self, delay, callback, *args, context=None):
        """Call *callback* after some seconds."""
        return self.call_at(self.world.now + delay, callback, *args, context=context)

    def create_future(self):
        """Return a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(self, coro, *, name=None, context=None):
        """Return a task of this loop."""
        number = next(self._numbers)
        name = name or f"task-{number}"
        task = NumberedTask(coro, loop=self, name=name, number=number, context=context)
        self._tasks[number] = task
        if number % 256 == 0:
            kept = [*self.unfinished(), *self.unread()]
            self._tasks = {task.number: task for task in kept}
        return task

    def unread(self):
        """Return the tasks that failed and whose error nobody has seen."""
        return [task for task in self._tasks.values() if task._log_traceback]

    def unfinished(self):
        """Return the tasks that have not ended, oldest first."""
        return [task for task in self._tasks.values() if not task.done()]

    def call_exception_handler(self, context):
        """Tell of what nobody caught."""
        if not self.dead:
            self._on_error(context)

    def get_debug(self):
        """Return False: debugging would cost more than the run."""
        return False

    def is_running(self):
        """Return whether the process lives."""
        return not self.dead

    def is_closed(self):
        """Return whether the process is dead."""
        return self.dead
