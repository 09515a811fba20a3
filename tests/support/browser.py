"""The system's Chromium."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect, sync_playwright

CHROMIUM = shutil.which("chromium")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update"),
    "--disable-sync",
)
expect.set_options(timeout=20_000)  # ms; a busy machine


@contextmanager
def run_chromium(home):
    """Run it with *home* for its own; skips the test where there is none."""
    if CHROMIUM is None:
        pytest.skip("no chromium on PATH; on Debian: apt install chromium")
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=FLAGS,
            env={**os.environ, "HOME": str(home)},
        ) as browser,
    ):
        yield browser


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """Start it once."""
    with run_chromium(tmp_path_factory.mktemp("home")) as browser:
        yield browser
