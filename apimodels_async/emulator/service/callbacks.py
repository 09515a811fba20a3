"""
Sends callbacks: at least once, unsigned, retried for half an hour.

Source:
    Video and audio pages: POST of application/json without a signature, 10 s
    for each attempt, retries after 1, 2 and 4 s, then a background job for up to
    30 minutes until any 2xx.
"""

import asyncio
import json
import time
from functools import partial
from io import BytesIO
from typing import Any

import aiohttp
from attrs import define, field

from apimodels_async.emulator.faults.breakage import altered
from apimodels_async.emulator.faults.faults import Fault, Faults
from apimodels_async.emulator.service.catalogue import MODELS
from apimodels_async.emulator.service.timeline import Timeline
from apimodels_async.emulator.service.values import (
    CallbackRecord,
    EmulatedTask,
    append_capped,
    envelope,
    result_json,
)

ATTEMPT_S = 10.0
RETRIES_S = (1.0, 2.0, 4.0)
BACKGROUND_S = 60.0  # between background attempts; the docs give no figure
GIVE_UP_S = 1800.0
_TAKEN = range(200, 300)
_MAX_RUNNING = 64  # attempts at once, so that a dead receiver costs few sockets

# What a broken callback carries instead of its JSON.
_BROKEN = {
    "bad_json": b'{"code": 200, "msg": "succ',
    "html": b"<!doctype html><title>Bad gateway</title>",
    "garbage": b"\x00\xff\xfe\x80 binary",
    "empty": b"",
}


def callback_body(task: EmulatedTask) -> dict[str, Any]:
    """
    Return the body of a callback.

    Source:
        Video page for the start; a working receiver for state, failMsg,
        resultJson and param. The rest of the real body is unknown.
    """
    data: dict[str, Any] = {
        "taskId": task.id,
        "model": MODELS[task.model].wire_name,
        "state": task.state,
        "resultJson": result_json(task),
        "failMsg": task.failure.message if task.failure else "",
        "param": json.dumps(
            {"model": task.model, "prompt": task.prompt, **task.params}
        ),
        "createTime": task.created_ms,
        "completeTime": task.completed_ms,
    }
    if task.failure:
        data["failCode"] = task.failure.code
    return envelope(data)


@define(eq=False)
class Delivery:
    """One callback to deliver, and how often that was tried."""

    task: EmulatedTask
    url: str
    started_at: float
    """Clock seconds of the first attempt."""

    attempts: int = 0


def pause_before(attempt: int, speed: float) -> float:
    """Return seconds to wait before the *attempt*-th try, 2 being the first retry."""
    retry = attempt - 2
    pause = RETRIES_S[retry] if retry < len(RETRIES_S) else BACKGROUND_S
    return pause / speed


@define(eq=False)
class CallbackSender:
    """Sends callbacks; owns every asyncio task it starts."""

    timeline: Timeline
    faults: Faults
    speed: float
    records: list[CallbackRecord] = field(factory=list)
    _running: set[asyncio.Task[None]] = field(factory=set)
    _slots: asyncio.Semaphore = field(factory=lambda: asyncio.Semaphore(_MAX_RUNNING))
    _session: aiohttp.ClientSession | None = None

    def send(self, task: EmulatedTask) -> None:
        """Start delivering the callback of a settled task, if it has a callback_url."""
        if task.callback_url is not None:
            self._start(Delivery(task, task.callback_url, self.timeline.now()))

    async def aclose(self) -> None:
        """Cancel running attempts and close the connections."""
        for attempt in self._running:
            attempt.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
        self._session = None

    def _start(self, delivery: Delivery) -> None:
        loop = asyncio.get_running_loop()
        attempt = loop.create_task(self._attempt(delivery), name="emulator-callback")
        self._running.add(attempt)
        attempt.add_done_callback(self._running.discard)

    async def _attempt(self, delivery: Delivery) -> None:
        subject = f"{delivery.task.prompt} {delivery.task.id}"
        fault = self.faults.hit("callback", subject)
        delivery.attempts += 1
        body = callback_body(delivery.task)
        record = CallbackRecord(
            delivery.url, delivery.task.id, delivery.attempts, time.monotonic(), body
        )
        append_capped(self.records, record)
        async with self._slots:
            record.status = await self._deliver(delivery.url, body, fault)
        if record.status in _TAKEN:
            return
        if fault is None or fault.kind != "hang":  # a hung sender never comes back
            self._retry(delivery)

    def _retry(self, delivery: Delivery) -> None:
        now = self.timeline.now()
        due = now + pause_before(delivery.attempts + 1, self.speed)
        if due - delivery.started_at <= GIVE_UP_S / self.speed:
            self.timeline.at(due, partial(self._start, delivery))

    async def _deliver(
        self, url: str, body: dict[str, Any], fault: Fault | None
    ) -> int | None:
        kind = fault.kind if fault else None
        if fault is not None and kind == "slow":
            await asyncio.sleep(fault.options.get("seconds", 1.0))
        if kind in ("drop", "reset", "hang"):  # never leaves this machine
            return None
        sent = {**body, "data": altered(body["data"], fault)}
        data = _BROKEN.get(kind or "", json.dumps(sent).encode())
        status = await self._post(url, data)
        if kind == "duplicate":
            status = await self._post(url, data)
        return status

    async def _post(self, url: str, data: bytes) -> int | None:
        headers = {"Content-Type": "application/json"}
        try:
            async with self._client().post(
                url, data=BytesIO(data), headers=headers, allow_redirects=False
            ) as reply:
                return reply.status
        except (TimeoutError, aiohttp.ClientError, ValueError):
            return None

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=ATTEMPT_S / self.speed),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session
