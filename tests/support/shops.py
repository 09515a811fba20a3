"""A session whose API is a function: orders with fates, in virtual time."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from urllib.parse import parse_qs, urlsplit

from support.fakes import (
    EPOCH,
    FakeClock,
    completed,
    cut,
    failed,
    refused,
    reply,
    state,
)
from support.sessions import KEY

from apimodels_async import Session
from apimodels_async._adapters import Adapters

BASE_URL = "https://api.example/v1"
PICTURE = {"url": "https://files.example/a.png"}
CHARGING = {"task", "slow task", "picture", "cut", "hang"}
"""Fates of orders that may be paid for."""


class Shop:
    """
    An API that gives each order a fate, 0.5 s after it was sent.

    It begins to connect 0.5 s before, and looks at the sender's leave as it sends.
    """

    def __init__(self, *fates, rest="task"):
        self.fates, self.rest = deque(fates), rest
        self.sent = []
        """Prompt and fate of each order that left, in their order."""
        self.tasks = {}
        """Task id -> fate."""
        self.polls = 0
        self.connections = None

    async def send(self, request, sent):
        """Answer one request."""
        if request.method == "GET":
            self.polls += 1
            task_id = parse_qs(urlsplit(request.path).query).get("task_id", [""])[0]
            return self._poll(task_id)
        if request.file is not None:
            return reply({"fileUrl": f"https://f.example/{len(self.sent)}"})
        await asyncio.sleep(0.5)
        if sent.leave is not None and not sent.leave.held:
            return cut(sent=False)
        prompt = json.loads(request.body).get("prompt")
        fate = self.fates.popleft() if self.fates else self.rest
        if fate == "unsent":
            return cut(sent=False, retryable=False)
        sent.at = EPOCH
        self.sent.append((prompt, fate))
        await asyncio.sleep(0.5)
        return await self._answer(fate)

    async def _answer(self, fate):
        if fate == "refuse":
            return refused(400)
        if fate == "cut":
            return cut()
        if fate == "hang":
            await asyncio.sleep(1_000)
            return cut()
        task_id = f"t{len(self.sent)}"
        if fate == "picture":
            return completed(task_id)
        if fate == "sync":
            return reply(PICTURE)
        self.tasks[task_id] = fate
        return state(task_id, "pending")

    def _poll(self, task_id):
        fate = self.tasks.get(task_id)
        if fate is None:
            return refused(404)
        if fate == "slow task":
            return state(task_id, "processing")
        return failed(task_id) if fate == "fail" else completed(task_id)

    async def aclose(self):
        """Close nothing."""

    def open(self, store, **options):
        """Return a session in this shop."""
        return ShopSession(self, store=store, **options)


class ShopAdapters(Adapters):
    """What a session in a shop has of the outside."""

    def __init__(self, shop):
        self._shop = shop

    def clock(self):
        """Return the loop's clock."""
        return FakeClock()

    def draw(self):
        """Draw no chance."""
        return 1.0

    def transport(self, *_args, **_options):
        """Return the shop."""
        return self._shop


class ShopSession(Session):
    """A session that orders in a shop."""

    def __init__(self, shop, **options):
        self._shop = shop
        super().__init__(KEY, base_url=BASE_URL, **options)

    def _make_adapters(self):
        return ShopAdapters(self._shop)
