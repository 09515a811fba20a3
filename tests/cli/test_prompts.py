"""Where the prompt of one picture is from."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys

import pytest

from apimodels_async import InvalidRequestError
from apimodels_async.cli.prompts import BYTES_MAX, read_prompt


async def test_a_file_holds_the_prompt(run, emulator, folder):
    """@FILE is its text without the last line end; @@ is one @ of the prompt's own."""
    (folder / "p.txt").write_bytes("\ufeffa füx\nin snow\n".encode())
    for prompt in ("@p.txt", "@@home"):
        assert (await run("generate", prompt, "--no-save")).code == 0

    prompts = [each.prompt for each in emulator.requests if each.prompt]
    assert prompts == ["a füx\nin snow", "@home"]


async def test_stdin_holds_the_prompt(program, environment, emulator):
    """A dash reads it from stdin."""
    process = program("generate", "-", "--no-save", stdin=subprocess.PIPE)
    _, err = await asyncio.to_thread(process.communicate, "a hare\n", timeout=60)

    assert (process.returncode, err) == (0, "")
    assert [each.prompt for each in emulator.requests if each.prompt] == ["a hare"]


async def test_stdin_that_breaks_off_is_no_prompt(program, environment, emulator):
    """What came before is not ordered: it is another prompt than was meant."""
    reading, writing = os.pipe()
    process = program("generate", "-", "--no-save", stdin=writing)
    _, err = await asyncio.to_thread(process.communicate, timeout=60)
    os.close(reading)
    os.close(writing)

    assert process.returncode == 2
    assert "the prompt cannot be read from stdin: " in err
    assert "it is empty" not in err
    assert not emulator.generations


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (None, "No such file"),
        (b" \n", "it is empty"),
        (b"\xff\xd8\xff", "not text in UTF-8"),
        (b"a" * (BYTES_MAX + 1), "longer than any prompt"),
    ],
)
async def test_what_is_no_prompt_is_refused(folder, data, why):
    """Before anything is sent, with the name of the file."""
    if data is not None:
        (folder / "p").write_bytes(data)
    with pytest.raises(InvalidRequestError, match=f"read from p: .*{why}"):
        await read_prompt("@p")


async def test_a_model_without_prompts_needs_none(run, emulator):
    """Where a model takes no prompt none is asked for; where it does, that is said."""
    url = "https://example.com/a.png"
    upscaled = await run("edit", "--image", url, "-m", "real-esrgan", "--no-wait")
    missing = await run("edit", "--image", url)

    assert upscaled.code == 0, upscaled
    assert missing.code == 2
    assert "PROMPT is missing: sparkpix-image-edit needs one" in missing.err


async def test_a_closed_stdin_is_refused(environment):
    """Where there is no stdin, neither a prompt nor a key can be in it."""
    program = f"{shlex.quote(sys.executable)} -P -m apimodels_async.cli.main"
    for words in ("login", "generate -"):
        command = ["sh", "-c", f"exec {program} {words} <&-"]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, check=False
        )
        assert (done.returncode, "closed" in done.stderr) == (2, True), done
