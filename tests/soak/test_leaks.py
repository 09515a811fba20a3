"""Nothing grows: sockets, tasks, threads and memory of many sessions and many polls."""

from __future__ import annotations

import asyncio
import gc
import logging
import operator
import os
import subprocess
import sys
import threading
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from soak.conftest import LONG

from apimodels_async import PollPolicy, Session
from apimodels_async.emulator import Emulator

SESSIONS = 100 if LONG else 25
POLLS = 2000 if LONG else 600
NOISE = ("never retrieved", "Unclosed", "destroyed but it is pending", "Traceback")


@pytest.fixture
async def emulator():
    """Serve the API with work that takes no time."""
    async with Emulator(api_key="sk", service_times={"*": 0.001}) as emulator:
        yield emulator


@pytest.fixture
async def complaints():
    """Collect what asyncio would complain about; there must be nothing."""
    loop, found = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _loop, context: found.append(context))
    yield found
    gc.collect()
    await asyncio.sleep(0)
    loop.set_exception_handler(None)
    assert found == []


def sockets():
    """Return how many sockets this process has open."""
    count = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            count += str(entry.readlink()).startswith("socket:")
        except OSError:  # the listing's own
            continue
    return count


def now():
    """Return how many sockets, tasks and threads there are."""
    return sockets(), len(asyncio.all_tasks()), threading.active_count()


async def use(emulator, number):
    """Open a session, use it for everything once, and close it."""
    polling = PollPolicy.unchecked(interval=0.005)
    async with Session("sk", base_url=emulator.base_url, polling=polling) as session:
        await session.balance()
        await session.images.generate(f"sync {number}")
        handle = await session.images.submit(f"task {number}", model="gpt-image-2")
        await handle
        left = await session.images.submit(f"{number} [stuck]", model="gpt-image-2")
    assert not left.done or left.task_id


async def quiet():
    """Wait until the server has noticed that all its connections are closed."""
    seen = [sockets()]
    while len(seen) < 4 or len({*seen[-4:]}) > 1:
        await asyncio.sleep(0.02)
        seen.append(sockets())


async def settle(before):
    """Wait for the sockets, tasks and threads that are left to be as few as before."""
    while any(map(operator.gt, now(), before)):  # noqa: ASYNC110  the kernel sets no event
        await asyncio.sleep(0.01)


async def test_many_sessions_leave_nothing(emulator, complaints):
    """Sockets, tasks and threads are after many sessions what they were after three."""
    for number in range(3):
        await use(emulator, -number)
    await quiet()
    before = now()
    for number in range(SESSIONS):
        await use(emulator, number)
    await settle(before)  # or the test's own timeout


async def test_sessions_leave_no_memory(emulator, complaints, caplog):
    """No line of the library holds something for each session that was."""
    rounds = 30 if LONG else 10
    # What pytest captures of the log would look like a leak.
    caplog.set_level(logging.CRITICAL, "apimodels_async")
    # Traced from the beginning: what a full cache drops must count as well.
    tracemalloc.start(1)
    try:
        for number in range(70):  # yarl keeps the last 128 URLs; each has two
            await use(emulator, -number)
        gc.collect()
        first = tracemalloc.take_snapshot()
        for number in range(rounds):
            await use(emulator, number)
        gc.collect()
        second = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    ours = [
        difference
        for difference in second.compare_to(first, "lineno")
        if "/apimodels_async/" in difference.traceback[0].filename
        and "/emulator/" not in difference.traceback[0].filename
    ]
    # openai's trick: what leaks once a session has a count divisible by the sessions.
    leaking = [
        str(difference)
        for difference in ours
        if difference.count_diff and difference.count_diff % rounds == 0
    ]

    assert leaking == []
    assert sum(difference.size_diff for difference in ours) < rounds * 1024


async def polled(session, count):
    """Wait until a session has made so many polls."""
    for _ in range(3000):
        if session.stats().polls >= count:
            return
        await asyncio.sleep(0.01)


async def test_many_polls_leave_no_memory(complaints):
    """Tasks that are polled again and again cost nothing after each poll."""
    async with Emulator(api_key="sk", service_times={"*": 600}) as emulator:
        polling = PollPolicy.unchecked(interval=0.02)
        async with Session(
            "sk", base_url=emulator.base_url, polling=polling
        ) as session:
            for number in range(20):
                await session.images.submit(f"task {number}", model="gpt-image-2")
            await polled(session, 200)
            gc.collect()
            tracemalloc.start(1)
            try:
                first = tracemalloc.take_snapshot()
                await polled(session, 200 + POLLS)
                gc.collect()
                second = tracemalloc.take_snapshot()
            finally:
                tracemalloc.stop()
            tasks = Counter(task.get_name() for task in asyncio.all_tasks())
            assert session.stats().connections <= 64  # of max_polls
            assert tasks["apimodels-tracker"] == 1
            assert tasks["apimodels-poller"] <= 20
            emulator.advance(1200)
    ours = [
        difference.size_diff
        for difference in second.compare_to(first, "lineno")
        if "/apimodels_async/_" in difference.traceback[0].filename
    ]

    # 128 bytes a poll: an answer kept would be several times that.
    assert sum(ours) < POLLS * 128


SCRIPT = """
import asyncio, gc, os
from apimodels_async import ApiModelsError, PollPolicy, Session
from apimodels_async.emulator import Emulator

async def main():
    async with Emulator(api_key="sk", service_times={"*": 0.01}) as emulator:
        emulator.fault("poll", "reset", times=5)
        emulator.fault("sync", "drop", times=1, after=True)
        polling = PollPolicy.unchecked(interval=0.01)
        url = emulator.base_url
        async with Session("sk", base_url=url, polling=polling) as session:
            failing = await session.images.submit("a [fail]", model="gpt-image-2")
            stuck = await session.images.submit("a [stuck]", model="gpt-image-2")
            order = asyncio.create_task(session.images.generate("a fox"))
            late = asyncio.create_task(session.images.submit("b", model="gpt-image-2"))
            await asyncio.sleep(0.004)
            late.cancel()
            await asyncio.wait([order, late])
            order.exception()
            await asyncio.sleep(0.1)
            del failing, stuck
        gc.collect()

asyncio.run(main())
gc.collect()
"""


async def test_a_process_ends_without_a_word():
    """Failed tasks nobody awaits, cancelled orders and a pending task print nothing."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-X", "dev", "-W", "error", "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONASYNCIODEBUG": "1"},
    )

    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if line.startswith(NOISE)]
    assert not any(word in done.stderr for word in NOISE), done.stderr
