"""
kill -9 in the middle of a batch, at named points and anywhere: nothing is paid twice.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.batches import uncovered

SCRIPT = Path(__file__).parent / "crash.py"  # the nightly session does 100 runs


def test_a_killed_batch_is_resumed_without_paying_twice():
    """Twice 0, lost 0, unknown at most the concurrency for each kill."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--runs", "2", "--prompts", "16"],
        check=False,
        capture_output=True,
        text=True,
        env=uncovered(),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "submitted twice: 0" in done.stdout
    assert "lost: 0" in done.stdout
