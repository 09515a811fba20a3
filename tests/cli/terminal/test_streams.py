"""Whatever stdout does, what was paid for is said and the exit code tells of it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import os
import sys
from pathlib import Path

import pytest

from apimodels_async.cli.terminal.streams import Stream, standard_streams

MODEL = ("--model", "gpt-image-2")


class Full(io.StringIO):
    """A stream on a disk without space."""

    def write(self, text):
        """Fail."""
        raise OSError(errno.ENOSPC, "No space left on device")


class Left(io.StringIO):
    """A stream whose reader left."""

    def write(self, text):
        """Fail."""
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def closed():
    """Return a stream that was closed."""
    stream = io.StringIO()
    stream.close()
    return stream


STDOUTS = [(Full, 1), (Left, 141), (closed, 1), (lambda: None, 1)]


@pytest.fixture
def prompts(folder):
    """Write a file of two prompts."""
    (folder / "a.txt").write_text("a fox\na hare\n", encoding="utf-8")
    return "a.txt"


async def test_what_was_paid_for_is_on_stderr(run, emulator, prompts, folder):
    """Where stdout takes nothing, task ids and files are named; the code is not 0."""
    wrong = []
    for number, (make, code) in enumerate(STDOUTS):
        deck, again = f"deck{number}", f"again{number}"
        for argv, words in (
            (("generate", "a fox", "--out", f"fox{number}"), f"fox{number}.jpg"),
            (("generate", "a", *MODEL, "--no-wait"), "task     cl"),
            (("generate", "a", *MODEL, "--no-wait", "--json"), '"task_id": "cl'),
            (("batch", prompts, "--out", deck), "2 of 2 saved"),
            (("resume", deck), "2 of 2 saved"),
            (("ls", deck), ""),
            (("ls", deck, "--json"), ""),
            (("batch", prompts, "--out", again, "--json"), '"not_ordered": 2'),
            (("balance",), ""),
            (("models",), ""),
        ):
            with contextlib.redirect_stdout(make()):
                done = await run(*argv)
            if (done.code, words in done.err) != (code, True):
                wrong.append((make, argv, done))

    assert wrong == []
    assert len(list(folder.glob("fox*.jpg"))) == len(STDOUTS)


async def test_a_reader_who_left_a_list_hears_nothing_more(run):
    """What was not paid for is dropped with its reader; a full disk is another case."""
    with contextlib.redirect_stdout(Left()):
        left = await run("balance")
    with contextlib.redirect_stdout(Full()):
        full = await run("balance")

    assert left.err == ""
    assert "stdout cannot be written (No space left on device)" in full.err
    assert "balance" in full.err


@pytest.fixture
def full():
    """Open the device that is always full."""
    device = Path("/dev/full")
    if not device.exists():
        pytest.skip("no /dev/full on this machine")
    with device.open("w", encoding="utf-8") as stream:
        yield stream


async def test_real_streams_that_fail(program, environment, emulator, folder, full):
    """A full disk, a closed descriptor, and stderr gone as well: never a traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    argv = ("generate", "a fox", "--out")
    started = [
        (1, program(*argv, "one", stdout=full)),
        (141, program(*argv, "two", stdout=writer)),
        (1, program(*argv, "three", preexec_fn=lambda: os.close(1))),
        (1, program(*argv, "four", stdout=full, stderr=full)),
        (141, program(*argv, "five", stdout=writer, stderr=writer)),
    ]
    os.close(writer)
    ends = [
        (code, process, await asyncio.to_thread(process.communicate, None, 50))
        for code, process in started
    ]

    assert [process.returncode for _, process, _ in ends] == [code for code, *_ in ends]
    for name, (_, _, (_, err)) in zip(("one", "two", "three"), ends, strict=False):
        assert f"saved    {name}.jpg" in err
        assert "Traceback" not in err
    assert len(list(folder.glob("*.jpg"))) == len(ends)


async def test_an_encoding_that_lacks_a_character_is_no_failure(
    program, environment, monkeypatch
):
    """What the encoding cannot say is written as an escape."""
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    process = program("generate", "a fox", "--out", "fox \N{FOX FACE}")
    out, err = await asyncio.to_thread(process.communicate, None, 50)

    assert (process.returncode, err) == (0, "")
    assert r"saved    fox \U0001f98a.jpg" in out


def test_a_stream_is_as_the_one_below(capsys):
    """Its encoding and its bytes are those of the process's own; it is put back."""
    before = sys.stdout
    with standard_streams(lists=False) as stdout:
        assert stdout.encoding == before.encoding
        assert stdout.buffer is before.buffer
        stdout.write("seen\n")

    assert sys.stdout is before
    assert capsys.readouterr().out == "seen\n"
    assert Stream(io.StringIO()).encoding == "utf-8"
    assert not hasattr(Stream(None), "buffer")
