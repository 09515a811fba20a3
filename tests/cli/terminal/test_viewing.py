"""Saved pictures shown on a terminal, and in a viewer."""

from __future__ import annotations

import asyncio
import re
import shlex
import signal
import struct
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.waiting import until

from apimodels_async.cli.output import Output
from apimodels_async.cli.terminal.viewing import half_blocks, preview

BLOCK = "\u2580"


@pytest.mark.parametrize(
    ("size", "shown"),
    [((4, 4), (4, 2)), ((100, 50), (20, 5)), ((10, 400), (1, 20)), ((3, 1), (3, 1))],
)
def test_two_pixels_are_a_character(size, shown):
    """The picture keeps its shape and fits into the columns and rows given."""
    lines = half_blocks(Image.new("RGBA", size, "red"), 20, 20).plain.splitlines()

    assert (len(lines[0]), len(lines)) == shown
    assert {*"".join(lines)} == {BLOCK}


def test_the_upper_pixel_is_the_character(folder):
    """Its colour is that of the text, the one below that of the background."""
    picture = Image.new("RGB", (1, 2), "red")
    picture.putpixel((0, 1), (0, 0, 255))
    (span,) = half_blocks(picture, 9, 9).spans

    assert str(span.style) == "#ff0000 on #0000ff"


async def test_a_terminal_with_colours_shows_the_picture(run_on_terminal, monkeypatch):
    """Off with --no-preview, without colours, and where output is piped."""
    command = ("generate", "a fox", "--out", "a")
    plain = await run_on_terminal(*command)
    monkeypatch.setenv("COLORTERM", "truecolor")
    shown = await run_on_terminal(*command)
    asked = await run_on_terminal(*command, "--no-preview")
    monkeypatch.setenv("NO_COLOR", "1")
    sober = await run_on_terminal(*command)

    assert BLOCK in shown.out
    assert [BLOCK in each.out for each in (plain, asked, sober)] == [False] * 3
    assert "\x1b]8;" in shown.out  # the address and the file are links


async def test_a_pipe_gets_no_picture_and_no_links(run, monkeypatch):
    """What is piped is text, whatever the terminal can do."""
    monkeypatch.setenv("COLORTERM", "truecolor")
    done = await run("generate", "a fox")

    assert BLOCK not in done.out
    assert "\x1b" not in done.out


async def test_what_cannot_be_drawn_is_not(folder, capsys):
    """A file that is none or damaged, and one in object storage, are left alone."""
    (folder / "a.png").write_text("x")
    await preview(Output(), Path("a.png"))
    Image.effect_noise((99, 99), 50).save("b.png")
    data = (folder / "b.png").read_bytes()
    at = data.index(b"IDAT")
    cut = struct.pack(">I4s500s4x", 500, b"IDAT", data[at + 4 :])
    (folder / "b.png").write_bytes(data[: at - 4] + cut + b"?" * 99)
    await preview(Output(), Path("b.png"))
    await preview(Output(), "s3://bucket/a.png")

    assert capsys.readouterr().out == ""


async def test_the_viewer_of_the_system_opens_it(
    program, environment, folder, monkeypatch
):
    """--open gives the saved file to the viewer, or the address without one."""
    script = folder / "viewer.py"
    script.write_text(
        "import sys\nopen('opened', 'a').write(sys.argv[1] + '\\n')\n", encoding="utf-8"
    )
    viewer = f"{shlex.quote(sys.executable)} {script} %s"
    monkeypatch.setenv("BROWSER", viewer)
    for more in (("--out", "fox"), ("--no-save",)):
        process = program("generate", "a fox", "--open", *more)
        _, err = await asyncio.to_thread(process.communicate, timeout=60)
        assert (process.returncode, err) == (0, "")
    saved, address = (folder / "opened").read_text().splitlines()

    assert saved == (folder / "fox.jpg").as_uri()
    assert re.match(r"http://127\.0\.0\.1:\d+/", address)


async def test_ctrl_c_at_the_viewer_tells_nothing_twice(
    program, run, folder, monkeypatch
):
    """What was saved and printed counts as handed over, whatever the viewer does."""
    script = folder / "viewer.py"
    script.write_text(
        "import time\nopen('opened', 'a').close()\ntime.sleep(1)\n", encoding="utf-8"
    )
    viewer = f"{shlex.quote(sys.executable)} {script} %s"
    monkeypatch.setenv("BROWSER", viewer)
    store = ("--store", "o.sqlite")
    process = program("generate", "a fox", "--open", "--out", "fox", *store)
    await until((folder / "opened").exists)
    process.send_signal(signal.SIGINT)
    out, err = await asyncio.to_thread(process.communicate, timeout=60)
    again = await run("recover", *store)

    assert process.returncode == 130
    assert (out.count("url "), "paid for" in err) == (1, False)
    assert "Nothing is left to fetch" in again.err


async def test_a_system_without_a_viewer_is_told_of(
    program, environment, folder, monkeypatch
):
    """The picture is saved all the same, and the exit code says so."""
    monkeypatch.setenv("BROWSER", f"{shlex.quote(sys.executable)} -c 1/0 %s")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("DISPLAY", raising=False)
    process = program("generate", "a fox", "--open", "--out", "fox")
    _, err = await asyncio.to_thread(process.communicate, timeout=60)

    assert process.returncode == 0
    assert "Nothing on this system opens file://" in err
    assert (folder / "fox.jpg").exists()
