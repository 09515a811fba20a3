"""Small projects of users, run by a pytest of their own."""

from __future__ import annotations

import subprocess
import sys
from typing import NamedTuple

import pytest


class Run(NamedTuple):
    """How a run of pytest ended, and what it printed."""

    code: int
    text: str


@pytest.fixture
def project(tmp_path):
    """Write files into an empty folder, and run pytest there as a user would."""
    folder = tmp_path / "project"
    folder.mkdir()

    def run(*argv, **files):
        for name, text in files.items():
            (folder / name.replace("_dot_", ".")).write_text(text, encoding="utf-8")
        command = [sys.executable, "-P", "-m", "pytest", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, *argv],
            check=False,
            cwd=folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return Run(done.returncode, done.stdout)

    return run
