"""The clock that jumps keeps the promises of the real one."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time

import anyio
import pytest
from support.virtual_time import StuckError, VirtualTimeLoop, run_virtual, virtual_time

anyio_backend = virtual_time


def test_a_thousand_seconds_take_none():
    """A thousand one-second sleeps pass in a fraction of that."""

    async def wait() -> float:
        for _ in range(1_000):
            await asyncio.sleep(1)
        return asyncio.get_running_loop().time()

    started = time.perf_counter()
    passed = run_virtual(wait)

    assert passed == pytest.approx(1_000)
    assert time.perf_counter() - started < passed / 10


async def test_a_timeout_fires_at_its_virtual_time():
    """A timeout expires at its own time, although nothing real has passed."""
    loop = asyncio.get_running_loop()
    started = loop.time()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(30):
            await asyncio.sleep(3600)

    assert loop.time() - started == pytest.approx(30)


async def test_anyio_uses_the_virtual_clock():
    """A cancel scope of anyio ends at its virtual deadline."""
    started = anyio.current_time()

    with anyio.move_on_after(600) as scope:
        await anyio.sleep(3600)

    assert scope.cancelled_caught
    assert anyio.current_time() - started == pytest.approx(600)


async def test_timers_run_in_the_order_of_their_times():
    """Timers run by time, not by the order in which they were set."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    base = loop.time()
    seen: list[tuple[str, float]] = []

    for name, delay in (("c", 3.0), ("a", 0.5), ("b", 2.25)):
        loop.call_at(base + delay, lambda n=name: seen.append((n, loop.time() - base)))
    await asyncio.sleep(10)

    assert [name for name, _ in seen] == ["a", "b", "c"]
    assert [at for _, at in seen] == pytest.approx([0.5, 2.25, 3.0])


async def test_sleepers_meet_on_one_clock():
    """Two tasks that sleep side by side take as long as the longer one."""
    loop = asyncio.get_running_loop()
    started = loop.time()

    await asyncio.gather(asyncio.sleep(40), asyncio.sleep(60))

    assert loop.time() - started == pytest.approx(60)


def test_a_deadlock_is_an_error_that_names_who_waits():
    """A loop that nothing can wake up raises and names the tasks that wait."""

    async def wait_for_ever() -> None:
        asyncio.current_task().set_name("the waiter")
        await asyncio.get_running_loop().create_future()

    with pytest.raises(StuckError, match="the waiter"):
        run_virtual(wait_for_ever)


def test_a_loop_that_never_ends_is_an_error():
    """A loop that only ticks is stopped at the horizon."""

    async def tick() -> None:
        for _ in itertools.count():
            await asyncio.sleep(5_000)

    with pytest.raises(StuckError, match="virtual seconds"):
        run_virtual(tick)


def test_a_thread_may_wake_the_loop():
    """A loop without timers waits, really, for a thread that has something to say."""

    async def wait_for_thread() -> str:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        thread = threading.Timer(
            0.05, loop.call_soon_threadsafe, (future.set_result, "news")
        )
        thread.start()
        result = await future
        thread.join()
        return result

    assert run_virtual(wait_for_thread) == "news"
