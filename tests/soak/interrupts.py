"""
SIGINT to whoever waits for the synchronous session, the CLI and the MCP server.

The synchronous session is interrupted in this process, by a real signal to the main
thread: at the k-th line of the way into the session's thread and back, for all k, and
at random moments. Programs are processes of their own. All of it is run by

    python tests/soak/accounting.py --surface sync --surface mcp --surface cli
"""

from __future__ import annotations

import contextlib
import json
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

if __name__ == "__main__":  # no program: its server is the campaign's
    sys.exit(__doc__.strip())

from soak import surfaces
from soak.accounts import listening
from support.batches import uncovered

from apimodels_async import ApiModelsError, ImageRequest, SparkPixImage, sync
from apimodels_async.sync import handle, images, session

TASK = "gpt-image-2"
PROGRAM = (sys.executable, "-P", "-m", "apimodels_async.cli.main")
WATCHED = {
    *(handle.__file__, images.__file__, session.__file__),
    str(Path(session.__file__).with_name("_portal.py")),
}
LINES = 90  # of the way in and back
SESSION = 60  # calls of one session
AT_ONCE = 3
ROWS = 8  # of a batch file
PATIENCE_S = 60


class Keyboard:
    """Ctrl-C, once, while a body runs; Python's own handler raises it."""

    def __init__(self):
        self.armed = False
        self.left = -1
        signal.signal(signal.SIGINT, self._caught)

    def _caught(self, _number, _frame):
        if self.armed:
            self.armed = False
            raise KeyboardInterrupt

    def at_line(self, line, body):
        """Run *body*, interrupted before that line; return whether it was."""
        self.left = line
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            return self._run(body)
        finally:
            sys.settrace(before)

    def _trace(self, frame, event, _):
        if frame.f_code.co_filename not in WATCHED:
            return None
        self.left -= event in {"line", "call"}
        if self.left < 0:
            sys.settrace(None)
            signal.raise_signal(signal.SIGINT)
        return self._trace

    def after(self, seconds, body):
        """Run *body*, interrupted after that time; return whether it was."""
        main = threading.main_thread().ident
        timer = threading.Timer(seconds, signal.pthread_kill, (main, signal.SIGINT))
        timer.start()
        try:
            return self._run(body)
        finally:
            timer.join()

    def _run(self, body):
        try:
            self.armed = True
            body()
            self.armed = False
        except KeyboardInterrupt:
            return True
        return False


def sync_session(account, served, orders, seed):
    """Interrupt every call of the synchronous session."""
    before = signal.getsignal(signal.SIGINT)
    try:
        with listening() as lines:
            _sync(account, served, orders, seed, Keyboard())
    finally:
        signal.signal(signal.SIGINT, before)
    account.note_text("log", "\n".join(lines), served.works())
    account.unnamed.pop("log", None)


def _sync(account, served, orders, seed, keyboard):
    rng, number = random.Random(seed), 0
    with sync.Session(**served.options) as blocking:
        box = []
        for body in _bodies(account, blocking, [], box)[:-2]:
            body()  # whatever is imported: Python's own locks bear no interrupt
        _note(account, box)
    while account.orders < orders:
        blocking = sync.Session(**served.options)
        held = []
        bodies = _bodies(account, blocking, held, box)
        for _ in range(SESSION):
            number += 1
            _interrupt(account, keyboard, rng, number, bodies[number % len(bodies)])
            _note(account, box)
            if number % 7 == 0:
                for orphan in _taken(account, blocking, keyboard, rng):
                    account.note("orphans", orphan)
        if rng.random() < 0.5:  # the closing is interrupted as well
            seconds = rng.uniform(0, 0.02)
            account.cut["SIGINT"] += keyboard.after(seconds, blocking.close)
        blocking.close()
        surfaces.note_end(account, blocking, held)


