"""
What the API page allows, checked before anything is sent.

Each check names the parameter, the value it got and what is allowed.
"""

from __future__ import annotations

import contextlib
import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import urlsplit

from apimodels_async._text import printable
from apimodels_async.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Collection

RATIOS: Final = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3")
IMAGE_RATIOS: Final = ("custom", *RATIOS)
EDIT_RATIOS: Final = ("match_input_image", *RATIOS)
SIDE_MIN, SIDE_MAX, SIDE_STEP = 256, 1440, 16  # pixels
LORA_SCALE_MIN, LORA_SCALE_MAX = -1, 3
_LORA: Final = re.compile(
    r"huggingface\.co/[\w.-]+/[\w.-]+(/[\w./-]+\.safetensors)?", re.ASCII
)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
TASK_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
"""The API's ids look like ``clxxx...``; anything else never enters a URL."""
VALUE_CHARS: Final = 80
INT_BITS_MAX: Final = 1024
"""As many as a double reaches; Python itself refuses to write 4,300 digits."""
DEPTH_MAX: Final = 100
"""Levels of JSON; Python's own limit is about a thousand frames, less those in use."""


def refuse(parameter: str, value: object, allowed: str) -> NoReturn:
    """Raise the error for a *value* that is not *allowed*."""
    try:
        shown = printable(repr(value), VALUE_CHARS)
    except (ValueError, RecursionError):  # 5,000 digits, or a thousand levels
        shown = f"<{type(value).__name__}>"
    name = printable(parameter, VALUE_CHARS)  # a caller's mapping may hold any key
    msg = f"{name}={shown} is not allowed: {allowed}"
    raise InvalidRequestError(msg, parameter=parameter)


def check_prompt(value: object) -> None:
    """A prompt is text with something in it."""
    if not isinstance(value, str) or not value.strip():
        refuse("prompt", value, "a text that is not empty")


def check_model(value: object) -> str:
    """Return *value* if it can be a model id; whether it is one, the API knows."""
    if not isinstance(value, str) or not value.strip():
        refuse("model", value, "a model id, such as 'gpt-image-2'")
    return value


def check_choice(parameter: str, value: object, allowed: Collection[str]) -> None:
    """One of a few words, or None."""
    if value is not None and value not in allowed:
        refuse(parameter, value, "one of " + ", ".join(allowed))


def check_flag(parameter: str, value: object) -> None:
    """True, False or None."""
    if value is not None and not isinstance(value, bool):
        refuse(parameter, value, "true or false")


def check_whole(parameter: str, value: object) -> None:
    """A whole number or None; True is not one."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        refuse(parameter, value, "a whole number")
    if value.bit_length() > INT_BITS_MAX:
        refuse(parameter, value, "a number of at most 308 digits")


def check_size(aspect_ratio: str | None, width: object, height: object) -> None:
    """Width and height need the ratio ``custom``, which is the API's default."""
    for parameter, side in (("width", width), ("height", height)):
        check_whole(parameter, side)
        if side is None:
            continue
        if aspect_ratio not in {None, "custom"}:
            only = f"only with aspect_ratio='custom', not {aspect_ratio!r}"
            refuse(parameter, side, only)
        if not SIDE_MIN <= int(str(side)) <= SIDE_MAX or int(str(side)) % SIDE_STEP:
            allowed = f"{SIDE_MIN} to {SIDE_MAX} pixels, a multiple of {SIDE_STEP}"
            refuse(parameter, side, allowed)


def check_lora(weights: object, scale: object) -> None:
    """LoRA weights are named by their Hugging Face path; the scale is -1 to 3."""
    if weights is not None and not (
        isinstance(weights, str) and _LORA.fullmatch(weights)
    ):
        form = "huggingface.co/<owner>/<model>[/<file.safetensors>]"
        refuse("lora_weights", weights, form)
    if scale is None:
        return
    if (
        isinstance(scale, bool)
        or not isinstance(scale, (int, float))
        or not LORA_SCALE_MIN <= scale <= LORA_SCALE_MAX
    ):
        refuse("lora_scale", scale, f"{LORA_SCALE_MIN} to {LORA_SCALE_MAX}")


def check_url(parameter: str, value: object) -> None:
    """An http(s) URL with a host."""
    if not isinstance(value, str) or not is_http_url(value):
        refuse(parameter, value, "an http(s) URL")


def is_http_url(value: str) -> bool:
    """Return whether *value* is an absolute http(s) URL without blanks."""
    try:
        parts = urlsplit(value)
    except ValueError:  # an unclosed bracket
        return False
    return (
        parts.scheme in {"http", "https"}
        and bool(parts.hostname)
        and value.isprintable()
        and " " not in value
    )


def check_json(parameter: str, value: Any, depth: int = 0) -> None:
    """Something JSON can hold: text, finite numbers, lists, mappings with text keys."""
    if depth > DEPTH_MAX:
        refuse(parameter, value, f"at most {DEPTH_MAX} levels")
    match value:
        case float() if not math.isfinite(value):
            refuse(parameter, value, "a finite number")
        case str() if not value.isascii() and _SURROGATE.search(value):
            refuse(parameter, value, "text without lone surrogates")
        case None | bool() | float() | str():
            return
        case int():
            check_whole(parameter, value)
        case list() | tuple():
            for index, item in enumerate(value):
                check_json(f"{parameter}[{index}]", item, depth + 1)
        case dict():
            for key, item in value.items():
                check_name(key, f" in {parameter}")
                check_json(f"{parameter}.{key}", item, depth + 1)
        case _:
            refuse(parameter, value, f"JSON has no {_kind(value)}")


def check_name(name: object, place: str = "") -> None:
    """JSON has names of text only; Python would write 1 as "1"."""
    if not isinstance(name, str) or _SURROGATE.search(name):
        refuse(f"name{place}", name, "text without lone surrogates")


def _kind(value: object) -> str:
    return type(value).__name__


def check_count(parameter: str, value: object) -> None:
    """A whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        refuse(parameter, value, "a whole number of at least 1")


def check_start(value: object) -> None:
    """A whole number, from 0."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        refuse("start", value, "a whole number of at least 0")


def check_index(index: object, count: int) -> None:
    """The place of one of *count* pictures, from 0."""
    check_whole("index", index)
    if index not in range(count):
        refuse("index", index, f"0 to {count - 1}: so many pictures are there")


def check_amount(parameter: str, value: object) -> None:
    """A positive, finite amount of money, or None."""
    if value is None:
        return
    amount = math.nan
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError, ValueError):  # 10**400, sNaN
            amount = float(value)
    if not 0 < amount < math.inf:
        refuse(parameter, value, "a positive amount of US dollars")


def check_text(task: object) -> str:
    """Return *task* if it is text: an id or a token."""
    if not isinstance(task, str):
        refuse("task_id", task, "text: a task id, or a handle's token")
    return task


def check_task_id(task_id: object) -> str:
    """Return *task_id* if it can be one."""
    if not isinstance(task_id, str) or not TASK_ID.fullmatch(task_id):
        form = "1 to 128 letters, digits, '.', '-' or '_', as the API gave it"
        refuse("task_id", task_id, form)
    return task_id
