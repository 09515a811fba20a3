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
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
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
    orders: Path
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

    def ask(self, method, path, body=None, key=None):
        """Send one request; return status, headers and what the JSON says."""
        with self.connect() as client:
            send(client, method, path, body, key)
            answer = client.getresponse()
            return answer.status, answer.headers, json.loads(answer.read())

    def stored(self, prompt):
        """Return (state, task id) of the orders of *prompt* in the store."""
        with closing(sqlite3.connect(self.orders)) as rows:
            query = "SELECT state, task_id FROM orders WHERE prompt = ?"
            return rows.execute(query, [prompt]).fetchall()

    def let_leases_end(self):
        """Let the minute pass for which a killed process counts as alive."""
        with closing(sqlite3.connect(self.orders)) as rows, rows:
            rows.execute("DELETE FROM owners")


def send(client, method, path, body=None, key=None):
    """Send a request with a JSON body, and leave the answer where it is."""
    headers = {"Content-Type": "application/json"}
    if key is not None:
        headers["Idempotency-Key"] = key
    client.request(method, path, None if body is None else json.dumps(body), headers)


@pytest.fixture(scope="module", params=sorted(COMMANDS))
def app(request, vendor, tmp_path_factory):
    """Run one recipe after the other."""
    folder = tmp_path_factory.mktemp(request.param)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    orders = folder / "orders.sqlite"
    env = {
        **os.environ,
        "APIMODELS_BASE_URL": vendor.emulator.base_url,
        "APIMODELS_API_KEY": vendor.emulator.api_key,
        "HOME": str(folder),
        "ORDERS": str(orders),
        "PORT": str(port),
    }
    app = App(COMMANDS[request.param], env, port, orders)
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
    """The synchronous model's picture is in the answer, and in the store."""
    status, _, body = app.ask("POST", "/draw", {"prompt": "a moose"})

    assert status == 200
    assert body["url"].startswith("http")
    assert app.stored("a moose") == [("completed", None)]


def test_a_key_is_bought_once(app, vendor, request):
    """The same Idempotency-Key brings the same answer from any worker, also at once."""
    prompt = request.node.name
    draws = [app.ask("POST", "/draw", {"prompt": prompt}, "draw") for _ in range(4)]
    assert {status for status, _, _ in draws} == {200}
    assert len({body["url"] for _, _, body in draws}) == 1
    assert vendor.ordered(prompt) == 1

    prompt = f"a task of {request.node.name}"
    with ThreadPoolExecutor(6) as clients:
        ask = partial(app.ask, "POST", "/tasks", {"prompt": prompt}, "task")
        tasks = [each.result() for each in [clients.submit(ask) for _ in range(6)]]
    vendor.finish()
    app.ask("GET", f"{tasks[0][1]['Location']}?wait=10")
    tasks += [ask() for _ in range(4)]

    assert {status for status, _, _ in tasks} == {202}
    assert len({headers["Location"] for _, headers, _ in tasks}) == 1
    assert vendor.ordered(prompt) == 1


def test_a_key_names_one_order(app, vendor, request):
    """Another order under the same key is the client's fault; nothing is sent."""
    prompt = request.node.name
    app.ask("POST", "/draw", {"prompt": "first"}, "named")

    status, _, body = app.ask("POST", "/draw", {"prompt": prompt}, "named")

    assert (status, body["charged"]) == (400, False)
    assert "another request" in body["message"]
    assert vendor.ordered(prompt) == 0


def test_a_key_of_unknown_fate_is_told_and_not_ordered_again(app, vendor, request):
    """However often the client asks, the answer is 502, and one request was sent."""
    prompt = request.node.name
    vendor.fault("create", "reset", after=True, match=prompt)

    answers = [app.ask("POST", "/tasks", {"prompt": prompt}, "lost") for _ in range(3)]

    assert {status for status, _, _ in answers} == {502}
    assert {body["repeat"] for _, _, body in answers} == {False}
    assert vendor.ordered(prompt) == 1


def test_any_worker_answers_for_a_task(app, vendor, request):
    """A task ordered at one worker is looked up at all of them; it is ordered once."""
    prompt = request.node.name
    status, headers, task = app.ask("POST", "/tasks", {"prompt": prompt})
    assert (status, task["state"]) == (202, "pending")
    assert app.stored(prompt) == [("accepted", task["task_id"])]

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
        (("status", {"status": 402}), 402, {"charged": False, "repeat": True}),
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
    waits = {402: "300", 429: "300", 503: "30"}
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
    """The order goes on, and whoever comes with its key gets the picture, paid once."""
    prompt = request.node.name
    with app.connect() as client:
        send(client, "POST", "/draw", {"prompt": prompt}, "hung up")
        wait_until(lambda: vendor.ordered(prompt))

    wait_until(lambda: app.stored(prompt) == [("completed", None)])
    status, _, body = app.ask("POST", "/draw", {"prompt": prompt}, "hung up")
    assert (status, body["url"][:4]) == (200, "http")
    assert vendor.ordered(prompt) == 1


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
    ((_, task_id),) = app.stored(late)
    vendor.finish()
    app.start()

    for location in (headers["Location"], f"/tasks/{task_id}"):
        _, _, body = app.ask("GET", location + "?wait=10")
        assert body["state"] == "completed"
    assert vendor.ordered(early) == vendor.ordered(late) == 1


def test_a_killed_server_forgets_no_task(app, vendor, request):
    """After SIGKILL the next process sees each to its end; no key is bought twice."""
    prompt = request.node.name
    _, _, task = app.ask("POST", "/tasks", {"prompt": prompt}, "killed")

    app.stop(signal.SIGKILL)
    app.let_leases_end()
    vendor.finish()
    app.start()

    wait_until(lambda: app.stored(prompt) == [("completed", task["task_id"])])
    _, _, again = app.ask("POST", "/tasks", {"prompt": prompt}, "killed")
    assert again == task | {"state": "completed"}
    assert vendor.ordered(prompt) == 1


def test_an_order_cut_off_by_a_kill_is_not_sent_again(app, vendor, request):
    """Killed before the answer came: the key's fate is unknown, and the client told."""
    prompt = request.node.name
    vendor.fault("create", "hang", after=True, match=prompt)
    with app.connect() as client:
        send(client, "POST", "/tasks", {"prompt": prompt}, "cut off")
        wait_until(lambda: vendor.ordered(prompt))
        app.stop(signal.SIGKILL)
    app.let_leases_end()
    app.start()

    status, _, body = app.ask("POST", "/tasks", {"prompt": prompt}, "cut off")

    assert (status, body["repeat"]) == (502, False)
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
