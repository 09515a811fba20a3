"""
What a shell completes: model ids, files, and for ``--param`` what a model takes.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from apimodels_async import known_models
from apimodels_async._api.catalogue import find_model
from apimodels_async._api.parameters import describe

if TYPE_CHECKING:
    from cyclopts.completion import CompletionContext


def complete_model(_: CompletionContext) -> dict[str, str]:
    """Return the published models, each with what it costs at least."""
    return {
        name: f"from ${min(known.prices.values())}" if known.prices else ""
        for name, known in known_models().items()
    }


def complete_parameter(context: CompletionContext) -> dict[str, str]:
    """
    Return what may follow ``--param``: names, each with what it takes; then its values.

    They are those of ``--model``, with their values at once, as bash ends a word at
    the sign; of all models, where none is known by that name.
    """
    name, sign, _ = context.incomplete.partition("=")
    given = context.get("model")
    known = find_model(str(given.value)) if given is not None else None
    models = known_models().values() if known is None else [known]
    specs = {spec.name: spec for each in models for spec in each.params.values()}
    found: dict[str, str] = {}
    for spec in specs.values():
        if sign and spec.name != name:
            continue
        if spec.values and (sign or known is not None):
            found |= {f"{spec.name}={value}": "" for value in spec.values}
        elif not sign:
            found[f"{spec.name}="] = describe(spec)
    return found


def complete_path(context: CompletionContext) -> dict[str, str]:
    """Return the files and folders that begin as what was typed does."""
    folder, sign, begun = context.incomplete.rpartition("/")
    with contextlib.suppress(OSError):
        return {
            f"{folder}{sign}{name}": ""
            for name in sorted(
                each.name for each in Path(f"{folder}{sign}" or os.curdir).iterdir()
            )
            if name.startswith(begun) and (begun or not name.startswith("."))
        }
    return {}
