"""
The three lines of the README, and the application of the guide, as printed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import aiohttp
import pytest
import uvicorn

from apimodels_async.emulator import Emulator

HERE = Path(__file__).parent
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
PYTHON = re.compile(r"<!-- no-run: gunicorn[^\n]*-->\n```python\n(.*?)```", re.DOTALL)
PORT = "6390"

pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None,
    reason="no redis-server on PATH; on Debian: apt-get install redis-server",
)


def free_port():
    """Return a port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture
def emulator(monkeypatch):
    """Serve the API in a thread, to whoever asks the environment for it."""
    started, over = threading.Event(), threading.Event()
    found = []

    async def serve():
        async with Emulator(speed=50) as emulator:
            found.append(emulator)
            started.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    started.wait()
    monkeypatch.setenv("APIMODELS_BASE_URL", found[0].base_url)
    monkeypatch.setenv("APIMODELS_API_KEY", found[0].api_key)
    yield found[0]
    over.set()
    thread.join()


@pytest.fixture
def shell(tmp_path):
    """Run lines, each in a shell of its own; end what still runs."""
    shutil.copy(HERE / "prompts.txt", tmp_path)
    started = []
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def shell(line):
        started.append(
            subprocess.Popen(
                ["/bin/sh", "-c", f"exec {line}"],
                cwd=tmp_path,
                env={**os.environ, "PATH": path},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        return started[-1]

    yield shell
    for process in reversed(started):
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=40)


def reached(port):
    """Return once somebody listens there."""
    while True:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port)),
        ):
            return


def test_the_three_lines_of_the_readme(shell, emulator, tmp_path):
    """Redis, a worker, a batch: four pictures, each bought once, and the page."""
    text, port = (HERE / "README.md").read_text(encoding="utf-8"), free_port()
    (block,) = BLOCK.findall(text)
    redis, worker, batch = (
        line.removeprefix("$ ").replace(PORT, port) for line in block.splitlines()
    )
    shell(redis)
    reached(int(port))
    shell(worker)
    done = shell(batch)
    out, _ = done.communicate(timeout=50)

    assert done.returncode == 0, out
    assert "4 of 4 saved" in out
    assert len(emulator.generations) == 4
    assert len(list((tmp_path / "deck" / "pictures").iterdir())) == 4
    assert (tmp_path / "deck" / "index.html").exists()


async def test_two_processes_draw_what_was_clicked_twice_once(shell, emulator):
    """The application of the page, in two servers with one store: one order."""
    port = free_port()
    shell(f"redis-server --port {port} --save ''")
    await asyncio.to_thread(reached, int(port))
    guide = HERE.parents[1] / "docs" / "guides" / "scaling.md"
    page = guide.read_text(encoding="utf-8")
    (code,) = PYTHON.findall(page)
    code = code.replace("redis://queue.example", f"redis://127.0.0.1:{port}")
    servers = []
    for _ in range(2):  # each has a session of its own, as two processes have
        program = {}
        exec(code, program)  # noqa: S102  what is printed
        config = uvicorn.Config(program["app"], port=0, lifespan="on")
        servers.append(uvicorn.Server(config))
    async with asyncio.TaskGroup() as group, aiohttp.ClientSession() as client:
        for server in servers:
            group.create_task(server.serve())
        while not all(server.started for server in servers):  # noqa: ASYNC110  it tells no event
            await asyncio.sleep(0.01)
        places = [each.servers[0].sockets[0].getsockname()[1] for each in servers]

        async def click(place):
            body = {"prompt": "a fox", "click": "17"}
            url = f"http://127.0.0.1:{place}/draw"
            async with client.post(url, json=body) as answer:
                return await answer.json()

        drawn = await asyncio.gather(*(click(place) for place in places * 2))
        for server in servers:
            server.should_exit = True

    assert len({each["url"] for each in drawn}) == 1
    assert len(emulator.generations) == 1
