"""``batch.json``, also one that somebody else wrote."""

from __future__ import annotations

import json

import pytest
from support.cases import check_all

from apimodels_async import ConfigurationError
from apimodels_async.cli.batch.plan import Plan

FIELDS = {"file": "p", "prompts": "prompts.txt", "rows": 1, "ordered": 1, "version": 1}
FORGED = [
    *(("prompts", name) for name in ("../x.txt", "/etc/passwd", "x.txt", "", 5, None)),
    *(("queued_as", name) for name in ("../x", "", 5)),
    *(("max_cost", text) for text in ("-1", "0", "NaN", "sNaN", "much", [1])),
    *(("max_pending", count) for count in (0, -1, 1e999, "many")),
    *(("out", place) for place in ("memory:///x/", "s3://b/x", "../x", "", 5, [])),
    *(("speed", speed) for speed in (0, -1, float("nan"), float("inf"), "fast")),
]


def test_a_plan_that_cannot_be_read_says_why(folder):
    """A batch.json of a later release, or damaged, is named."""
    for text, why in {
        '{"version": 9}': "version 9; this release reads 1",
        "{": "it is damaged",
        '{"version": 1, "rows": "x"}': "it is damaged",
    }.items():
        (folder / "batch.json").write_text(text)
        with pytest.raises(ConfigurationError, match=f"batch.json cannot.*{why}"):
            Plan.read(folder / "batch.json")


def test_a_forged_plan_is_damaged(folder):
    """Names that are not ours and limits that are none are refused in one way."""
    (folder / "batch.json").write_text(json.dumps(FIELDS))
    assert Plan.read(folder / "batch.json").prompts == "prompts.txt"

    def check(name, value):
        (folder / "batch.json").write_text(json.dumps({**FIELDS, name: value}))
        with pytest.raises(ConfigurationError, match="it is damaged"):
            Plan.read(folder / "batch.json")

    check_all(FORGED, check)
    for text in ("[" * 100_000, "[]", "5", " " * (1 << 20) + "{}"):
        (folder / "batch.json").write_text(text)
        with pytest.raises(ConfigurationError, match="it is damaged"):
            Plan.read(folder / "batch.json")
