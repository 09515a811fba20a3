"""
What a shell completes: model ids, and for ``--param`` the names that a model has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apimodels_async import known_models
from apimodels_async._api.catalogue import find_model
from apimodels_async._api.parameters import describe

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cyclopts.completion import CompletionContext

    from apimodels_async import KnownParameter


def complete_model(_: CompletionContext) -> dict[str, str]:
    """Return the published models, each with what it costs at least."""
    return {
        name: f"from ${min(known.prices.values())}" if known.prices else ""
        for name, known in known_models().items()
    }


def complete_parameter(context: CompletionContext) -> dict[str, str]:
    """
    Return what may follow ``--param``: names, each with what it takes; then its values.

    They are those of ``--model``; of all models, where none is known by that name.
    """
    name, sign, _ = context.incomplete.partition("=")
    specs = {spec.name: spec for spec in _parameters(context)}
    if sign:
        spec = specs.get(name)
        return {f"{name}={value}": "" for value in spec.values} if spec else {}
    return {f"{each}=": describe(spec) for each, spec in specs.items()}


def _parameters(context: CompletionContext) -> Iterable[KnownParameter]:
    given = context.get("model")
    known = find_model(str(given.value)) if given is not None else None
    models = known_models().values() if known is None else [known]
    return (spec for each in models for spec in each.params.values())
