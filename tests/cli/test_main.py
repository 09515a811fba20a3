"""
The entry point: exit codes, pipes, missing extras, and what errors look like.
"""

from __future__ import annotations

import asyncio
import os
import pty
import subprocess
import sys

import pytest

from apimodels_async import (
    AuthenticationError,
    OutcomeUnknownError,
    TaskTimeoutError,
    __version__,
)
from apimodels_async.cli.context import interruptible
from apimodels_async.cli.errors import next_step
from apimodels_async.cli.main import main
from apimodels_async.cli.output import printable


@pytest.mark.parametrize(
    ("fault", "code", "charged"),
    [
        (("sync", "status", {"status": 402}), 3, "no"),
        (("sync", "unauthorized", {}), 3, "no"),
        (("sync", "forbidden", {}), 3, "no"),
        (("sync", "status", {"status": 400}), 1, "no"),
        (("sync", "status", {"status": 500}), 4, "unknown"),
        (("sync", "drop", {}), 4, "unknown"),
    ],
)
async def test_the_exit_code_says_how_it_ended(run, emulator, fault, code, charged):
    """Each kind of failure has its exit code, and one line with charge and advice."""
    where, kind, options = fault
    emulator.fault(where, kind, times=None, **options)

    done = await run("generate", "a fox")

    assert code == done.code
    assert f"| charged: {charged} | next: " in done.err
    assert len(done.err.splitlines()) == 1
    assert done.out == ""


async def test_an_error_for_programs(run, emulator):
    """With --json the error is an object on stdout as well."""
    emulator.fault("balance", "unauthorized")
    done = await run("balance", "--json")

    (error,) = done.records
    assert done.code == 3
    assert {"event", "type", "message", "task_id", "status", "code", "charged"} == set(
        error
    )
    assert (
        error["type"],
        error["status"],
        error["charged"],
    ) == ("AuthenticationError", 401, False)


async def test_nothing_answers(run):
    """A dead address is a network failure; nothing was charged."""
    done = await run("generate", "a fox", "--base-url", "http://127.0.0.1:9/api/v1")

    assert done.code == 1
    assert "charged: no" in done.err


@pytest.mark.parametrize("url", ["http://[", "ftp://x.org", "http://example.com"])
async def test_a_bad_base_url(run, url):
    """A base URL that cannot be used is a set-up error."""
    done = await run("balance", "--base-url", url)

    assert done.code == 2
    assert "ConfigurationError" in done.err


async def test_polling_faster_is_for_emulators_only(run):
    """The API itself is not polled more often than it asks for."""
    done = await run("balance", "--base-url", "https://example.com/api/v1")

    assert done.code == 2
    assert "PollPolicy.interval" in done.err


def test_no_key(capsys):
    """Without a key the program says where it looks for one."""
    assert main(["balance"]) == 2
    assert "APIMODELS_API_KEY" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["generate"], ["demo"], ["emulator"]])
def test_help_has_examples_and_exit_codes(command, capsys):
    """Every help ends with the exit codes; that of a command has examples."""
    assert main([*command, "--help"]) == 0

    shown = capsys.readouterr().out
    assert "outcome unknown" in shown
    assert not command or "Examples:" in shown
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_there_is_no_option_for_the_services_key(capsys):
    """A key never belongs on a command line."""
    main(["generate", "--help"])

    assert "--api-key" not in capsys.readouterr().out


def test_the_version(capsys, monkeypatch):
    """--version prints the version; the arguments come from the process."""
    monkeypatch.setattr(sys, "argv", ["apimodels", "--version"])

    assert main() == 0
    assert __version__ == capsys.readouterr().out.strip()


class Interrupting(list):
    """Arguments during whose reading somebody presses Ctrl-C."""

    def __contains__(self, _):
        """Press it."""
        raise KeyboardInterrupt


def test_ctrl_c_before_a_command_runs():
    """Ctrl-C at any other moment ends with 130 too."""
    assert main(Interrupting(["balance"])) == 130


@pytest.mark.parametrize("name", ["cyclopts", "rich", "PIL"])
def test_a_missing_extra_is_one_line(name):
    """Without one of the extra's packages the program says what to install."""
    code = (
        f"import sys; sys.modules[{name!r}] = None\n"
        "from apimodels_async.cli.main import main; sys.exit(main(['demo']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"apimodels: {name} is not installed; run: pip install 'apimodels-async[cli]'\n"
    )


