"""
Callbacks: at least once, unsigned, retried for half an hour.

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

from apimodels_async.emulator.faults import Fault, Faults
from apimodels_async.emulator.timeline import Timeline
from apimodels_async.emulator.values import (
    CallbackRecord,
    EmulatedTask,
    remember,
)
from apimodels_async.emulator.wire import called_back

ATTEMPT_S = 10.0
RETRIES_S = (1.0, 2.0, 4.0)
BACKGROUND_S = 60.0  # between background attempts; the docs give no figure
GIVE_UP_S = 1800.0
_TAKEN = range(200, 300)
_AT_ONCE = 64  # deliveries under way, so that a dead receiver costs few sockets

# What a spoiled callback carries instead of its JSON.
_SPOILED = {
    "bad_json": b'{"code": 200, "msg": "succ',
    "html": b"<!doctype html><title>Bad gateway</title>",
    "garbage": b"\x00\xff\xfe\x80 binary",
    "empty": b"",
}


@define(eq=False)
class Delivery:
    """
    One callback on its way.
    """

    task: EmulatedTask
    url: str
    started_at: float
    """Clock seconds of the first attempt."""

    attempts: int = 0


def pause_before(attempt: int, speed: float) -> float:
    """
    Return seconds to wait before the *attempt*-th try, 2 being the first retry.
    """
    retry = attempt - 2
    pause = RETRIES_S[retry] if retry < len(RETRIES_S) else BACKGROUND_S
    return pause / speed


@define(eq=False)
class Postman:
    """
    Delivers callbacks; owns every asyncio task it starts.
    """

    timeline: Timeline
    faults: Faults
    speed: float
    records: list[CallbackRecord] = field(factory=list)
    _under_way: set[asyncio.Task[None]] = field(factory=set)
    _gate: asyncio.Semaphore = field(factory=lambda: asyncio.Semaphore(_AT_ONCE))
    _session: aiohttp.ClientSession | None = None

    def post(self, task: EmulatedTask) -> None:
        """
        Start delivering the news of a settled task, if it asked for that.
        """
        if task.callback_url is not None:
            self._start(Delivery(task, task.callback_url, self.timeline.now()))

    async def aclose(self) -> None:
        """
        Drop what is under way and close the connections.
        """
        for attempt in self._under_way:
            attempt.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
        self._session = None

    def _start(self, delivery: Delivery) -> None:
        loop = asyncio.get_running_loop()
        attempt = loop.create_task(self._attempt(delivery), name="emulator-callback")
        self._under_way.add(attempt)
        attempt.add_done_callback(self._under_way.discard)

    async def _attempt(self, delivery: Delivery) -> None:
        subject = f"{delivery.task.prompt} {delivery.task.id}"
        fault = self.faults.strike("callback", subject)
        delivery.attempts += 1
        body = called_back(delivery.task)
        record = CallbackRecord(
            delivery.url, delivery.task.id, delivery.attempts, time.monotonic(), body
        )
        remember(self.records, record)
        async with self._gate:
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
        data = _SPOILED.get(kind or "", json.dumps(_bent(body, fault)).encode())
        status = await self._send(url, data)
        if kind == "duplicate":
            status = await self._send(url, data)
        return status

    async def _send(self, url: str, data: bytes) -> int | None:
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


def _bent(body: dict[str, Any], fault: Fault | None) -> dict[str, Any]:
    """
    Return *body* as a fault that bends callbacks leaves it.
    """
    data = dict(body["data"])
    if fault is not None and fault.kind == "unknown_state":
        data["state"] = fault.options.get("word", "moderating")
    if fault is not None and fault.kind == "wrong_id":
        data["taskId"] = "clwrong00000000000000000"
    if fault is not None and fault.kind == "no_result":
        data["resultJson"] = json.dumps({"resultUrls": []})
    return {**body, "data": data}
