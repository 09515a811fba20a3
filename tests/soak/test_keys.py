"""
Processes order the same idempotency keys at once, and some are killed: each key is
bought once.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.batches import run_campaign
from support.redis import needs_redis

SCRIPT = Path(__file__).parent / "keys.py"  # the nightly session orders 20,000
SMALL = ("--orders", "120", "--keys", "60", "--processes", "2,4", "--lease", "1.5")
REDIS = ("--store", "redis", "--restart", "3", "--lease", "8")


@pytest.mark.parametrize(
    "more", [(), pytest.param(REDIS, marks=needs_redis)], ids=["sqlite", "redis"]
)
def test_processes_with_the_same_keys_buy_each_once(more):
    """Taken twice 0, one end for all, unknown only what a killed process had."""
    # A test never fails for being slow: how long turns take is for the night.
    said = run_campaign(SCRIPT, *SMALL, "--turn", "60", *more)

    assert "taken twice: 0" in said
    assert "ended otherwise: 0" in said
