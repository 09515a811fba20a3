"""
The event loop of one process: as much of one as asyncio's own parts ask for.

asyncio iterates over sets of tasks (``wait``, ``TaskGroup``). A task here hashes to its
number, not to its address, so that their order is the same in every run.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from contextvars import copy_context
from itertools import count

from sim.world import Handle

BURIALS = 20
"""Times that ``finally`` blocks of a coroutine may wait for something."""


class _Buried(BaseException):
    pass


class NumberedTask(asyncio.Task):
    """A task whose place in a set is the same in every run."""

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


class ProcessLoop(asyncio.AbstractEventLoop):
    """The event loop of one process: as much of one as asyncio's own parts ask for."""

    def __init__(self, world, name, on_error):
        self.world = world
        self.name = name
        self.dead = self.halted = False
        self.behind = 0.0
        """Seconds for which its clock has stood still."""
        self._parked = []
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
        """Return the world's seconds, as this process counts them."""
        return self.world.now - self.behind

    def call_soon(self, callback, *args, context=None):
        """Call *callback* after what is ready now."""
        handle = Handle((self, callback, args, context or copy_context()))
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_at(self, when, callback, *args, context=None):
        """Call *callback* at a time of this loop's."""
        context = context or copy_context()
        at = when + self.behind
        while at - self.behind < when:  # never early, not by a rounding either
            at = math.nextafter(at, math.inf)
        return self.world.at(at, callback, *args, loop=self, context=context)

    def call_later(self, delay, callback, *args, context=None):
        """Call *callback* after some seconds."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def halt(self):
        """Run nothing for a while."""
        self.halted = True

    def park(self, handle):
        """Keep what is to run, until the process goes on."""
        if not self.dead:
            self._parked.append(handle)

    def go_on(self, lost=0.0):
        """Run what was put off; the clock has stood still for *lost* seconds."""
        if self.dead or not self.halted:
            return
        self.halted = False
        self.behind += lost
        if lost:
            self.world.delay(self, lost)
        self._ready.extend(self._parked)
        self._parked = []

    def kill(self):
        """Run nothing any more."""
        self.dead = self.halted = True
        self._parked = []

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
