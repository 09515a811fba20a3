"""The folder of a batch, and what can be in its place."""

from __future__ import annotations

import os

import pytest
from attrs import evolve
from support.cases import check_all

from apimodels_async import ConfigurationError
from apimodels_async.cli.batch.folder import USED, Folder
from apimodels_async.cli.batch.plan import Plan
from apimodels_async.cli.batch.rows import PromptFile

PLAN = Plan(file="p.txt", prompts="prompts.txt", rows=1, ordered=1)


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
    there = evolve(PLAN, base_url="https://b.example/\x1b[2J/")
    (folder / "batch.json").write_bytes(there.content())
    with pytest.raises(ConfigurationError, match="--base-url or APIMODELS") as caught:
        place.check_address("https://a.example/v1")

    assert r"b.example/\x1b[2J" in str(caught.value)
    here = evolve(PLAN, base_url="https://a.example/v1/")
    (folder / "batch.json").write_bytes(here.content())
    place.check_address("https://a.example/v1")
