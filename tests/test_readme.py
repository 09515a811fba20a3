"""
Every example of README.md and docs/ runs as it is printed, against the emulator.

A block fenced as ``python`` is run on its own, with ``await`` allowed at top level,
in an empty folder, with key and base URL of a fresh emulator in the environment, and
``REDIS_URL`` where it asks for one.
A comment on the line before the fence says otherwise:

- ``<!-- no-run: reason -->`` is for what cannot run here;
- ``<!-- continues -->`` is for what goes on where the block before it ended.

The shell blocks of the start page run, too; ``<!-- stays -->`` marks what serves them.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import os
import re
import shutil
import socket
import subprocess
import sys
import traceback
from pathlib import Path
from typing import NamedTuple

import pytest
from anyio.from_thread import start_blocking_portal
from support.redis import ABSENT, FOUND, RedisServer

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

FENCE = re.compile(
    r"(?:^[ ]*<!--[ ]*(?P<word>no-run|continues)(?::[ ]*(?P<why>.*?))?[ ]*-->\n\n?)?"
    r"^(?P<indent>[ ]*)(?P<fence>```+)python\b[^\n]*\n"
    r"(?P<code>.*?)"
    r"^(?P=indent)(?P=fence)[ ]*$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """One example: its code with the line it starts on, and what comes before it."""

    path: Path
    line: int
    code: str
    before: tuple[Block, ...] = ()
    no_run: str | None = None


def blocks(path: Path) -> list[Block]:
    """Return the Python blocks of a Markdown document, in order."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    found: list[Block] = []
    for match in FENCE.finditer(text):
        lines = match["code"].splitlines(keepends=True)
        code = "".join(line.removeprefix(match["indent"]) for line in lines)
        before = ()
        if match["word"] == "continues":
            before = (*found[-1].before, found[-1])
        found.append(
            Block(
                path=path,
                line=text.count("\n", 0, match.start("code")) + 1,
                code=code,
                before=before,
                no_run=match["why"] or "" if match["word"] == "no-run" else None,
            )
        )
    return found


def compiled(block: Block):
    """Return the code object of *block*; its line numbers are those of the document."""
    return compile(
        "\n" * (block.line - 1) + block.code,
        str(block.path),
        "exec",
        flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
        dont_inherit=True,
    )


def run(block: Block) -> dict[str, object]:
    """
    Run *block* after the blocks it continues; return the names it bound.

    Code without top-level ``await`` runs without an event loop, as a script does, so
    that it may start its own.
    """
    codes = [compiled(each) for each in (*block.before, block)]
    names: dict[str, object] = {"__name__": "__main__"}

    async def run_in_loop() -> None:
        for code in codes:
            awaitable = eval(code, names)  # noqa: S307 - our own documents
            if code.co_flags & inspect.CO_COROUTINE:
                await awaitable

    if any(code.co_flags & inspect.CO_COROUTINE for code in codes):
        asyncio.run(run_in_loop())
    else:
        for code in codes:
            exec(code, names)  # noqa: S102 - same
    return names


EXAMPLES = [
    pytest.param(
        block,
        id=f"{block.path.name}:{block.line}",
        marks=[] if block.no_run is None else pytest.mark.skip(reason=block.no_run),
    )
    for path in DOCUMENTS
    for block in blocks(path)
]


@pytest.mark.parametrize("block", EXAMPLES)
def test_a_printed_example_runs(block, monkeypatch, tmp_path, object_storage):
    """An example of the documentation runs to its end as it is printed."""
    from apimodels_async.emulator import Emulator

    monkeypatch.chdir(tmp_path)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Emulator(speed=50)) as emulator,
        contextlib.ExitStack() as stack,
    ):
        if "REDIS_URL" in block.code:
            if not FOUND:
                pytest.skip(ABSENT)
            server = stack.enter_context(RedisServer(()))
            monkeypatch.setenv("REDIS_URL", server.url)
        monkeypatch.setenv("APIMODELS_BASE_URL", emulator.base_url)
        monkeypatch.setenv("APIMODELS_POLL_INTERVAL", "0.1")
        monkeypatch.setenv("APIMODELS_API_KEY", emulator.api_key)
        run(block)


