"""
Each recipe under the server its readers run, two workers of it, over real sockets.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from attrs import define, field

from apimodels_async.emulator import Emulator

HERE = Path(__file__).parent
PATIENCE_S = 30.0
TASK_S = 600  # service time at the emulator; tests move its clock
MODEL = "gpt-image-2"
UVICORN = (
    "-m",
    "uvicorn",
    "--app-dir",
    str(HERE),
    "--workers",
    "2",
    "--port",
    "{port}",
)
COMMANDS = {
    "fastapi": [(*UVICORN, "fastapi_app:app")],
    "starlette": [(*UVICORN, "starlette_app:app")],
    "litestar": [(*UVICORN, "litestar_app:app")],
    "quart": [(*UVICORN, "quart_app:app")],
    "aiohttp": [(str(HERE / "aiohttp_app.py"),)] * 2,
}
READY = re.compile("startup complete|Running on http")

pytestmark = pytest.mark.timeout(120)


def wait_until(holds):
    """Return once *holds* does; fail when it takes too long."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


class Vendor:
    """The emulator on an event loop of its own; tests move its clock."""

    def __init__(self, portal, emulator):
        self._portal = portal
        self.emulator = emulator

    def finish(self):
        """Let pass what a task takes."""
        self._portal.call(self.emulator.advance, TASK_S + 1)

    def fault(self, *words, **options):
        """Put a fault in force."""
        self._portal.call(lambda: self.emulator.fault(*words, **options))

    def ordered(self, prompt):
        """Return how often *prompt* was ordered."""
        return sum(
            one.prompt == prompt and one.endpoint in {"create", "sync"}
            for one in self.emulator.requests
        )


@pytest.fixture(scope="module")
def vendor():
    """Serve the API on a thread of its own."""
    with start_blocking_portal() as portal:
        times = {"*": TASK_S, "sparkpix-image": 0.3}
        emulator = Emulator(service_times=times)
        portal.call(emulator.start)
        yield Vendor(portal, emulator)
        portal.call(emulator.aclose)


@define
class App:
    """A recipe behind its server: one or more processes on one port."""

    commands: list[tuple[str, ...]]
    env: dict[str, str]
    port: int
    notes: Path
    servers: list[subprocess.Popen] = field(factory=list)

    def start(self):
        """Start every process and return once all listen."""
        for command in self.commands:
            server = subprocess.Popen(
                (sys.executable, "-u", *(w.format(port=self.port) for w in command)),
                cwd=HERE,
                env=self.env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,  # its workers are killed with it
            )
            self.servers.append(server)
            said = []
            for line in server.stdout:
                said.append(line)
                if READY.search(line):
                    break
            else:
                pytest.fail("it did not start:\n" + "".join(said))
        wait_until(self.listens)  # some say that they run shortly before they do

    def listens(self):
        """Return whether anybody takes a connection."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self, number=signal.SIGTERM):
        """Send all a signal and return what they said since they listen."""
        for server in self.servers:
            if number is signal.SIGKILL:
                os.killpg(server.pid, number)
            else:
                server.send_signal(number)
        said = ""
        for server in self.servers:
            said += server.stdout.read()
            server.stdout.close()
            server.wait()
        self.servers.clear()
        return said

    def connect(self):
        """Return a connection of its own, so that any worker may get it."""
        return closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60))

    def ask(self, method, path, body=None):
        """Send one request; return status, headers and what the JSON says."""
        with self.connect() as client:
            send(client, method, path, body)
            answer = client.getresponse()
            return answer.status, answer.headers, json.loads(answer.read())

    def noted(self):
        """Return what the notes hold."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [json.loads(line) for line in lines]


def send(client, method, path, body=None):
    """Send a request with a JSON body, and leave the answer where it is."""
    headers = {"Content-Type": "application/json"}
    client.request(method, path, None if body is None else json.dumps(body), headers)


@pytest.fixture(scope="module", params=sorted(COMMANDS))
def app(request, vendor, tmp_path_factory):
    """Run one recipe after the other."""
    folder = tmp_path_factory.mktemp(request.param)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    notes = folder / "orders.jsonl"
    env = {
        **os.environ,
        "APIMODELS_BASE_URL": vendor.emulator.base_url,
        "APIMODELS_API_KEY": vendor.emulator.api_key,
        "HOME": str(folder),
        "ORDERS": str(notes),
        "PORT": str(port),
    }
    app = App(COMMANDS[request.param], env, port, notes)
    app.start()
    yield app
    said = app.stop()
    assert "Traceback" not in said
    assert "never closed" not in said


@pytest.fixture(autouse=True)
def no_faults_left(vendor):
    """Put all faults of a test out of force."""
    yield
    vendor.emulator.clear_faults()


def test_a_picture_is_drawn_at_once(app):
    """The synchronous model's picture is in the answer, and in the notes."""
    status, _, body = app.ask("POST", "/draw", {"prompt": "a moose"})

    assert status == 200
    assert body["url"].startswith("http")
    assert {"prompt": "a moose", "url": body["url"]} in app.noted()


def test_any_worker_answers_for_a_task(app, vendor, request):
    """A task ordered at one worker is looked up at all of them; it is ordered once."""
    prompt = request.node.name
    status, headers, task = app.ask("POST", "/tasks", {"prompt": prompt})
    assert (status, task["state"]) == (202, "pending")
    assert {"prompt": prompt, "task_id": task["task_id"]} in app.noted()

    shown = [app.ask("GET", headers["Location"]) for _ in range(6)]
    assert {(status, body["state"]) for status, _, body in shown} == {(200, "pending")}
    vendor.finish()
    ended = [app.ask("GET", headers["Location"] + "?wait=10") for _ in range(6)]

    assert {status for status, _, _ in ended} == {200}
    assert {body["state"] for _, _, body in ended} == {"completed"}
    assert len({tuple(body["urls"]) for _, _, body in ended}) == 1
    assert vendor.ordered(prompt) == 1


