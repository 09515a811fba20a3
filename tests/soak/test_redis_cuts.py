"""
Processes are cut off from the Redis server they share, and some are killed: each key is
bought once, and none is lost.
"""

from __future__ import annotations

from pathlib import Path

from support.batches import run_campaign
from support.redis import needs_redis

SCRIPT = Path(__file__).parent / "redis_cuts.py"  # the nightly session cuts for 20 s
SMALL = ("--keys", "60", "--processes", "2", "--rate", "30", "--lease", "5")
SHORT = ("--cut", "1.2", "--patience", "0.6", "--cuts", "3", "--kills")


@needs_redis
def test_processes_that_are_cut_off_from_redis_buy_each_key_once():
    """Taken twice 0, lost 0: refused, hanging or reset, for longer than is waited."""
    said = run_campaign(SCRIPT, *SMALL, *SHORT)

    assert "taken twice: 0" in said
    assert "lost: 0" in said
