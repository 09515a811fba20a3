"""The folder of a batch, and what can be in its place."""

from __future__ import annotations

import json
import os

import pytest
from support.cases import check_all

from apimodels_async import ConfigurationError
from apimodels_async.cli.batch.folder import USED, Folder
from apimodels_async.cli.batch.plan import Plan
from apimodels_async.cli.batch.rows import PromptFile

PLAN = Plan(file="p.txt", prompts="prompts.txt", rows=1, ordered=1)


def test_a_folder_that_cannot_be_read_says_why(folder):
    """A batch.json of a later release, or damaged, is named."""
    for text, why in {
        '{"version": 9}': "version 9; this release reads 1",
        "{": "it is damaged",
        '{"version": 1, "rows": "x"}': "it is damaged",
    }.items():
        (folder / "batch.json").write_text(text)
        with pytest.raises(ConfigurationError, match=f"batch.json cannot.*{why}"):
            Folder.at(folder).started()


def test_other_things_in_the_way_are_named(folder):
    """No batch, a directory for a file, a file for a directory."""
    with pytest.raises(ConfigurationError, match="is not the folder of a batch"):
        Folder.at(folder).started()
    (folder / "batch.json").mkdir()
    with pytest.raises(ConfigurationError, match="Is a directory"):
        Folder.at(folder).started()
    (folder / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        Folder.at(folder / "file").write(PLAN, None)
    with pytest.raises(ConfigurationError, match="the copy of the prompts"):
        Folder.at(folder).prompt_file(PLAN)
    assert Folder.at(folder / "file").plan() is None


FIELDS = {"file": "p", "prompts": "prompts.txt", "rows": 1, "ordered": 1, "version": 1}
FORGED = [
    *(("prompts", name) for name in ("../x.txt", "/etc/passwd", "x.txt", "", 5, None)),
    *(("queued_as", name) for name in ("../x", "", 5)),
    *(("max_cost", text) for text in ("-1", "0", "NaN", "sNaN", "much", [1])),
    *(("max_pending", count) for count in (0, -1, 1e999, "many")),
    *(("out", place) for place in ("memory:///x/", "s3://b/x", "../x", "", 5, [])),
    *(("speed", speed) for speed in (0, -1, float("nan"), float("inf"), "fast")),
]


def test_a_forged_plan_is_damaged(folder):
    """Names that are not ours and limits that are none are refused in one way."""
    (folder / "batch.json").write_text(json.dumps(FIELDS))
    assert Folder.at(folder).started().prompts == "prompts.txt"

    def check(name, value):
        (folder / "batch.json").write_text(json.dumps({**FIELDS, name: value}))
        with pytest.raises(ConfigurationError, match="it is damaged"):
            Folder.at(folder).started()

    check_all(FORGED, check)
    for text in ("[" * 100_000, "[]", "5", " " * (1 << 20) + "{}"):
        (folder / "batch.json").write_text(text)
        with pytest.raises(ConfigurationError, match="it is damaged"):
            Folder.at(folder).started()


def test_nothing_in_a_folder_leads_elsewhere(folder, tmp_path):
    """A link, even one to nowhere, and a pipe in a name that is used are refused."""
    Folder.at(folder).write(PLAN, PromptFile("p.txt", ".txt", b"a fox"))

    def check(name, make):
        place = folder / name
        kept = place.rename(tmp_path / "kept") if place.exists() else None
        make(place)
        with pytest.raises(ConfigurationError, match=f"{name} is a link, a pipe or"):
            Folder.at(folder).started()
        place.unlink()
        if kept:
            kept.rename(place)

    makers = (lambda path: path.symlink_to(tmp_path / "kept"), os.mkfifo)
    check_all([(name, make) for name in USED for make in makers], check)
    assert Folder.at(folder).started() == PLAN


def test_a_folder_does_not_say_where_the_key_goes(folder):
    """Another address than the one in force is refused, in words without controls."""
    place = Folder.at(folder)
    place.check_address("https://a.example/v1")
    fields = {**FIELDS, "base_url": "https://b.example/\x1b[2J/"}
    (folder / "batch.json").write_text(json.dumps(fields))
    with pytest.raises(ConfigurationError, match="--base-url or APIMODELS") as caught:
        place.check_address("https://a.example/v1")

    assert r"b.example/\x1b[2J" in str(caught.value)
    (folder / "batch.json").write_text(
        json.dumps({**FIELDS, "base_url": "https://a.example/v1/"})
    )
    place.check_address("https://a.example/v1")
