"""Mistakes in a command line, which cyclopts finds, in words for who made them."""

from __future__ import annotations

import difflib
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

from cyclopts import (
    CoercionError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
    ValidationError,
)

from apimodels_async._api.spelling import did_you_mean, nearest

if TYPE_CHECKING:
    from collections.abc import Collection

    from cyclopts import Argument, CycloptsError

KINDS: Final[dict[object, str]] = {
    int: "a whole number",
    float: "a number",
    Decimal: "an amount of US dollars, as 0.50",
    datetime: "a day, or a moment: 2026-11-28T09:30",
    Path: "a path",
    bool: "no value",
}
KEY_TIP: Final = (
    "everybody on this machine can see command lines: set APIMODELS_API_KEY, or run: "
    "apimodels login"
)
SIMILAR: Final = 0.75
"""Of 1; below it a word is another word (difflib)."""


def explain(error: CycloptsError, commands: Collection[str]) -> tuple[str, str]:
    """Return what is wrong, and what may be meant or done about it; or ""."""
    said, tip = str(error).rstrip("."), ""
    match error:
        case UnknownCommandError(unused_tokens=[word, *_]):
            said, tip = f'there is no command "{word}"', _question(word, commands)
        case UnknownOptionError():
            said, tip = _unknown_option(error)
        case MissingArgumentError(argument=argument) if argument is not None:
            said = f"{_name(argument)} is missing"
            if error.keyword is not None:
                said = f"{error.keyword} needs a value"
        case CoercionError(token=token, argument=argument) if token and argument:
            name = token.keyword or _name(argument)
            said, tip = _unreadable(error, name, token.value)
        case ValidationError(argument=argument) if argument is not None:
            token = argument.tokens[0]
            reason = error.exception_message.rstrip(".")
            reason = reason.replace("< inf", "a finite number")
            name = token.keyword or _name(argument)
            said = f'{name} "{token.value}": {reason[:1].lower()}{reason[1:]}'
        case UnusedCliTokensError(unused_tokens=[word, *_]):
            said = f'"{word}" is one word too many'
            tip = "put quotes around what has blanks in it"
        case RepeatArgumentError():
            said = f"{error.token.keyword} is given twice"
    return said, tip


def _question(word: str, names: Collection[str]) -> str:
    near = (
        nearest(word, names)
        or sorted(name for name in names if name.startswith(word))
        or difflib.get_close_matches(word, names, n=1, cutoff=SIMILAR)
    )
    return did_you_mean(near) if near else ""


def _unknown_option(error: UnknownOptionError) -> tuple[str, str]:
    word, _, _ = (error.token.keyword or error.token.value).partition("=")
    arguments = [each for each in error.argument_collection if each.parse]
    names = {name for each in arguments for name in each.names if name[:2] == "--"}
    if word.replace("-", "").replace("_", "").lower() == "apikey":
        # Not as a parameter: that is sent on, and kept in stores and journals.
        return f"there is no option {word}", KEY_TIP
    tip = _question(word, names)
    if not tip and "--param" in names and word.startswith("--"):
        parameter = word.removeprefix("--").replace("-", "_")
        tip = f"other parameters of a model: --param {parameter}=VALUE"
    return f"there is no option {word}", tip


def _unreadable(error: CoercionError, name: str, value: str) -> tuple[str, str]:
    if error.msg is not None:  # one of our own converters
        return f"{name}: {error.msg}", ""
    argument = error.argument
    choices = argument.get_choices(force=True) if argument is not None else None
    if choices:
        wanted = f'{name} is one of {", ".join(choices)}, not "{value}"'
        return wanted, _question(value, choices)
    kinds = {error.target_type, *get_args(argument.hint if argument else None)}
    kind = next((words for each, words in KINDS.items() if each in kinds), None)
    return f'{name} needs {kind or "another value"}, not "{value}"', ""


def _name(argument: Argument) -> str:
    if argument.index is not None:
        return argument.name.lstrip("-").upper().replace("_", "-")
    return argument.name
