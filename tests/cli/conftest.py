"""The program run inside the test, and as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
from typing import NamedTuple

import pytest
from support.waiting import until

from apimodels_async.cli.app import execute

API = {"generate", "edit", "status", "wait", "recover", "balance", "models"}
FAST = ("--poll-interval", "0.05")


class Done(NamedTuple):
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict]:
        """The JSON objects on stdout."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def events(self) -> list[str]:
        """The kinds of the JSON objects on stdout, in order."""
        return [record["event"] for record in self.records]


def plain(text):
    """Return *text* without the escapes of a terminal: colours, links, movements."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\]8;[^\x1b]*\x1b\\", "", text)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        """Say so."""
        return True


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in an empty folder, before a plain terminal of 80 columns."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return place


@pytest.fixture
def environment(emulator, monkeypatch):
    """Point the program at the emulator, as its two exports do."""
    monkeypatch.setenv("APIMODELS_BASE_URL", emulator.base_url)
    monkeypatch.setenv("APIMODELS_API_KEY", emulator.api_key)


@pytest.fixture
def run(environment, capsys):
    """Run the program inside the test's own loop; polls every 50 ms."""

    async def run(*argv):
        capsys.readouterr()
        fast = FAST if argv[0] in API and "--help" not in argv else ()
        code = await execute([*map(str, argv), *fast])
        return Done(int(code), *capsys.readouterr())

    return run


@pytest.fixture
def run_on_terminal(run, monkeypatch):
    """Run the program with a terminal as stdout and stderr."""

    async def run_on_terminal(*argv, columns=80):
        monkeypatch.setenv("COLUMNS", str(columns))
        with (
            contextlib.redirect_stdout(Terminal()) as out,
            contextlib.redirect_stderr(Terminal()) as err,
        ):
            done = await run(*argv)
        return Done(done.code, out.getvalue(), err.getvalue())

    return run_on_terminal


@pytest.fixture
def interrupted(run):
    """Run the program and send it SIGINT as soon as *ready* holds."""

    async def interrupted(ready, *argv):
        runner = asyncio.create_task(run(*argv))
        await until(lambda: ready() or runner.done())
        assert not runner.done(), runner.result()
        os.kill(os.getpid(), signal.SIGINT)
        return await runner

    return interrupted


@pytest.fixture
def orders(session):
    """Make the orders of an MCP server that may spend a dollar."""
    from support.agents import orders_of  # which needs an extra

    return orders_of(session)


@pytest.fixture
async def agent(orders):
    """Connect an agent to that server."""
    from support.agents import connected

    async with connected(orders) as agent:
        yield agent


@pytest.fixture
def program():
    """Start programs; end those that still run."""
    started = []

    def program(*argv, **more):
        command = [sys.executable, "-P", "-m", "apimodels_async.cli.main", *argv]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started.append(subprocess.Popen(command, text=True, **{**streams, **more}))
        return started[-1]

    yield program
    for process in started:
        process.terminate()  # not kill: coverage is written on the way out
        process.communicate(timeout=50)
