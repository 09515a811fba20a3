"""
The command that orders a picture of the page again.
"""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any, Final

from attrs import fields_dict

from apimodels_async._api.catalogue import SPARKPIX_EDIT
from apimodels_async.cli.options import Picture, read_value

if TYPE_CHECKING:
    from collections.abc import Mapping

NOT_SHOWN: Final = frozenset({"prompt", "model", "callback_url", "callBackUrl"})
VALUE_CHARS_MAX: Final = 200
"""A longer one is a picture, or as good as one."""


def parameters_of(params: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameters that shape a picture, as they are typed, long ones cut."""
    shown = {
        name: _typed(value)
        for name, value in params.items()
        if name not in NOT_SHOWN and value is not None
    }
    return {
        name: text if len(text) <= VALUE_CHARS_MAX else f"{text[:VALUE_CHARS_MAX]}…"
        for name, text in shown.items()
    }


def command_of(
    prompt: str | None, model: str, params: Mapping[str, Any]
) -> tuple[str, str] | None:
    """
    Return what stands before and behind the prompt in the command; quoted for a shell.

    The prompt itself is on the page already. None: no command line holds the input.
    """
    words, call = ["--model", model], "generate"
    common = fields_dict(Picture)
    for name, value in params.items():
        if name in NOT_SHOWN or value is None:
            continue
        if name == "images" and model == SPARKPIX_EDIT and isinstance(value, list):
            call = "edit"
            words += [word for each in value for word in ("--image", str(each))]
        elif name in common:
            words += [f"--{name.replace('_', '-')}", str(value)]
        else:
            words += ["--param", f"{name}={_typed(value)}"]
    if any(len(word) > VALUE_CHARS_MAX for word in words) or not prompt:
        return None
    if prompt == "-":  # stdin, on a command line
        return None
    # What begins with a dash would be an option.
    if prompt.startswith("-"):
        return f"apimodels {call} {shlex.join(words)} --", ""
    return f"apimodels {call}", shlex.join(words)


def _typed(value: Any) -> str:
    """Return *value* as ``--param`` takes it: text, unless it would be read as JSON."""
    if isinstance(value, str) and read_value(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)
