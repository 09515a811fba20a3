"""The entry point: exit codes, pipes, missing extras, and what errors look like."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import subprocess
import sys

from apimodels_async import __version__
from apimodels_async.cli.main import EXTRA, main


async def test_the_exit_code_says_how_it_ended(run, emulator):
    """Each kind of failure has its exit code, and one line with charge and advice."""
    ends = [
        ("status", {"status": 402}, 3, "not charged"),
        ("unauthorized", {}, 3, "not charged"),
        ("forbidden", {}, 3, "not charged"),
        ("status", {"status": 400}, 1, "not charged"),
        ("status", {"status": 500}, 4, "may have been charged"),
        ("drop", {}, 4, "may have been charged"),
    ]
    wrong = []
    for kind, options, code, charged in ends:
        emulator.fault("sync", kind, **options)
        done = await run("generate", "a fox")
        one_line = done.out == "" and len(done.err.splitlines()) == 1
        said = f" | {charged} | tip: " in done.err
        if (done.code, one_line, said) != (code, True, True):
            wrong.append((kind, options, done))

    assert wrong == []


async def test_an_error_for_programs(run, emulator):
    """With --json the error is an object on stdout as well."""
    emulator.fault("balance", "unauthorized")
    done = await run("balance", "--json")

    (error,) = done.records
    assert done.code == 3
    assert set(error) == {
        *("event", "type", "message", "task_id", "status", "code", "charged"),
        "idempotency_key",
    }
    assert (
        error["type"],
        error["status"],
        error["charged"],
    ) == ("AuthenticationError", 401, False)


async def test_nothing_answers(run):
    """A dead address is a network failure; nothing was charged."""
    done = await run("generate", "a fox", "--base-url", "http://127.0.0.1:9/api/v1")

    assert done.code == 1
    assert " | not charged | tip: " in done.err


async def test_a_base_url_that_cannot_be_used(run):
    """It is a set-up error, as is polling the API itself faster than it asks for."""
    for url, why in {
        "http://[": "the address of the API",
        "http://[:1": "the address of the API",
        "ftp://x.org": "in the clear",
        "http://example.com": "use https",
        "https://example.com/api/v1": "--poll-interval must be 2 to 3 seconds",
    }.items():
        interval = ("--poll-interval", "0.5" if url.startswith("https") else "2.5")
        done = await run("whoami", "--base-url", url, *interval)

        assert (done.code, why in done.err) == (2, True), done.err


def test_no_key(capsys):
    """Without a key the program says where it looks for one."""
    assert main(["balance"]) == 2
    assert "APIMODELS_API_KEY" in capsys.readouterr().err


def test_help_has_examples_and_no_key(capsys):
    """The help of every command has examples; no option takes the API key."""
    assert main(["--help"]) == 0
    whole = capsys.readouterr().out
    commands = re.findall(r"(?m)^  ([a-z]+) ", whole)

    assert {"demo", "generate", "batch", "mcp", "emulator"} < set(commands)
    for command in commands:
        assert main([command, "--help"]) == 0
        text = capsys.readouterr().out
        assert "Examples" in text
        assert "--api-key" not in text or command == "emulator"
        assert "\x1b" not in text


def test_the_version(capsys, program):
    """--version prints the version; the arguments come from the process."""
    process = program("--version")

    assert main(["--version"]) == 0
    assert __version__ == capsys.readouterr().out.strip()
    assert process.communicate(timeout=20) == (f"{__version__}\n", "")


class Interrupting(list):
    """Arguments during whose reading somebody presses Ctrl-C."""

    def __contains__(self, _):
        """Press it."""
        raise KeyboardInterrupt


def test_ctrl_c_before_a_command_runs():
    """Ctrl-C at any other moment ends with 130 too."""
    assert main(Interrupting(["balance"])) == 130


def run_python(code):
    """Run *code* in a Python of its own; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True
    )
    return done.stdout, done.stderr


def test_ctrl_c_while_the_program_is_loaded():
    """It ends with 130 and without a traceback, however slow the machine is."""
    said = run_python(
        "import sys\nfrom apimodels_async.cli.main import main\n"
        "class Pressing:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'apimodels_async.cli.app': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Pressing())\nprint(main(['balance']))\n"
    )

    assert said == ("130\n", "")


def test_a_missing_extra_is_one_line():
    """Without one of an extra's packages the program says what to install."""
    names = [*EXTRA, "mcp"]
    out, err = run_python(
        "import sys\nfrom apimodels_async.cli.main import main\n"
        f"for name in {names}:\n"
        "    kept, sys.modules[name] = sys.modules.get(name), None\n"
        "    print(main(['mcp']))\n"
        "    del sys.modules[name]\n"
        "    if kept: sys.modules[name] = kept\n"
    )
    *lines, last = err.splitlines()

    assert out.split() == ["2"] * len(names)
    assert lines == [
        f"apimodels: error: {name} is not installed | tip: run: pip install "
        '"apimodels-async[cli]"'
        for name in EXTRA
    ]
    assert 'mcp is not installed | tip: run: pip install "apimodels-async[mcp]"' in last


def test_a_command_loads_what_it_needs():
    """Only the command that runs is loaded, and no extra that it does not use."""
    out, _ = run_python(
        "import sys\nfrom apimodels_async.cli.main import main\n"
        "main(['ls', 'nowhere'])\n"
        "heavy = {'mcp', 'pydantic', 'PIL', 'aiohttp', 'jinja2'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )

    assert out.strip() == ""


async def test_a_closed_pipe_is_quiet(program, environment):
    """When nobody reads on, the program ends with 141 and says nothing."""
    process = program("models")
    process.stdout.close()

    assert await asyncio.to_thread(process.stderr.read) == ""
    assert await asyncio.to_thread(process.wait, 20) == 141


def test_stdout_without_a_descriptor():
    """A stdout that is no file does not keep the exit code from being returned."""

    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    with contextlib.redirect_stdout(Closed()):
        assert main(["--help"]) == 141
