"""
For the reference: classes of attrs are shown with the constructor they have.

mkdocstrings reads the source and runs nothing, so the ``__init__`` that attrs makes is
not there. Griffe knows those of dataclasses alone.
"""

from __future__ import annotations

from typing import Any

import griffe

DECORATORS = {"frozen", "define", "attrs.frozen", "attrs.define"}


class AttrsFields(griffe.Extension):
    """Gives classes of attrs an ``__init__``, and their fields the plain defaults."""

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        """Add what attrs would make, unless it is written by hand."""
        options = [
            each.value
            for each in cls.decorators
            if str(each.value).partition("(")[0] in DECORATORS
        ]
        if not options:
            return
        kind = griffe.ParameterKind
        by_keyword = any("kw_only=True" in str(each) for each in options)
        place = kind.keyword_only if by_keyword else kind.positional_or_keyword
        parameters = [griffe.Parameter("self", kind=kind.positional_or_keyword)]
        for name, each in list(cls.attributes.items()):
            if "class-attribute" in each.labels and "instance-attribute" not in each.labels:
                continue
            default = default_of(each.value)
            each.value = default
            parameters.append(
                griffe.Parameter(
                    name.lstrip("_"),
                    annotation=each.annotation,
                    kind=place,
                    default=default,
                )
            )
        if "__init__" not in cls.members:
            init = griffe.Function(
                "__init__", parameters=griffe.Parameters(*parameters), returns="None"
            )
            cls.set_member("__init__", init)


def default_of(value: Any) -> Any:
    """Return the default of a field, written ``field(...)`` or as it is."""
    if not str(value).startswith("field("):
        return value
    for argument in getattr(value, "arguments", ()):
        name = getattr(argument, "name", None)
        if name == "default":
            return argument.value
        if name == "factory":
            made = str(argument.value).partition("[")[0]
            return {"dict": "{}", "list": "[]"}.get(made, f"{made}()")
    return None
