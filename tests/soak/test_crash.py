"""
kill -9 in the middle of a batch, at named points and anywhere: nothing is paid twice.
"""

from __future__ import annotations

from pathlib import Path

from support.batches import run_campaign

SCRIPT = Path(__file__).parent / "crash.py"  # the nightly session does 100 runs


def test_a_killed_batch_is_resumed_without_paying_twice():
    """Twice 0, lost 0, unknown at most the concurrency for each kill."""
    said = run_campaign(SCRIPT, "--runs", "2", "--prompts", "16")

    assert "submitted twice: 0" in said
    assert "lost: 0" in said
