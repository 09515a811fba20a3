"""The public door: what it promises, what it has, and what editors see are one list."""

from __future__ import annotations

import ast
import inspect
from importlib import import_module
from pathlib import Path

import pytest

import apimodels_async
from apimodels_async import batch, errors, stores, testing
from apimodels_async.integrations import redis, streaq

DOORS = [stores, redis, streaq, testing, batch]
"""Lazy ones, inside."""


def order(name: str) -> tuple[int, str]:
    """Return the key ruff sorts ``__all__`` by: constants, classes, then the rest."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def typed_names(tree: ast.Module) -> dict[str, str]:
    """Return what the door imports for type checkers only, name -> module."""
    imported = [
        (node.module, alias.asname or alias.name)
        for block in tree.body
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom) and node.module != "typing"
        for alias in node.names
    ]
    return {
        each: module
        for module, name in imported
        for each in (import_module(module).__all__ if name == "*" else [name])
    }


def test_the_list_is_sorted_and_unique():
    """``__all__`` has every name once, in ruff's order."""
    names = list(apimodels_async.__all__)

    assert sorted(set(names), key=order) == names


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_a_lazy_door_inside_has_what_it_says(door):
    """Each of its names resolves and is shown, and an unknown one is refused."""
    for name in door.__all__:
        assert getattr(door, name) is not None
    assert set(door.__all__) <= set(dir(door))
    with pytest.raises(AttributeError, match="has no attribute 'Postgres'"):
        _ = door.Postgres


def test_every_name_resolves():
    """Every name in ``__all__`` can be had and is shown by ``dir()``."""
    for name in apimodels_async.__all__:
        assert getattr(apimodels_async, name) is not None

    assert set(apimodels_async.__all__) <= set(dir(apimodels_async))


def test_an_unknown_name_is_an_attribute_error():
    """A name that does not exist is refused as any module would."""
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = apimodels_async.no_such_name


@pytest.mark.parametrize(
    "door", [apimodels_async, *DOORS], ids=lambda door: door.__name__
)
def test_type_checkers_see_what_is_there(door):
    """What type checkers are told each name of ``__all__`` is, it is."""
    typed = typed_names(ast.parse(Path(door.__file__).read_text(encoding="utf-8")))

    assert {name: getattr(import_module(typed[name]), name) for name in typed} == {
        name: getattr(door, name) for name in door.__all__ if not name.startswith("__")
    }


def test_every_error_is_exported():
    """Every error class of the tree is at the door, and is the same class."""
    real = {
        name: value
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.ApiModelsError)
    }

    assert real.keys() <= set(apimodels_async.__all__)
    assert real == {name: getattr(apimodels_async, name) for name in real}