def _interrupt(account, keyboard, rng, number, body):
    if number % 2:
        cut = keyboard.at_line(number // 2 % LINES, body)
    else:
        cut = keyboard.after(rng.uniform(0, 0.03), body)
    account.cut["SIGINT"] += cut


def _note(account, box):
    for found, place, prompt in box:
        account.note(place, found, prompt)
    box.clear()


def _taken(account, blocking, keyboard, rng):
    """Take the orphans, and be interrupted in it."""
    taken = []
    body = lambda: taken.extend(blocking.take_orphans())  # noqa: E731
    account.cut["SIGINT"] += keyboard.at_line(rng.randrange(20), body)
    return taken


def _bodies(account, blocking, held, box):
    """Return the calls of a session; what one returns is in *box* in the same step."""

    def noted(make):
        def body():
            prompt = account.prompt()
            try:
                # No call of Python's between what returns and what keeps it.
                box.append((make(prompt), "returned", prompt))
            except ApiModelsError as error:
                box.append((error, "error", prompt))

        return body

    def batch(leave):
        def body():
            items = [
                ImageRequest(TASK, account.prompt())
                if number % 2
                else SparkPixImage(prompt=account.prompt())
                for number in range(3)
            ]
            made = blocking.images.batch(items, max_pending=2)
            held.append(made)
            with made as outcomes:
                for _ in range(leave):
                    box.append((next(outcomes), "returned", None))

        return body

    return (
        noted(blocking.images.generate),
        noted(lambda prompt: blocking.images.generate(prompt, model=TASK)),
        noted(lambda prompt: blocking.images.submit(prompt, model=TASK)),
        noted(lambda prompt: blocking.images.edit(prompt, images=surfaces.PICTURE)),
        batch(1),
        batch(3),
    )


# --- the command line ----------------------------------------------------------------


def cli(account, served, orders, seed):
    """Interrupt ``apimodels generate`` and ``batch`` at random moments."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(AT_ONCE) as pool:
        said, number = [], 0
        whole = _duration(served, Path(folder))
        while account.orders < orders:
            place = Path(folder) / str(number)
            place.mkdir()
            prompts = [account.prompt() for _ in range(ROWS if number % 4 == 3 else 1)]
            seconds = rng.uniform(0.3, 1.3) * whole
            said.append(pool.submit(_command, served, prompts, number, seconds, place))
            number += 1
        ended = [each.result() for each in said]
        works = served.works()
        for work in works:
            if work["prompt"] == "a whole one":
                account.note("printed", work["id"])
                account.orders += 1
        for prompts, text, code, journal in ended:
            account.cut["SIGINT"] += code != 0
            ours = [work for work in works if work["prompt"] in prompts]
            _note_command(account, ours, prompts, text, journal)


def _duration(served, folder):
    """Return how many seconds a command takes, a few at once."""
    began = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for number in range(AT_ONCE):
            place = folder / f"whole-{number}"
            place.mkdir()
            pool.submit(_command, served, ["a whole one"], number, PATIENCE_S, place)
    return time.monotonic() - began


def _command(served, prompts, number, seconds, place):
    kinds = (
        ("generate", prompts[0]),
        ("generate", prompts[0], "--model", TASK),
        ("generate", prompts[0], "--json", "--no-save"),
        ("batch", "prompts.txt", "--out", "out"),
    )
    argv = kinds[number % 4]
    if argv[0] == "batch":
        (place / "prompts.txt").write_text("\n".join(prompts), encoding="utf-8")
    environment = {**uncovered(), **served.environment, "HOME": str(place)}
    process = subprocess.Popen(
        [*PROGRAM, *argv],
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=PATIENCE_S)
    journals = list(place.glob("out/*.sqlite"))
    return prompts, text, process.returncode, journals


def _note_command(account, works, prompts, text, journals):
    account.note_text("printed", text, works)
    account.unnamed.pop("printed", None)
    if "OutcomeUnknownError" in text:
        account.note("printed", prompts[0])
    for path in journals:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            sql = "SELECT prompt, state FROM orders WHERE current"
            rows = connection.execute(sql).fetchall()
        for prompt, state in rows:
            if state in {"intended", "accepted", "completed", "unknown"}:
                account.note("pending", prompt)


# --- the server for agents --------------------------------------------------------

HELLO = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
CALLS = 50  # of one server
TOOLS = (
    ("generate", {}),
    ("generate", {"model": TASK}),
    ("submit", {"model": TASK}),
    ("edit", {"images": surfaces.PICTURE}),
)


def mcp(account, served, orders, seed):
    """Cancel calls of a client at random moments; end the server in two ways."""
    rng, texts, unknown = random.Random(seed), [], 0
    while account.orders < orders:
        replies, errors = _serve_agent(account, served, rng)
        texts.append((replies, errors))
    works = served.works()
    for replies, errors in texts:
        account.note_text("returned", replies, works)
        account.note_text("printed", errors, works)
        unknown += errors.count("OutcomeUnknownError")
    account.unnamed.clear()
    account.unnamed["printed"] = unknown


def _serve_agent(account, served, rng):
    process = subprocess.Popen(
        [*PROGRAM, "mcp", "--max-cost", "1000"],
        env={**uncovered(), **served.environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    streams = {}

    def read(name, file):
        for line in file:
            streams[name] = streams.get(name, "") + line

    readers = [
        threading.Thread(target=read, args=(name, getattr(process, name)))
        for name in ("stdout", "stderr")
    ]
    for reader in readers:
        reader.start()

    def write(method, number=None, **params):
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        if number is not None:
            message["id"] = number
        process.stdin.write(json.dumps(message) + "\n")
        process.stdin.flush()

    process.stdin.write(json.dumps(HELLO) + "\n")
    write("notifications/initialized")
    while "stdout" not in streams:  # it answers once it has started
        time.sleep(0.05)
    for number in range(1, CALLS + 1):
        tool, more = TOOLS[number % len(TOOLS)]
        arguments = {"prompt": account.prompt(), **more}
        write("tools/call", number, name=tool, arguments=arguments)
        time.sleep(rng.uniform(0, 0.12))
        write("notifications/cancelled", requestId=number - rng.randrange(2))
        account.cut["cancelled"] += 1
    if rng.random() < 0.5:
        process.send_signal(signal.SIGINT)
        account.cut["SIGINT"] += 1
    process.stdin.close()
    process.wait(PATIENCE_S)
    for reader in readers:
        reader.join()
    process.stdout.close()
    process.stderr.close()
    return streams["stdout"], streams.get("stderr", "")
