"""Workers of a queue, in the loop of a test."""

from __future__ import annotations

import asyncio
import contextlib

from apimodels_async import PollPolicy, RetryPolicy
from apimodels_async.integrations.streaq import WorkerLoop, WorkerProcess

QUICK = PollPolicy.unchecked(interval=0.05)


class RunningWorker:
    """One worker, and what it answered."""

    def __init__(self, url, emulator, *, api_key=None, attempts=4, **options):
        self.answers = []
        self.then = lambda: None
        """Called after each answer, before the broker has it."""
        how = {"idle_timeout": 2, "grace_period": 0, "concurrency": 10} | options

        def make():
            return WorkerProcess(
                url=url,
                options={
                    "api_key": api_key or emulator.api_key,
                    "base_url": emulator.base_url,
                    "polling": QUICK,
                    "retry": RetryPolicy(attempts=attempts),
                },
                **how,
            )

        self.loop = WorkerLoop(make, self.told)
        self.task = asyncio.create_task(self.loop.run())

    def told(self, answer, _seconds):
        """Take down an answer."""
        self.answers.append(answer)
        self.then()

    async def stop(self):
        """Stop, and return once it has ended."""
        self.loop.stop()
        await self.task


@contextlib.asynccontextmanager
async def working(url, emulator, **options):
    """Run a worker for the body."""
    worker = RunningWorker(url, emulator, **options)
    try:
        yield worker
    finally:
        await worker.stop()
