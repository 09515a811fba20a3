"""
Names of a package that are imported on first use: what is light to have stays light;
and what is said where the extra that they need is missing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def lazy_names(
    package: str, homes: Mapping[str, tuple[str, ...]], extra: str = ""
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """
    Return ``__getattr__`` and ``__dir__`` of *package*.

    To stand behind ``else`` of ``if TYPE_CHECKING:``, under which type checkers and
    editors find what each name is: they are not to believe that any name is there.

    Args:
        homes: Module below ``apimodels_async`` -> the names that are had from it.

        extra: The extra that they need.
    """
    home_of = {name: home for home, names in homes.items() for name in names}

    def get(name: str) -> object:
        if name not in home_of:
            msg = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(msg)
        try:
            home = import_module(f"apimodels_async.{home_of[name]}")
        except ModuleNotFoundError as error:
            raise without_extra(error, extra) from None
        return getattr(home, name)

    def list_names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *home_of})

    return get, list_names


def without_extra(error: ModuleNotFoundError, extra: str) -> ModuleNotFoundError:
    """Return *error*, of a module that is missing, with what brings it: *extra*."""
    root = (error.name or "").partition(".")[0]
    if not extra or root in {"", "apimodels_async"}:
        return error
    msg = f"{root} is not installed; run: pip install 'apimodels-async[{extra}]'"
    return ModuleNotFoundError(msg, name=error.name, path=error.path)