def test_what_does_not_run_says_why():
    """Every block that is left out gives a reason."""
    silent = [
        f"{block.path.name}:{block.line}"
        for path in DOCUMENTS
        for block in blocks(path)
        if block.no_run == ""
    ]

    assert silent == []


# --- the start page ---------------------------------------------------------------

SHELL = re.compile(
    r"(?:^<!-- (?P<word>no-run: [^>]+|stays) -->\n)?^```console\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@pytest.mark.timeout(180)
@pytest.mark.skipif(sys.platform == "win32", reason="its blocks are for a POSIX shell")
def test_the_start_page_runs_as_printed(tmp_path):
    """The commands of the start page work, one after the other, without a key."""
    stays, lines = [], []
    for block in SHELL.finditer(
        (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    ):
        word = block["word"] or ""
        if not word.startswith("no-run"):
            where = stays if word == "stays" else lines
            where += re.findall(r"^\$ (.*)$", block["code"], re.MULTILINE)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    (server,) = [line.replace("8787", port).split() for line in stays]
    script = "\n".join(lines).replace("8787", port)
    folder = str(Path(sys.executable).parent)
    env = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    program = shutil.which("apimodels", path=folder)
    shell = shutil.which("sh")
    assert program is not None
    assert shell is not None

    with subprocess.Popen(
        [program, *server[1:]], stdout=subprocess.PIPE, cwd=tmp_path, env=env
    ) as emulator:
        try:
            emulator.stdout.readline()  # it listens
            done = subprocess.run(
                [shell, "-eu", "-c", script],
                cwd=tmp_path,
                env=env,
                capture_output=True,
                encoding="utf-8",
                check=False,
            )
        finally:
            emulator.terminate()

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "demo" / "index.html").is_file()
    assert len(list(tmp_path.glob("fox.*"))) == 1
    assert len(list(tmp_path.glob("moose.*"))) == 1


# --- the reader of documents, on a document of its own ----------------------------

DOCUMENT = """\
# A document

```python
import asyncio
await asyncio.sleep(0)
kept = "top-level await"
```

```console
$ python no.py
```

<!-- continues -->
```python
kept += ", continued"
```

1. In a list:

   ```python
   import asyncio

   async def main():
       return "a script"

   if __name__ == "__main__":
       kept = asyncio.run(main())
   ```

<!-- no-run: needs a bot token -->

```python
raise SystemExit("this must not run")
```

```python
from __future__ import annotations

kept = "before the error"
1 / 0
```
"""


@pytest.fixture
def document(tmp_path):
    """Write a document with a block of every kind."""
    path = tmp_path / "document.md"
    path.write_text(DOCUMENT, encoding="utf-8")
    return blocks(path)


def test_python_blocks_are_found_where_they_stand(document):
    """Each Python block is found with the line its code starts on, others are not."""
    assert [block.line for block in document] == [4, 15, 21, 33, 37]


def test_a_block_may_await(document):
    """A block with ``await`` at top level runs, and so does one that continues it."""
    assert run(document[0])["kept"] == "top-level await"
    assert run(document[1])["kept"] == "top-level await, continued"


def test_a_block_may_be_a_script(document):
    """A block that starts its own event loop runs as a script does."""
    assert run(document[2])["kept"] == "a script"


def test_a_block_may_be_left_out_with_a_reason(document):
    """A block that is not run says why, and only that one."""
    assert [block.no_run for block in document] == [
        *(None, None, None),
        "needs a bot token",
        None,
    ]


def test_an_error_points_into_the_document(document, tmp_path):
    """The traceback of a failing block names the document and its line."""
    with pytest.raises(ZeroDivisionError) as caught:
        run(document[4])

    frame = traceback.extract_tb(caught.tb)[-1]
    assert (frame.filename, frame.lineno) == (str(tmp_path / "document.md"), 40)
    assert frame.line == "1 / 0"


def test_a_document_that_is_not_there_has_no_blocks(tmp_path):
    """A document that does not exist has no examples and is no error."""
    assert blocks(tmp_path / "nowhere.md") == []