async def test_a_closed_pipe_is_quiet(program, environment):
    """When nobody reads on, the program ends with 141 and says nothing."""
    process = program("models")
    process.stdout.close()

    assert await asyncio.to_thread(process.stderr.read) == ""
    assert await asyncio.to_thread(process.wait, 10) == 141


async def test_a_closed_pipe_is_quiet_for_json_too(program, environment):
    """The same with --json, whose lines are written another way."""
    process = program("balance", "--json")
    process.stdout.close()

    assert await asyncio.to_thread(process.stderr.read) == ""
    assert await asyncio.to_thread(process.wait, 10) == 141


def test_stdout_without_a_descriptor(monkeypatch):
    """A stdout that is no file does not keep the exit code from being returned."""

    class Closed:
        encoding = "utf-8"

        def isatty(self):
            return False

        def write(self, text):
            raise BrokenPipeError

        def flush(self):
            raise BrokenPipeError

        def fileno(self):
            raise OSError

    monkeypatch.setattr(sys, "stdout", Closed())

    assert main(["--help"]) == 141


def test_a_real_terminal_is_used(program, monkeypatch):
    """On a terminal the demo shows its live board, and NO_COLOR turns that off."""
    shown = {}
    for no_color in ("", "1"):
        ours, theirs = pty.openpty()
        argv = ["demo", "--count", "3", "--speed", "500"]
        env = {**os.environ, "NO_COLOR": no_color}
        process = program(*argv, stdout=theirs, stderr=theirs, env=env)
        os.close(theirs)
        shown[no_color] = _read(ours)
        assert process.wait(20) == 0

    assert "\x1b[" in shown[""]
    assert "5 of 5 pictures" in shown[""]
    assert "\x1b" not in shown["1"]


def _read(descriptor):
    """Return what a terminal showed until its program closed it."""
    found = b""
    try:
        while chunk := os.read(descriptor, 65536):
            found += chunk
    except OSError:  # Linux's way to say that the other end is closed
        pass
    finally:
        os.close(descriptor)
    return found.decode()


@pytest.mark.parametrize("argv", [["--port", "0", "--fault", "moon:drop"], []])
def test_an_emulator_that_cannot_be_set_up(argv, capsys):
    """An unknown fault, or an address that is not ours, is a usage error."""
    assert main(["emulator", *(argv or ["--host", "192.0.2.1"])]) == 2
    assert "emulator" in capsys.readouterr().err or argv


async def test_the_emulators_faults_come_true(program, environment, run):
    """--fault breaks the emulator as told."""
    process = program("emulator", "--port", "0", "--fault", "balance:unauthorized:1")
    line = await asyncio.to_thread(process.stdout.readline)
    url = line.strip().partition("=")[2]

    done = await run("balance", "--base-url", url)

    assert done.code == 3


def test_text_from_elsewhere_cannot_steer_a_terminal():
    """Control characters, escapes and bidirectional marks are written out."""
    assert printable("a\x1b[31m\u202eb\n") == r"a\x1b[31m\u202eb\n"
    assert printable("blåbær 🦊") == "blåbær 🦊"


async def test_markup_in_a_reason_is_shown_as_text(run):
    """Brackets in a message are no markup of rich's."""
    done = await run("generate", "[red]x[/red]", "--width", 16)

    assert done.code == 2
    done = await run("generate", "a fox", "--param", "[bold]x")
    assert "[bold]x" in done.err


def test_advice_names_the_task_where_there_is_one():
    """An unknown outcome is looked up by its id, or else by the balance."""
    assert "apimodels wait cl1" in next_step(OutcomeUnknownError("x", task_id="cl1"))
    assert "apimodels balance" in next_step(OutcomeUnknownError("x"))
    assert "apimodels wait TASK_ID" in next_step(TaskTimeoutError("x"))
    assert "APIMODELS_API_KEY" in next_step(AuthenticationError("x"))


async def test_a_cancellation_that_is_no_signal_passes():
    """Whoever cancels the program from inside a loop gets the cancellation."""

    async def body():
        with interruptible():
            await asyncio.Event().wait()

    runner = asyncio.create_task(body())
    await asyncio.sleep(0)
    runner.cancel()

    with pytest.raises(asyncio.CancelledError):
        await runner
