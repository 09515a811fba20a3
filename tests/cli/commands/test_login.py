"""``apimodels login``, ``logout`` and ``whoami``."""

from __future__ import annotations

import asyncio
import os
import pty
import stat
import subprocess
import termios

import pytest
from cli.conftest import Done, Terminal

from apimodels_async.cli.commands.login import masked
from apimodels_async.cli.output import Output, screen
from apimodels_async.cli.terminal.asking import read_secret


@pytest.fixture
def credentials(tmp_path, monkeypatch):
    """Give the user a home of his own; return where his key is kept."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / ".apimodels" / "credentials"


@pytest.fixture
def login(program, environment):
    """Return a coroutine that runs ``login`` with a text on its stdin."""

    async def login(text, *argv):
        process = program("login", *argv, stdin=subprocess.PIPE)
        out, err = await asyncio.to_thread(process.communicate, text, timeout=60)
        return Done(process.returncode, out, err)

    return login


async def test_a_key_is_stored_for_its_user_alone(
    run, emulator, credentials, login, monkeypatch
):
    """It comes from stdin, is tried, and is used by the commands that follow."""
    monkeypatch.delenv("APIMODELS_API_KEY")
    stored = await login(f"{emulator.api_key}\n")
    who = await run("whoami", "--json")
    (key,) = who.records

    assert stored.code == 0, stored
    assert stat.S_IMODE(credentials.stat().st_mode) == 0o600
    assert stat.S_IMODE(credentials.parent.stat().st_mode) == 0o700
    assert key["key"] == f"…{emulator.api_key[-4:]}"
    assert key["source"] == str(credentials)
    assert key["balance"] is not None
    for done in (stored, who):
        assert emulator.api_key not in done.out + done.err
    assert (await run("balance")).code == 0

    gone = await run("logout")
    assert str(credentials) in gone.out
    assert not credentials.exists()
    again = await run("logout")
    assert (again.code, "There is no key" in again.err) == (0, True)
    nobody = await run("whoami")
    assert (nobody.code, "run: apimodels login" in nobody.err) == (2, True)


async def test_a_key_that_is_refused_is_not_stored(run, emulator, credentials, login):
    """Nothing is written for a key that the API refuses, or for no key at all."""
    emulator.fault("balance", "unauthorized", times=None)
    refused = await login("sk_of_somebody_else_0123456789\n")
    empty = await login("\n")

    assert (refused.code, empty.code) == (3, 2)
    assert "does not accept this key, and nothing is stored" in refused.err
    assert "sk_of" not in refused.out + refused.err
    assert "charged" not in refused.err
    assert not credentials.exists()


async def test_a_key_is_stored_although_nobody_answers(run, credentials, login):
    """It was not tried, and that is said; the environment goes before it."""
    dead = ("--base-url", "http://127.0.0.1:9/api/v1")
    done = await login("sk_0123456789abcdef\n", *dead)
    who = await run("whoami", *dead)

    assert done.code == 0
    assert "The key was not tried" in done.err
    assert "APIMODELS_API_KEY is set, and goes before it" in done.err
    assert credentials.read_text() == "api_key = sk_0123456789abcdef\n"
    assert (who.code, "APIMODELS_API_KEY" in who.out) == (0, True)


async def test_a_refused_key_is_shown_with_its_source(run, emulator):
    """Whose key it is, is what somebody with a refused one wants to know."""
    emulator.fault("balance", "unauthorized", times=None)
    done = await run("whoami")

    assert done.code == 3
    assert "APIMODELS_API_KEY" in done.out


async def test_a_file_in_the_way_is_said(run, emulator, credentials, login):
    """Where the key cannot be written or removed, the reason is told."""
    none = await run("logout")
    credentials.mkdir(parents=True)
    stored = await login(f"{emulator.api_key}\n")
    removed = await run("logout")

    assert "APIMODELS_API_KEY is still set" in none.err
    assert (stored.code, "cannot be written: " in stored.err) == (2, True)
    assert (removed.code, "cannot be removed: " in removed.err) == (2, True)
    assert [*credentials.parent.iterdir()] == [credentials]


async def test_what_is_typed_is_not_shown(monkeypatch):
    """The terminal does not echo the key, and does again afterwards, cancelled too."""
    ours, theirs = pty.openpty()
    output = Output(stdout=screen(Terminal()), stderr=screen(Terminal()))

    def echoes():
        return bool(termios.tcgetattr(theirs)[3] & termios.ECHO)

    with os.fdopen(theirs, encoding="utf-8", closefd=False) as stdin:
        asked = asyncio.create_task(read_secret("Key: ", output, stdin))
        await asyncio.sleep(0)
        assert not echoes()
        os.write(ours, b"sk_typed\n")
        assert await asked == "sk_typed"
        assert echoes()
        asked = asyncio.create_task(read_secret("Key: ", output, stdin))
        await asyncio.sleep(0)
        asked.cancel()
        await asyncio.wait([asked])
        assert echoes()
        os.write(ours, b"\n")
    os.close(ours)
    os.close(theirs)


def test_a_short_key_is_not_shown_in_part():
    """Four characters of few would be too many."""
    assert masked("sk_0123456789abc") == "…9abc"
    assert masked("sk_012345") == "…"
