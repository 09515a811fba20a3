"""The folder of a batch, and what can be in its place."""

from __future__ import annotations

import pytest

from apimodels_async import ConfigurationError
from apimodels_async.cli.batch.folder import Folder, Plan

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
