"""
An event loop whose clock jumps: a thousand seconds of waiting take none.

When nothing is ready, a loop sleeps in its selector until the next timer. Here the
selector returns at once and moves the clock to that timer instead. Order and
distances of timers are those of the real loop, because it is the real loop.

For code without sockets and without worker threads: the clock does not wait for the
outside world, so a read timeout would fire before loopback has answered.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

T = TypeVar("T")

DEADLOCK_S = 1.0  # real seconds; a thread that has news for the loop is faster
HORIZON_S = 1_000_000.0  # virtual seconds, 11 days: a test that gets there never ends


class StuckError(RuntimeError):
    """The loop would wait for ever: no timer is set and nothing can wake it up."""


class _JumpingSelector(selectors.BaseSelector):
    """A real selector that moves a clock instead of waiting."""

    def __init__(self) -> None:
        self.now = 0.0
        self._limit = HORIZON_S
        self.stuck: Callable[[str], StuckError] = StuckError
        self._real = selectors.DefaultSelector()

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if ready:
            return ready
        if timeout is None:
            ready = self._real.select(DEADLOCK_S)
            if not ready:
                why = f"no timer is set and nothing was ready for {DEADLOCK_S} s"
                raise self.stuck(why)
            return ready
        self.now += max(timeout, 0.0)
        if self.now > self._limit:
            self._limit += HORIZON_S  # room to cancel the tasks that are left
            why = f"still running after {HORIZON_S:,.0f} virtual seconds"
            raise self.stuck(why)
        return []

    def register(
        self, fileobj: Any, events: int, data: Any = None
    ) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(
        self, fileobj: Any, events: int, data: Any = None
    ) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """
    The standard loop with a clock that starts at 0.0 and jumps from timer to timer.
    """

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        self._jumping.stuck = self._stuck
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual seconds since the loop was made."""
        return self._jumping.now

    async def shutdown_default_executor(self, *_timeout: object) -> None:
        """Wait for threads without the timer that asyncio.Runner sets from 3.12 on."""
        await super().shutdown_default_executor()

    def _stuck(self, why: str) -> StuckError:
        names = sorted(task.get_name() for task in asyncio.all_tasks(self))
        return StuckError(f"{why}; waiting: {', '.join(names) or 'no task'}")


@pytest.fixture
def virtual_time():
    """Run async tests on a clock that jumps: ``anyio_backend = virtual_time``."""
    return "asyncio", {"loop_factory": VirtualTimeLoop}


def run_virtual(function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
    """Call *function* with *args* and run the coroutine on a fresh virtual clock."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(function(*args))
