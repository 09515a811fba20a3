"""
For the reference: what mkdocstrings does not see, as it reads and runs nothing.

Classes of attrs get the constructor that they have; attributes that a constructor sets
get the types of its parameters; calls whose parameters stand in their overloads, for
editors and type checkers, get these in their one shown signature.
"""

from __future__ import annotations

from typing import Any

import griffe

LABELS = {"async", "classmethod", "property", "staticmethod"}
"""What is shown beside a name: how it is called."""
DECORATORS = {"frozen", "define", "attrs.frozen", "attrs.define"}


class Signatures(griffe.Extension):
    """Completes the signatures of one package."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Go through all that is defined in *pkg*."""
        waiting: list[griffe.Module | griffe.Class] = [pkg]
        while waiting:
            holder = waiting.pop()
            if isinstance(holder, griffe.Class):
                add_constructor(holder)
                add_types(holder)
            for member in holder.members.values():
                if not member.is_alias:
                    member.labels &= LABELS
                if isinstance(member, griffe.Module | griffe.Class):
                    waiting.append(member)
                elif isinstance(member, griffe.Function) and member.overloads:
                    merge_overloads(member)


def add_constructor(cls: griffe.Class) -> None:
    """Add what attrs would make, unless it is written by hand."""
    made = [
        str(each.value)
        for each in cls.decorators
        if str(each.value).partition("(")[0] in DECORATORS
    ]
    if not made:
        return
    kinds = griffe.ParameterKind
    kind = kinds.positional_or_keyword
    parameters = [griffe.Parameter("self", kind=kind)]
    if any("kw_only=True" in each for each in made):
        kind = kinds.keyword_only
    for name, field in cls.attributes.items():
        if field.annotation is None or "ClassVar" in str(field.annotation):
            continue
        init, field.value = default_of(field.value)
        if init and "property" not in field.labels:
            parameters.append(
                griffe.Parameter(
                    name.lstrip("_"),
                    annotation=field.annotation,
                    kind=kind,
                    default=field.value,
                )
            )
    if "__init__" not in cls.members:
        signature = griffe.Parameters(*parameters)
        cls.set_member(
            "__init__",
            griffe.Function("__init__", parameters=signature, returns="None"),
        )


def add_types(cls: griffe.Class) -> None:
    """Give each attribute ``self.x = x`` the type of *x*, and no value."""
    init = cls.members.get("__init__")
    if not isinstance(init, griffe.Function):
        return
    types = {each.name: each.annotation for each in init.parameters}
    for name, attribute in cls.attributes.items():
        if name in types and str(attribute.value) == name:
            attribute.annotation, attribute.value = types[name], None


def default_of(value: Any) -> tuple[bool, Any]:
    """Return whether a field is an argument, and its default as it would be written."""
    if not str(value).startswith("field("):
        return True, value
    init, default = True, None
    for argument in getattr(value, "arguments", ()):
        name = getattr(argument, "name", None)
        if name == "init":
            init = str(argument.value) != "False"
        elif name == "default":
            default = argument.value
        elif name == "factory":
            made = str(argument.value).partition("[")[0]
            default = {"dict": "{}", "list": "[]"}.get(made, f"{made}()")
    return init, default


def merge_overloads(function: griffe.Function) -> None:
    """Give *function* the keyword parameters that only its overloads name."""
    own = list(function.parameters)
    rest = [each for each in own if each.kind is griffe.ParameterKind.var_keyword]
    known = {each.name for each in own}
    for overload in function.overloads or ():
        for each in overload.parameters:
            if each.name not in known:
                known.add(each.name)
                own.insert(len(own) - len(rest), each)
    function.parameters = griffe.Parameters(*own)
    function.overloads = None
