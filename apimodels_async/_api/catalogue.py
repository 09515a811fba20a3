"""
The published models, as data: ``catalogue.json``, dated, and never the last word.

An id that is not here is sent all the same; the API decides. Lists of values are there
only where the vendor gives them, and every parameter says where it is from.
"""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Any, Final

from apimodels_async._api.spelling import nearest
from apimodels_async.model_info import KnownModel, KnownParameter

SPARKPIX_IMAGE: Final = "sparkpix-image"
SPARKPIX_EDIT: Final = "sparkpix-image-edit"
ALWAYS: Final = frozenset({"prompt", "model", "extra", "callback_url", "callBackUrl"})
"""What every request may name; the last is SparkPix's own spelling."""
MODEL_CHARS_MAX: Final = 64
"""Longer than any id; nothing longer is looked for among them."""


@cache
def known_models() -> dict[str, KnownModel]:
    """Return the catalogue by model id, in the file's order."""
    # Not every session orders, and the import takes as long as the reading.
    from importlib.resources import files

    text = (files("apimodels_async._api") / "catalogue.json").read_text("utf-8")
    table: dict[str, Any] = json.loads(text)
    read_on = date.fromisoformat(table["read_on"])
    tasks = frozenset(table["answers_with_task"]["models"])
    return {row["id"]: _known(row, read_on, tasks) for row in table["models"]}


def find_model(model: str) -> KnownModel | None:
    """
    Return what is known of *model*, also by its prefixed form ("grok-image/grok-...").
    """
    known = known_models()
    return known.get(model) or known.get(model.rpartition("/")[2])


def near_models(model: str) -> list[str]:
    """
    Return the known ids that *model*, which is none, is within two edits of; else none.
    """
    if len(model) > MODEL_CHARS_MAX or find_model(model) is not None:
        return []
    return nearest(model.rpartition("/")[2], known_models())


def sends_as_it_is(model: str) -> str | None:
    """Return the warning about *model* if it is close to a known id; else None."""
    near = near_models(model)
    if not near:
        return None
    ids = " or ".join(near)
    return f"model {model!r} is not known (did you mean {ids}?); it is sent as it is"


@cache
def known_names() -> frozenset[str]:
    """Return the parameters of all known models."""
    named = (each.params for each in known_models().values())
    return ALWAYS.union(*named)


def _known(row: dict[str, Any], read_on: date, tasks: frozenset[str]) -> KnownModel:
    read = {
        "read_on": read_on,
        "answers_with_task": row["id"] in tasks,
        "prices": {tier: Decimal(usd) for tier, usd in row["prices"].items()},
        "image_price": Decimal(row.get("image_price", 0)),
        "params": {name: _param(name, spec) for name, spec in row["params"].items()},
    }
    return KnownModel(**{**row, **read})


def _param(name: str, spec: dict[str, Any]) -> KnownParameter:
    # JSON has lists only.
    read: dict[str, Any] = {
        key: tuple(part) if isinstance(part, list) else part
        for key, part in spec.items()
    }
    return KnownParameter(name=name, **read)
