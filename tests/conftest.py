"""
Fixtures of all tests: an empty environment, a live emulator, and nothing left behind.

Async tests run on asyncio through anyio's plugin and need no marker. A module that
wants a clock that jumps says ``anyio_backend = virtual_time``, a fixture of
``support/virtual_time.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
from hypothesis import settings

# nohup and background jobs of a plain sh hand ignored signals on to all children.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

GRACE_S = 5.0  # for threads that were told to stop, and what they close on their way
GRACE_TURNS = 10  # of the loop, for tasks that are done but for their last step

# Deadlines of single examples are noise on a busy machine; pytest-timeout bounds. The
# gate tries the same few examples each time; `--hypothesis-profile=search`, as in the
# nightly session, looks for more.
settings.register_profile("house", deadline=None, derandomize=True, max_examples=30)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile("house")


@pytest.fixture(scope="session")
def anyio_backend():
    """Run async tests on asyncio."""
    return "asyncio"


@pytest.fixture(autouse=True)
def clean_environment(request, monkeypatch, tmp_path_factory):
    """Hide the developer's own key, base URL, proxy and home from every test."""
    for name in list(os.environ):
        if name.startswith("APIMODELS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    # Making a folder takes longer than most tests: only those have one that ask for it.
    home = tmp_path_factory.getbasetemp() / "no-home"
    if "tmp_path" in request.fixturenames:
        home = request.getfixturevalue("tmp_path")
    monkeypatch.setenv("HOME", str(home))


@pytest.fixture(scope="session")
def object_storage():
    """Have obstore open what it keeps open for good, before anything is counted."""
    if importlib.util.find_spec("obstore") is None:
        return  # a wheel with fewer extras: who needs a bucket says so
    import obstore
    from obstore.store import MemoryStore

    obstore.put(MemoryStore(), "x", b"")


@pytest.fixture(scope="session")
def s3(object_storage):
    """Run an S3 service."""
    from support.buckets import serve_s3

    with serve_s3() as s3:
        yield s3


@pytest.fixture
def bucket(s3, monkeypatch):
    """Make an empty bucket, let the environment lead to it, and return its name."""
    from support.buckets import environment

    for name, value in environment(s3.origin).items():
        monkeypatch.setenv(name, value)
    return s3.bucket()


@pytest.fixture
def ipv6():
    """Skip a test where this machine has no IPv6."""
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 on this machine")


def open_files() -> dict[int, str]:
    """Return what this process has open: number -> what it is; empty if unknown."""
    found = {}
    folder = Path("/proc/self/fd")
    for entry in folder.iterdir() if folder.exists() else ():
        with contextlib.suppress(OSError):  # the listing's own is closed by now
            found[int(entry.name)] = str(entry.readlink())
    return found


def new_files(before: dict[int, str]) -> list[str]:
    """Return what is open now, outlives a short grace and was not open *before*."""
    deadline = time.monotonic() + GRACE_S
    while left := [
        f"{number} -> {target}"
        for number, target in open_files().items()
        if before.get(number) != target
    ]:
        if time.monotonic() > deadline:
            break
        gc.collect()  # what only a reference cycle holds warns for itself
        time.sleep(0.005)
    return left


def new_threads(before: set[threading.Thread]) -> list[str]:
    """Return the threads that outlive a short grace and did not run *before*."""
    deadline = time.monotonic() + GRACE_S
    while running := set(threading.enumerate()) - before:
        if time.monotonic() > deadline:
            break
        time.sleep(0.005)
    return sorted(thread.name for thread in running)


@pytest.fixture(autouse=True)
def no_threads_or_files_left():
    """Fail a test that leaves a thread, a socket or a file open."""
    threads, files = set(threading.enumerate()), open_files()
    yield
    left = [f"thread {name}" for name in new_threads(threads)]
    left += [f"file {name}" for name in new_files(files)]
    if left:
        pytest.fail("left behind: " + ", ".join(left))


def running_tasks() -> set[asyncio.Task]:
    """Return the tasks of the running loop, those of anyio's test runner left out."""
    return {
        task
        for task in asyncio.all_tasks()
        if not task.get_coro().__qualname__.startswith("TestRunner.")
    }


@pytest.fixture
async def no_tasks_left_in_loop():
    """Fail an async test that leaves an asyncio task behind."""
    before = running_tasks()
    yield
    for _ in range(GRACE_TURNS):
        await asyncio.sleep(0)
    left = running_tasks() - before
    if left:
        pytest.fail("left behind: " + ", ".join(sorted(map(repr, left))))


# It asks for the check of threads and files so that this one ends last, after the
# event loop has closed its own sockets.
@pytest.fixture(autouse=True)
def no_tasks_left(request, no_threads_or_files_left):
    """Watch over the tasks of tests that have an event loop."""
    if "anyio_backend" in request.fixturenames:
        request.getfixturevalue("no_tasks_left_in_loop")


@pytest.fixture
async def emulator():
    """Serve the API on a loopback socket, with service times of 80 ms."""
    from support.sessions import KEY

    from apimodels_async.emulator import Emulator

    async with Emulator(api_key=KEY, speed=50, service_times={"*": 4}) as emulator:
        yield emulator


@pytest.fixture
async def connect():
    """Return a maker of quick, patient sessions; they are closed after the test."""
    from support.sessions import make_session

    made = []

    def connect(server, **options):
        made.append(make_session(server, **options))
        return made[-1]

    yield connect
    for session in made:
        await session.aclose()


@pytest.fixture
def session(emulator, connect):
    """Return a session on the emulator that polls every 50 ms."""
    return connect(emulator)