@pytest.mark.parametrize(
    ("fault", "status", "facts"),
    [
        (("status", {"status": 400}), 400, {"charged": False, "repeat": True}),
        (("status", {"status": 402}), 503, {"charged": False, "repeat": True}),
        (("unauthorized", {}), 503, {"charged": False, "repeat": True}),
        (
            ("rate_limit", {"retry_after": 300}),
            429,
            {"error": "RateLimit", "repeat": True},
        ),
        (
            ("reset", {"after": True}),
            502,
            {"error": "OutcomeUnknown", "charged": None, "repeat": False},
        ),
        (
            ("status", {"status": 500}),
            502,
            {"error": "OutcomeUnknown", "charged": None, "repeat": False},
        ),
    ],
    ids=["400", "402", "401", "429", "cut", "500"],
)
def test_an_error_has_the_status_that_fits(app, vendor, fault, status, facts, request):
    """The client learns whether it was charged and whether it may ask again."""
    kind, options = fault
    prompt = request.node.name
    vendor.fault("create", kind, **options)

    got, headers, body = app.ask("POST", "/tasks", {"prompt": prompt})
    if status == 429:  # its session holds everybody's orders back for as long
        app.stop()
        app.start()

    assert got == status
    assert body.items() >= facts.items()
    assert vendor.emulator.api_key not in str(body)
    assert vendor.ordered(prompt) == 1
    waits = {429: "300", 503: "30"}
    assert headers.get("Retry-After") == waits.get(status)
    if status == 502:
        assert "Do not repeat it" in body["message"]


def test_a_bad_parameter_is_the_clients_fault(app, vendor):
    """What the library refuses before it is sent is a 400 that names the reason."""
    status, _, body = app.ask("POST", "/draw", {"prompt": "  "})

    assert (status, body["error"]) == (400, "InvalidRequest")
    assert body["message"].startswith("prompt=")


def test_a_failed_task_says_why(app, vendor, request):
    """A refusal by the content policy is a 422, not charged."""
    prompt = f"{request.node.name} [refused]"
    _, headers, _ = app.ask("POST", "/tasks", {"prompt": prompt})
    vendor.finish()

    status, _, body = app.ask("GET", headers["Location"] + "?wait=10")

    assert (status, body["charged"]) == (422, False)
    assert "Content policy" in body["message"]


def test_an_unknown_task_is_not_found(app):
    """An id that the API does not know ends as 404."""
    assert app.ask("GET", "/tasks/clxnever?wait=20")[0] == 404


def test_a_client_who_hangs_up_loses_nothing(app, vendor, request):
    """The order goes on, is paid once, and its picture is in the notes."""
    prompt = request.node.name
    with app.connect() as client:
        send(client, "POST", "/draw", {"prompt": prompt})
        wait_until(lambda: vendor.ordered(prompt))

    wait_until(lambda: prompt in [note["prompt"] for note in app.noted()])
    assert vendor.ordered(prompt) == 1
    assert app.ask("POST", "/draw", {"prompt": "another"})[0] == 200


def test_a_stopped_server_hands_its_tasks_on(app, vendor, request):
    """SIGTERM lets the order under way be answered; the next process knows its task."""
    early, late = f"early {request.node.name}", f"late {request.node.name}"
    _, headers, _ = app.ask("POST", "/tasks", {"prompt": early})
    vendor.fault("create", "slow", seconds=1.5, match=late)
    with app.connect() as client:
        send(client, "POST", "/tasks", {"prompt": late})
        wait_until(lambda: vendor.ordered(late))
        said = app.stop()
        answer = client.getresponse()
        assert answer.status == 202
        answer.read()
    assert "Traceback" not in said
    ids = {note["prompt"]: note.get("task_id") for note in app.noted()}
    vendor.finish()
    app.start()

    for location in (headers["Location"], f"/tasks/{ids[late]}"):
        _, _, body = app.ask("GET", location + "?wait=10")
        assert body["state"] == "completed"
    assert vendor.ordered(early) == vendor.ordered(late) == 1


def test_a_killed_server_forgets_no_task(app, vendor, request):
    """After SIGKILL the ids are in the notes, and any new process takes them up."""
    prompt = request.node.name
    app.ask("POST", "/tasks", {"prompt": prompt})

    app.stop(signal.SIGKILL)
    vendor.finish()
    app.start()

    (task_id,) = [n["task_id"] for n in app.noted() if n["prompt"] == prompt]
    _, _, body = app.ask("GET", f"/tasks/{task_id}?wait=10")
    assert body["state"] == "completed"
    assert vendor.ordered(prompt) == 1


def test_many_clients_at_once_are_all_answered():
    """One process with one session answers them; ``load.py`` says what it took."""
    load = (sys.executable, str(HERE / "load.py"), "--seconds", "2", "--clients", "50")
    run = subprocess.run(load, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr
    first, *rest = run.stdout.splitlines()
    assert re.fullmatch(r"50 clients for 2 s: [1-9]\d* answers, 0 bad", first)
    assert [line.split()[0] for line in rest] == ["answer", "loop", "memory"]


def test_the_readme_names_every_recipe():
    """Each program here is in the README's table."""
    named = set(re.findall(r"\w+_app\.py", (HERE / "README.md").read_text()))

    assert named == {path.name for path in HERE.glob("*_app.py")}
