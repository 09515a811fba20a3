"""A quick emulator and a plain aiohttp client that speaks to it."""

import asyncio
import json
from io import BytesIO

import aiohttp
import pytest
from PIL import Image

from apimodels_async.emulator import Emulator


@pytest.fixture(scope="session")
def anyio_backend():
    """Run async tests on asyncio."""
    return "asyncio"


@pytest.fixture
async def emulator():
    """Serve the API with service times of 20 ms."""
    async with Emulator(service_times={"*": 0.02}) as emulator:
        yield emulator


class Api:
    """Sends requests to one emulator and reads the answers."""

    def __init__(self, emulator, http):
        self.emulator = emulator
        self.http = http

    async def send(self, method, path, *, key=None, **more):
        """Return status, headers and bytes of one request."""
        url = path if path.startswith("http") else f"{self.emulator.base_url}/{path}"
        headers = dict(more.pop("headers", {}))
        if key != "":
            headers["Authorization"] = f"Bearer {key or self.emulator.api_key}"
        async with self.http.request(
            method, url, headers=headers, allow_redirects=False, **more
        ) as reply:
            return reply.status, reply.headers, await reply.read()

    async def ask(self, method, path, **more):
        """Return status and JSON of one request."""
        status, _, body = await self.send(method, path, **more)
        return status, json.loads(body)

    async def create(self, prompt="a moose", model="gpt-image-2", **params):
        """Return status and JSON of a create call."""
        body = {"model": model, "prompt": prompt, **params}
        return await self.ask("POST", "images/generations", json=body)

    async def submit(self, prompt="a moose", model="gpt-image-2", **params):
        """Return the task of a create call that was accepted."""
        status, body = await self.create(prompt, model, **params)
        assert status == 200, body
        return self.emulator.tasks[body["data"]["taskId"]]

    async def poll(self, task_id):
        """Return the answer to a poll."""
        params = {"task_id": task_id}
        return (await self.ask("GET", "images/generations", params=params))[1]

    async def ended(self, task_id):
        """Poll until the task is finished; return its data."""
        while True:
            data = (await self.poll(task_id))["data"]
            if data["state"] in ("completed", "failed"):
                return data
            await asyncio.sleep(0.01)

    async def fetch(self, url):
        """Return the picture at *url*."""
        status, _, body = await self.send("GET", url, key="")
        assert status == 200
        return Image.open(BytesIO(body))


@pytest.fixture
async def api(emulator):
    """Open a client."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True)
    ) as http:
        yield Api(emulator, http)


def png(sides=(64, 48), colour="red", mode="RGB"):
    """Return a PNG of one colour."""
    file = BytesIO()
    Image.new(mode, sides, colour).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(name="png")
def png_maker():
    """Return the maker of one-coloured PNG files."""
    return png
