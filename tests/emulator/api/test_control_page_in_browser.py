"""The emulator's own page, as Chromium shows it."""

from __future__ import annotations

import json
import os
import shutil
from urllib.request import Request, urlopen

import pytest
from anyio.from_thread import start_blocking_portal
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

from apimodels_async.emulator import Emulator

CHROMIUM = shutil.which("chromium")
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync")
TASK_S = 600  # service time; the test moves the clock
expect.set_options(timeout=20_000)  # ms; a busy machine


@pytest.fixture
def address():
    """Serve an emulator with a task of each state on a thread of its own."""
    with start_blocking_portal() as portal:
        emulator = Emulator(service_times={"*": TASK_S})
        portal.call(emulator.start)
        for prompt in ("a moose", "[fail] an owl", "a hare"):
            order = {"model": "gpt-image-2", "prompt": prompt}
            call = Request(  # noqa: S310  loopback
                f"{emulator.base_url}/images/generations",
                json.dumps(order).encode(),
                {
                    "Authorization": f"Bearer {emulator.api_key}",
                    "Content-Type": "application/json",
                },
            )
            urlopen(call).close()  # noqa: S310  same
            if "owl" in prompt:
                portal.call(emulator.advance, TASK_S + 1)
        portal.call(emulator.advance, TASK_S / 2)
        yield emulator.base_url.removesuffix("api/v1")
        portal.call(emulator.aclose)


def test_the_page_shuts_nobody_out(address, tmp_path):
    """On a desk and in a hand, by day and by night, axe finds nothing, all fits."""
    if CHROMIUM is None:
        pytest.skip("no chromium on PATH; on Debian: apt install chromium")
    found = {}
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=FLAGS,
            env={**os.environ, "HOME": str(tmp_path)},
        ) as browser,
    ):
        for width in (1280, 390):
            for scheme in ("light", "dark"):
                page = browser.new_page(
                    viewport={"width": width, "height": 844}, color_scheme=scheme
                )
                page.goto(address)
                expect(page.locator("#tasks li")).to_have_count(3)
                told = Axe().run(page)
                wide = page.evaluate("document.documentElement.scrollWidth")
                if told.violations_count or wide > width:
                    found[width, scheme] = (wide, told.generate_report())
                page.close()
    assert found == {}
