"""
Our own Protocols, played by hand: a clock that counts, a service that is a function.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

from apimodels_async._core.counters import Counters
from apimodels_async._core.polling.entry import Entry
from apimodels_async._core.polling.ledger import Ledger
from apimodels_async._io.tracker import Tracker
from apimodels_async._ports import Failure, Phase, Reply

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
CREDITS = "0.05"


class FakeClock:
    """The loop's time, with a count of who slept and who was woken."""

    def __init__(self):
        self.loop = asyncio.get_running_loop()
        self.slept = []
        self.wakes = 0

    def time(self):
        """Return the loop's seconds."""
        return self.loop.time()

    def utcnow(self):
        """Return a wall clock that goes with the loop's."""
        return EPOCH + timedelta(seconds=self.loop.time())

    async def sleep(self, seconds):
        """Wait, and remember how long."""
        self.slept.append(seconds)
        await asyncio.sleep(seconds)

    async def wait(self, event, until):
        """Wait for the event, and count the way back."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await event.wait()
        self.wakes += 1


@dataclass
class Sending:
    """One request on its way."""

    at: float
    request: object
    task_id: str
    nth: int
    """1 for the first poll of this task."""


@dataclass
class FakeTransport:
    """
    Answers after *latency* seconds with what *script* returns for a request.

    The script may return a Reply or Failure, or raise; given a coroutine function it
    may take its time.
    """

    script: object
    latency: float = 0.1
    marks: bool = True
    """Whether headers count as sent at once."""
    calls: list[Sending] = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)
    in_flight: Counter = field(default_factory=Counter)
    flying: int = 0
    most: int = 0
    """Requests in flight at the worst moment."""
    doubled: set = field(default_factory=set)
    """Task ids that had two requests in flight."""

    async def send(self, request, sent):
        """Answer one request."""
        loop = asyncio.get_running_loop()
        task_id = parse_qs(urlsplit(request.path).query).get("task_id", [""])[0]
        self.counts[task_id] += 1
        call = Sending(loop.time(), request, task_id, self.counts[task_id])
        self.calls.append(call)
        if self.marks:
            sent.at = EPOCH
        if self.in_flight[task_id]:
            self.doubled.add(task_id)
        self.in_flight[task_id] += 1
        self.flying += 1
        self.most = max(self.most, self.flying)
        try:
            if self.latency:
                await asyncio.sleep(self.latency)
            answer = self.script(call)
            return await answer if asyncio.iscoroutine(answer) else answer
        finally:
            self.in_flight[task_id] -= 1
            self.flying -= 1

    def times(self, task_id=None):
        """Return when requests were sent, of one task or of all."""
        return [c.at for c in self.calls if task_id in (None, c.task_id)]

    def gaps(self, task_id):
        """Return the seconds between two requests for one task."""
        times = self.times(task_id)
        return [b - a for a, b in itertools.pairwise(times)]


def reply(data, status=200, *, code=200, **headers):
    """Return an answer in the API's envelope."""
    body = json.dumps({"code": code, "msg": "said so", "data": data}).encode()
    return Reply(status, {k.replace("_", "-"): v for k, v in headers.items()}, body)


def refused(status, **headers):
    """Return a refusal in the API's envelope."""
    return reply(None, status, code=status, **headers)


def state(task_id, word):
    """Return the answer about a task that has not finished."""
    return reply({"taskId": task_id, "state": word})


def completed(task_id, **more):
    """Return the answer about a task that is done."""
    url = f"https://files.example/{task_id}.png"
    data = {"taskId": task_id, "state": "completed", "resultUrls": [url], **more}
    return reply(data | {"credits": float(CREDITS)})


def failed(task_id):
    """Return the answer about a task that failed."""
    data = {"taskId": task_id, "state": "failed", "failMsg": "no", "failCode": "E1"}
    return reply(data)


def cut(*, sent=True, phase=Phase.ANSWER, **more):
    """Return what a broken connection comes to."""
    return Failure(sent, phase, "ServerDisconnectedError", **more)


async def hang(_call):
    """Never answer."""
    await asyncio.get_running_loop().create_future()


class Rig:
    """A tracker with a clock, a transport and a ledger that tests can look into."""

    def __init__(self, script, *, interval=2.5, deadline=1800.0, max_polls=64, **more):
        self.clock = FakeClock()
        self.transport = FakeTransport(script, **more)
        self.ledger = Ledger(interval, deadline, max_polls=max_polls)
        self.counters = Counters()
        self.tracker = Tracker(
            self.ledger, self.transport, self.clock, max_polls, self.counters
        )
        self.tracker.start()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.tracker.aclose()

    def watch(self, task_id="t1", **more):
        """Track a task and return its entry."""
        entry = Entry(task_id, "gpt-image-2", **more)
        self.tracker.watch(entry)
        return entry

    async def ended(self, *entries):
        """Wait for entries, and return their outcomes."""
        for entry in entries:
            await self.tracker.wait(entry)
        return [entry.outcome for entry in entries]


def done_after(seconds, *, slow=None):
    """Return a script: tasks complete *seconds* after the loop began."""
    times = slow or {}

    def script(call):
        now = asyncio.get_running_loop().time()
        until = times.get(call.task_id, seconds)
        if now >= until:
            return completed(call.task_id)
        return state(call.task_id, "processing" if call.nth > 1 else "pending")

    return script
