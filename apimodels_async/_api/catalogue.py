"""
The published models, as data: ``catalogue.json``, dated, and never the last word.

An id that is not here is sent all the same; the API decides.
"""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any, Final

from apimodels_async.models import KnownModel

SPARKPIX_IMAGE: Final = "sparkpix-image"
SPARKPIX_EDIT: Final = "sparkpix-image-edit"


@cache
def known_models() -> dict[str, KnownModel]:
    """Return the catalogue by model id, in the file's order."""
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


def _known(row: dict[str, Any], read_on: date, tasks: frozenset[str]) -> KnownModel:
    prices = {tier: Decimal(usd) for tier, usd in row["prices"].items()}
    more = {"read_on": read_on, "answers_with_task": row["id"] in tasks}
    return KnownModel(**{**row, "prices": prices, **more})
