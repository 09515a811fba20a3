"""A quick emulator, and a plain aiohttp client that speaks to it."""

import json
from contextlib import asynccontextmanager
from importlib.util import find_spec
from io import BytesIO

import aiohttp
import pytest
from PIL import Image

from apimodels_async.emulator import Emulator

# Only the session "browser" installs playwright.
IN_BROWSER = "api/test_control_page_in_browser.py"
collect_ignore = [] if find_spec("playwright") else [IN_BROWSER]


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

    async def sync(self, prompt="a fox", **params):
        """Return status and JSON of a SparkPix Image call."""
        body = {"prompt": prompt, **params}
        return await self.ask("POST", "images/generations-sync", json=body)

    async def edit(self, *images, **params):
        """Return status and JSON of a SparkPix Image Edit call."""
        body = {"prompt": "at sunset", "images": list(images), **params}
        return await self.ask("POST", "images/edit", json=body)

    async def poll(self, task_id):
        """Return the answer to a poll."""
        params = {"task_id": task_id}
        return (await self.ask("GET", "images/generations", params=params))[1]

    async def ended(self, task):
        """Move the clock to the end of *task* and return what a poll shows."""
        self.emulator.advance(1)
        data = (await self.poll(task.id))["data"]
        assert data["state"] in ("completed", "failed")
        return data

    async def result(self, **params):
        """Return the URL of a finished task's picture."""
        return (await self.ended(await self.submit(**params)))["resultUrls"][0]

    async def fetch(self, url):
        """Return the picture at *url*."""
        status, _, body = await self.send("GET", url, key="")
        assert status == 200
        return Image.open(BytesIO(body))


@asynccontextmanager
async def serve_api(**settings):
    """Run an emulator with these settings and yield a client of it."""
    settings = {"service_times": {"*": 0.02}, **settings}
    connector = aiohttp.TCPConnector(force_close=True)
    async with (
        Emulator(**settings) as emulator,
        aiohttp.ClientSession(connector=connector) as http,
    ):
        yield Api(emulator, http)


@pytest.fixture(name="serve")
def serve_fixture():
    """Return the context manager that serves an emulator with settings."""
    return serve_api


@pytest.fixture
async def api():
    """Open a client of an emulator with service times of 20 ms."""
    async with serve_api() as api:
        yield api


@pytest.fixture
def emulator(api):
    """Return the emulator behind *api*."""
    return api.emulator


def make_png(sides=(64, 48), colour="red", mode="RGB"):
    """Return a PNG of one colour."""
    file = BytesIO()
    Image.new(mode, sides, colour).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(name="png")
def png_fixture():
    """Return the maker of one-coloured PNG files."""
    return make_png
