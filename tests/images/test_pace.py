"""
How often tasks are asked for: a cap on the rate, and a first poll that is learned.
"""

from __future__ import annotations

import asyncio
import json

from apimodels_async import PollPolicy, Timeouts
from apimodels_async.emulator import Emulator

TASK = {"model": "gpt-image-2", "resolution": "2K"}
GROUP = "gpt-image-2 2K"
INTERVAL = 0.05
PATIENT = Timeouts()


async def finished(session, count):
    """Submit tasks, wait for them, and return the polls it took."""
    before = session.stats().polls
    handles = [await session.images.submit(f"fox {n}", **TASK) for n in range(count)]
    results = await asyncio.gather(*handles)
    assert [r.task_id for r in results] == [h.task_id for h in handles]
    return session.stats().polls - before


async def test_polls_stay_under_the_rate(connect):
    """With many pending, no second has more polls than allowed, and all still end."""
    async with Emulator(service_times={"*": 0.2}) as emulator:
        polling = PollPolicy.unchecked(interval=INTERVAL, max_rate=40)
        session = connect(emulator, polling=polling, timeouts=PATIENT)
        await finished(session, 60)
        times = sorted(t for task in emulator.tasks.values() for t in task.poll_times)

    assert len(times) >= 60
    for first, later in zip(times, times[45:], strict=False):
        assert later - first > 0.9  # 46 polls take a second and more


async def test_learning_saves_polls(connect):
    """Once 20 tasks have ended, the next ones are asked for less than by a beginner."""
    async with Emulator(service_times={"*": (0.8, 0.9)}) as emulator:
        polling = PollPolicy.unchecked(interval=INTERVAL, learned=True)
        learner = connect(emulator, polling=polling, timeouts=PATIENT)
        before_any = learner.durations()
        await finished(learner, 30)
        durations = learner.durations()
        await asyncio.sleep(1.0)  # an estimate is used for a second
        # Side by side, so that a busy machine is busy for both.
        beginner = connect(
            emulator,
            polling=PollPolicy.unchecked(interval=INTERVAL),
            timeouts=PATIENT,
        )
        taught, untaught = await asyncio.gather(
            finished(learner, 30), finished(beginner, 30)
        )

    assert taught < untaught
    assert before_any == {}
    assert list(durations) == [GROUP]
    assert all(0.7 < seconds < 1.0 for seconds in durations[GROUP])


async def test_what_was_learned_can_be_taken_along(connect):
    """Another session begins with the durations of an earlier one, through JSON."""
    known = json.loads(json.dumps({GROUP: [0.8 + n / 200 for n in range(20)]}))
    async with Emulator(service_times={"*": (0.8, 0.9)}) as emulator:
        taught, untaught = (
            connect(
                emulator,
                polling=PollPolicy.unchecked(interval=INTERVAL, learned=learned),
                timeouts=PATIENT,
            )
            for learned in (known, False)
        )
        polls = await asyncio.gather(finished(taught, 20), finished(untaught, 20))

    assert polls[0] < polls[1]
