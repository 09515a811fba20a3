"""Workers are killed and Redis restarts: every picture is bought once, and saved."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from support.batches import run_campaign
from support.redis import needs_redis

SCRIPT = Path(__file__).parent / "workers.py"  # the nightly session has 2,000 pictures
SMALL = (
    *("--pictures", "60", "--workers", "2", "--at-once", "8", "--cap", "12"),
    *("--kill-every", "1.5", "--kills", "2"),
    *("--lease", "3"),
)
needs_moto = pytest.mark.skipif(
    importlib.util.find_spec("moto") is None,
    reason="moto is not installed: no S3 service to try",
)


@needs_redis
@needs_moto
def test_workers_that_are_killed_buy_each_picture_once():
    """Taken twice 0, unknown only what a killed one was sending, the rest saved."""
    said = run_campaign(SCRIPT, *SMALL)

    assert "taken twice: 0" in said
    assert "saved and not in the bucket: 0" in said
