"""
An emulator that calls back, a receiver on a socket of its own, and sessions between.
"""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from apimodels_async import PollPolicy, RetryPolicy, Session, Timeouts
from apimodels_async.webhooks import Callback, Receiver

SECRET = "a secret that all processes of this test share"


@pytest.fixture
async def emulator():
    """Serve the API with service times of 100 to 200 ms; it calls back at once."""
    from apimodels_async.emulator import Emulator

    async with Emulator(service_times={"*": (0.1, 0.2)}) as emulator:
        yield emulator


class Post:
    """
    A web server with a receiver below ``/hooks`` that can be deaf for a while.
    """

    def __init__(self):
        self.receiver = None
        self.deaf = False
        self.statuses = []
        self.url = ""

    async def handle(self, request):
        """Take a callback, unless deaf."""
        if self.deaf:
            return web.Response(status=502)
        body = await request.read()
        status = await self.receiver.deliver(request.path, body)
        self.statuses.append(status)
        return web.Response(status=status)


@pytest.fixture
async def post():
    """Listen for callbacks on loopback."""
    post = Post()
    app = web.Application()
    app.router.add_post("/hooks/{tail}", post.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    post.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hooks"
    yield post
    await runner.cleanup()


@pytest.fixture
def callback(post):
    """Return the callback of one process: receiver and sessions share it."""
    callback = Callback(post.url, secret=SECRET, interval=20.0, patience=5.0)
    post.receiver = Receiver(callback)
    return callback


@pytest.fixture
async def connect(emulator):
    """Return a maker of sessions that poll every 2.5 s; closed after the test."""
    made = []

    def connect(callback, **options):
        defaults = {
            "api_key": emulator.api_key,
            "base_url": emulator.base_url,
            "polling": PollPolicy(interval=2.5),
            "retry": RetryPolicy(base=0.01),
            "timeouts": Timeouts(connect=20, read=20, generate=20, download=20),
        }
        session = Session(callback=callback, **(defaults | options))
        made.append(session)
        return session

    yield connect
    for session in made:
        await session.aclose()


@pytest.fixture
def quick():
    """Return a policy for tests that also want polls."""
    return PollPolicy.unchecked(interval=0.05)


@pytest.fixture
def until():
    """Return a coroutine function that waits for a fact."""

    async def until(condition):
        while not condition():  # noqa: ASYNC110  no one sets an event for the books
            await asyncio.sleep(0.005)

    return until
