"""
What is written down about a picture: how it was asked for and what became of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from attrs import fields

from apimodels_async._core.money.digests import CALLBACK_FIELDS
from apimodels_async._version import __version__
from apimodels_async.models import ImageRequest

if TYPE_CHECKING:
    from apimodels_async.models import (
        AnyRequest,
        ImageResult,
    )

SOFTWARE: Final = f"apimodels-async {__version__}"
PROMPT_CHARS_MAX: Final = 3000
"""Of a prompt inside a picture: at 16 bytes each it still fits a JPEG segment."""
EMBEDDED_BYTES_MAX: Final = 40_000


def describe(
    result: ImageResult, request: AnyRequest | None, model: str | None, index: int
) -> dict[str, Any]:
    """
    Return the facts about picture *index* of *result*, fit for JSON.

    Query strings are left out of URLs: they may hold signatures. So are callback URLs.
    """
    params = {} if request is None else _params(request)
    prompt = None if request is None else request.prompt
    seed = params.pop("seed", None)
    facts = {
        "prompt": prompt,
        "model": result.model or model,
        "seed": seed,
        "params": params,
        "task_id": result.task_id,
        "url": result.urls[index],
        "created_at": result.created_at and result.created_at.isoformat(),
        "completed_at": result.completed_at and result.completed_at.isoformat(),
        "credits": None if result.credits is None else str(result.credits),
        "software": SOFTWARE,
    }
    return {name: _plain(value) for name, value in facts.items()}


def _params(request: AnyRequest) -> dict[str, Any]:
    if isinstance(request, ImageRequest):
        given = {**request.params, **request.extra}
    else:
        names = [each.name for each in fields(type(request))]
        given = {name: getattr(request, name) for name in names} | {**request.extra}
        given = {name: given[name] for name in given if name not in {"prompt", "extra"}}
    return {
        name: value
        for name, value in given.items()
        if value is not None
        and name not in CALLBACK_FIELDS  # such addresses hold tokens
    }


def _plain(value: Any) -> Any:
    match value:
        case Mapping():
            return {_text(str(name)): _plain(part) for name, part in value.items()}
        case list() | tuple():
            return [_plain(part) for part in value]
        case None | bool() | int() | float():
            return value
        case _:
            return _text(str(value))


def _text(value: str) -> str:
    if value.startswith("data:"):
        return f"{value.partition(',')[0]},... ({len(value)} characters)"
    if value.startswith(("https://", "http://")) and " " not in value:
        value = value.partition("#")[0].partition("?")[0]
    return value.encode("utf-8", "replace").decode()


def sidecar(facts: Mapping[str, Any]) -> bytes:
    """Return *facts* as an indented JSON file in UTF-8."""
    return json.dumps(facts, ensure_ascii=False, indent=2).encode() + b"\n"


def brief(facts: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return *facts* as they fit into a picture: without parameters and with the
    beginning of the prompt, if all of it would be too large.
    """
    if len(compact(facts)) <= EMBEDDED_BYTES_MAX:
        return dict(facts)
    return {**facts, "params": {}, "prompt": (facts["prompt"] or "")[:PROMPT_CHARS_MAX]}


def compact(facts: Mapping[str, Any]) -> str:
    """
    Return *facts* as one line of JSON in ASCII, those that are not known left out.
    """
    known = {name: facts[name] for name in facts if facts[name] not in (None, {})}
    return json.dumps(known)
