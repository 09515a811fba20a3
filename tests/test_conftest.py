"""The fixtures that watch over all tests see what they are there to see."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from support.redis import needs_redis

pytest_plugins = ["pytester"]

CONFIG = """
[pytest]
anyio_mode = auto
"""

UNTIDY = """
import asyncio, socket, threading

kept, done = [], threading.Event()

async def test_task():
    kept.append(asyncio.create_task(asyncio.sleep(60), name="stray task"))

async def test_socket():
    kept.append(socket.socket())

async def test_connection():
    kept.append(await asyncio.start_server(print, "127.0.0.1", 0))

def test_file():
    kept.append(open("/dev/null"))

def test_thread():
    threading.Thread(target=done.wait, name="stray thread", daemon=True).start()
"""

TIDY = """
import asyncio, subprocess, sys
import anyio

async def test_async():
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
    await asyncio.create_task(asyncio.sleep(0))
    await asyncio.to_thread(int)
    await anyio.to_thread.run_sync(int)

def test_sync():
    subprocess.run([sys.executable, "-c", ""], check=True)
"""


def test_what_is_left_behind_fails_the_test(pytester):
    """A test that leaves a task, socket, file or thread behind fails, no other does."""
    source = Path(__file__).with_name("conftest.py").read_text(encoding="utf-8")
    pytester.makeconftest(source)
    pytester.makeini(CONFIG)
    pytester.makepyfile(test_tidy=TIDY, test_untidy=UNTIDY)

    result = pytester.runpytest_subprocess("-ra")

    assert result.parseoutcomes() == {"passed": 7, "errors": 5}
    result.stdout.fnmatch_lines_random(
        [
            "*left behind:*stray task*",
            "*left behind: file*socket:*",
            "ERROR test_untidy.py::test_connection*",
            "*left behind: file*/dev/null*",
            "*left behind: thread stray thread*",
        ]
    )


def test_the_environment_is_empty(tmp_path):
    """A test sees neither the developer's key nor the developer's home."""
    assert [name for name in os.environ if name.startswith("APIMODELS_")] == []
    assert Path.home() == tmp_path


@needs_redis
def test_a_redis_server_ends_with_the_tests_that_started_it():
    """Killed with -9, as a time-out does, they leave none running."""
    code = (
        "import time; from support.redis import RedisServer;"
        "print(RedisServer(()).start().process.pid, flush=True); time.sleep(60)"
    )
    path = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=path
    ) as tests:
        pid = int(tests.stdout.readline())
        os.kill(pid, 0)
        tests.kill()
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.01)
