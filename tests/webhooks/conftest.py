"""
An emulator that calls back, a receiver on a socket of its own, and sessions between.
"""

from __future__ import annotations

import pytest
from aiohttp import web
from support.serving import serving

from apimodels_async import PollPolicy
from apimodels_async.emulator import Emulator
from apimodels_async.webhooks import Callback, Receiver

SECRET = "a secret that all processes of this test share"


@pytest.fixture
async def emulator():
    """Serve the API with service times of 100 to 200 ms; it calls back at once."""
    async with Emulator(service_times={"*": (0.1, 0.2)}) as emulator:
        yield emulator


class Post:
    """A web server with a receiver below ``/hooks`` that can be deaf for a while."""

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
    async with serving(app) as origin:
        post.url = f"{origin}/hooks"
        yield post


@pytest.fixture
def callback(post):
    """Return the callback of one process: receiver and sessions share it."""
    callback = Callback(post.url, secret=SECRET, interval=20.0, patience=5.0)
    post.receiver = Receiver(callback)
    return callback


@pytest.fixture
def called_back(emulator, connect):
    """Return a maker of sessions with a callback that poll every 2.5 s."""

    def called_back(callback, **options):
        options = {"polling": PollPolicy(interval=2.5), **options}
        return connect(emulator, callback=callback, **options)

    return called_back


@pytest.fixture
def quick():
    """Return a policy for tests that also want polls."""
    return PollPolicy.unchecked(interval=0.05)
