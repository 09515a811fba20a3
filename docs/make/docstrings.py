"""What Griffe reads in the package: its public names, and whether each is described."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

import griffe
from pages import DOORS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = "apimodels_async"


def public_names(package: griffe.Module) -> Iterator[str]:
    """Yield the dotted path of every public name, by the door that users take."""
    for door in DOORS:
        module = package[door] if door else package
        path = f"{PACKAGE}.{door}".rstrip(".")
        yield from (f"{path}.{name}" for name in module.exports or ())


class Heard(logging.Handler):
    """Keeps what Griffe says while it reads docstrings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record."""
        self.lines.append(record.getMessage())


def bad_docstrings() -> tuple[list[str], list[str]]:
    """Return the public names, and a sentence for each docstring that will not do."""
    heard = Heard()
    for name in ("griffe", "_griffe"):
        logging.getLogger(name).addHandler(heard)
    signatures = griffe.load_extensions(str(ROOT / "docs" / "make" / "fields.py"))
    package = griffe.load(PACKAGE, search_paths=[ROOT], extensions=signatures)
    names, bad = sorted(public_names(package)), []
    for path in names:
        value = package[path.removeprefix(f"{PACKAGE}.")]
        waiting = [(path, value)]
        if value.is_class:
            waiting += [
                (f"{path}.{name}", member)
                for name, member in value.all_members.items()
                if not name.startswith("_")
            ]
        for shown, member in waiting:
            if member.docstring is not None and member.docstring.value.strip():
                member.docstring.parse("google")
            elif member is value or not is_documented_above(value, member.name):
                bad.append(f"{shown} has no docstring")
    return names, bad + heard.lines


def is_documented_above(cls: griffe.Class, name: str) -> bool:
    """Return whether a base of *cls* says what the member *name* is."""
    above = (base.members.get(name) for base in cls.mro())
    return any(each is not None and each.docstring is not None for each in above)
