"""What a shell completes of a command line."""

from __future__ import annotations

from cyclopts.completion._engine import compute_completions
from support.cases import check_all

from apimodels_async import known_models
from apimodels_async.cli.app import build

TASK = ("generate", "a fox", "--model", "gpt-image-2-all", "--param")


def check(words, expected):
    """Complete the last of these words."""
    app = build(["__complete"])
    assert {each.value for each in compute_completions(app, [*words])} == expected


def test_models_and_parameters_are_completed():
    """Model ids; after --param the names that the model has, and then their values."""
    known = known_models()
    taken = known["gpt-image-2-all"].params.values()
    named = {f"{each.name}=" for each in taken if not each.values}
    chosen = {f"{each.name}={one}" for each in taken for one in each.values}
    every = {f"{name}=" for each in known.values() for name in each.params}
    values = {f"quality={word}" for word in ("low", "medium", "high", "auto")}
    cases = [
        (("generate", "a fox", "--model", ""), set(known)),
        (("models", ""), set(known)),
        ((*TASK, ""), named | chosen),
        ((*TASK, "quality="), values),
        ((*TASK, "n="), set()),
        ((*TASK, "layers="), set()),
        (("edit", "x", "--model", "new", "--param", ""), every),
    ]

    check_all(cases, check)


def test_files_are_completed(folder):
    """Where a file, a folder or a store is named; hidden ones if they are begun."""
    (folder / "pictures").mkdir()
    for name in ("photo.png", "pictures/a fox.jpg", ".hidden"):
        (folder / name).write_text("")
    cases = [
        (("edit", "x", "--image", "p"), {"photo.png", "pictures"}),
        (("generate", "x", "--out", "pictures/a"), {"pictures/a fox.jpg"}),
        (("history", "--store", ""), {"photo.png", "pictures"}),
        (("ls", "."), {".hidden"}),
        (("recover", "--out", "nowhere/"), set()),
    ]

    check_all(cases, check)
