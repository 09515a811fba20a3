"""A gallery as its users run it: uvicorn, an emulator, and a real browser before it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from attrs import define, field
from playwright.sync_api import expect, sync_playwright

from apimodels_async.emulator import Emulator

sys.path.insert(0, str(Path(__file__).parent.parent))

EXAMPLES = Path(__file__).parent.parent
CHROMIUM = shutil.which("chromium")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update"),
    "--disable-sync",
)
TASK_S = 600  # service time at the emulator; tests move its clock
MODEL = "flux-2-klein-4b"


class Vendor:
    """The emulator on an event loop of its own; tests move its clock."""

    def __init__(self, portal, emulator):
        self._portal = portal
        self.emulator = emulator

    def begin(self):
        """Let pass what a task waits in the queue."""
        self._portal.call(self.emulator.advance, TASK_S / 2)

    def finish(self, *, slow=False):
        """Let pass what a task takes, or a prompt with ``[slow]`` in it."""
        self._portal.call(self.emulator.advance, TASK_S * (10 if slow else 1) + 1)

    def fault(self, *words, **options):
        """Put a fault in force."""
        self._portal.call(lambda: self.emulator.fault(*words, **options))

    def ordered(self):
        """Return the prompts of all paid requests, in order of arrival."""
        paid = {"create", "sync"}
        return [one.prompt for one in self.emulator.requests if one.endpoint in paid]

    def files(self):
        """Return how many files were fetched."""
        return sum(one.endpoint == "file" for one in self.emulator.requests)


@pytest.fixture
def vendor():
    """Serve the API on a thread of its own."""
    with start_blocking_portal() as portal:
        emulator = Emulator(service_times={"*": TASK_S, "sparkpix-image": 0.5})
        portal.call(emulator.start)
        yield Vendor(portal, emulator)
        portal.call(emulator.aclose)


def free_port():
    """Return a port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@define
class Gallery:
    """One uvicorn process that can be killed and started again on its port."""

    env: dict[str, str]
    port: int = field(factory=free_port)
    process: subprocess.Popen | None = None

    @property
    def url(self):
        """Where its page is."""
        return f"http://127.0.0.1:{self.port}/"

    def start(self):
        """Start it and return once it listens."""
        self.process = subprocess.Popen(
            (
                *(sys.executable, "-m", "uvicorn", "gallery.app:app"),
                *("--no-access-log", "--port", str(self.port)),
            ),
            cwd=EXAMPLES,
            env=self.env,
            stderr=subprocess.PIPE,
            text=True,
        )
        said = []
        for line in self.process.stderr:
            said.append(line)
            if "Uvicorn running" in line:
                return self
        pytest.fail("it did not start:\n" + "".join(said))

    def end(self, number):
        """Send it a signal, and return its exit code and what it said since."""
        self.process.send_signal(number)
        said = self.process.stderr.read()
        self.process.stderr.close()
        return self.process.wait(), said

    def let_leases_end(self):
        """Let the minute pass for which a killed process counts as alive."""
        file = Path(self.env["GALLERY_DIR"], "orders.sqlite")
        with closing(sqlite3.connect(file)) as rows, rows:
            rows.execute("DELETE FROM owners")

    def close(self):
        """End it, if it still runs."""
        if self.process is not None and self.process.returncode is None:
            self.end(signal.SIGKILL)


@pytest.fixture
def gallery(vendor, tmp_path):
    """Run the gallery against the emulator, its pictures in an empty folder."""
    env = {
        **os.environ,
        "HOME": str(tmp_path),
        "APIMODELS_BASE_URL": vendor.emulator.base_url,
        "APIMODELS_API_KEY": vendor.emulator.api_key,
        "GALLERY_DIR": str(tmp_path / "pictures"),
    }
    gallery = Gallery(env).start()
    yield gallery
    gallery.close()


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """Start the system's Chromium once."""
    if CHROMIUM is None:
        pytest.skip("no chromium on PATH; on Debian: apt install chromium")
    home = tmp_path_factory.mktemp("home")
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=FLAGS,
            env={**os.environ, "HOME": str(home)},
        ) as browser,
    ):
        yield browser


@define
class Tab:
    """A page with the gallery in it, and what it complained about."""

    page: object
    complaints: list[str]

    def draw(self, *prompts):
        """Order pictures with the mouse."""
        self.page.get_by_label("Prompts").fill("\n".join(prompts))
        self.page.get_by_role("button", name="Draw", exact=True).click()

    def accepted(self, count):
        """Wait until *count* cards are queued at the API."""
        expect(self.page.locator(".card.pending")).to_have_count(count)

    @property
    def cards(self):
        """All cards."""
        return self.page.locator(".card")

    @property
    def pictures(self):
        """The cards with a picture."""
        return self.page.locator(".card.completed img")

    def card(self, prompt):
        """Return the card of a prompt."""
        return self.cards.filter(has_text=prompt)


@pytest.fixture
def look(chromium, gallery):
    """Open the gallery in a tab; a complaint of the browser fails the test."""
    opened = []

    def look(**options):
        context = chromium.new_context(**options)
        tab = Tab(context.new_page(), [])
        opened.append((context, tab))
        tab.page.on("pageerror", lambda error: tab.complaints.append(str(error)))
        tab.page.on(
            "console",
            lambda message: (
                tab.complaints.append(message.text)
                if message.type in {"error", "warning"}
                else None
            ),
        )
        tab.page.goto(gallery.url)
        return tab

    yield look
    for context, _ in opened:
        context.close()
    assert [line for _, tab in opened for line in tab.complaints] == []
