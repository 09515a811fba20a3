"""
What the API page allows, checked before anything is sent.

Each check names the parameter, the value it got and what is allowed.
"""

from __future__ import annotations

import contextlib
import math
import numbers
import re
from datetime import timedelta
from decimal import Decimal
from os import PathLike
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import urlsplit

from apimodels_async._api.spelling import EXTRA_HINT, UPLOAD_HINT
from apimodels_async._secret import names_server
from apimodels_async._text import printable
from apimodels_async.errors import InvalidRequestError
from apimodels_async.models import ImageResult

if TYPE_CHECKING:
    from collections.abc import Iterator

BASE_URL: Final = "https://apimodels.app/api/v1"
_LORA: Final = r"huggingface\.co/[\w.-]+/[\w.-]+(/[\w./-]+\.safetensors)?"
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_BRACKETS: Final = re.compile(r"[^\[\]]*|([^\[\]]*@)?\[[^\[\]]+\](:\d*)?")
TASK_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
"""The API's ids look like ``clxxx...``; anything else never enters a URL."""
_BASE64: Final = r"[A-Za-z0-9+/_-]+={0,2}"
BASE64_CHARS_MIN: Final = 40
"""The smallest pictures there are have some 35 bytes; shorter is a word or a path."""
_DATA: Final = r"data:[^,\s]*,\s*\S"
_SCHEME: Final = r"[a-z][a-z0-9+.-]+:(//|.*,)"
VALUE_CHARS: Final = 80
AWAIT_FIRST: Final = "await the call first"
KEY_CHARS_MAX: Final = 255
DECIMAL_DIGITS_MAX: Final = 400
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
    if parameter == "prompt" and isinstance(value, str) and value.strip():
        shown = f"{len(value)} characters"  # errors are logged; prompts are not
    if isinstance(value, CoroutineType):  # of generate(), say
        allowed = AWAIT_FIRST
    name = printable(parameter, VALUE_CHARS)  # a caller's mapping may hold any key
    msg = f"{name}={shown} is not allowed: {allowed}"
    raise InvalidRequestError(msg, parameter=parameter)


@contextlib.contextmanager
def offering_extra() -> Iterator[None]:
    """Add to a refusal how the value can be sent all the same."""
    try:
        yield
    except InvalidRequestError as error:
        msg = f"{error}. {EXTRA_HINT}"
        raise InvalidRequestError(msg, parameter=error.parameter) from None


def plain(value: Any) -> Any:
    """
    Return a number of any kind as Python's own, which JSON can hold; the rest as it is.

    A ``Decimal`` without a fraction is a whole number.
    """
    if value is None or isinstance(value, (bool, str, int, float)):
        return value
    if isinstance(value, (numbers.Real, Decimal)):
        return _as_number(value)
    # numpy's truth values are no numbers; its arrays of one are no scalars.
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return value.item()
    return value


def _as_number(value: numbers.Real | Decimal) -> int | float:
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, Decimal):
        if not value.is_finite() or value.adjusted() > DECIMAL_DIGITS_MAX:
            return math.nan  # refused as any other number that is not finite
        if value == value.to_integral_value():
            return int(value)
    try:
        return float(value)
    except OverflowError:  # a fraction
        return math.inf


def check_prompt(value: object) -> None:
    """A prompt is text with something in it."""
    if not isinstance(value, str) or not value.strip():
        refuse("prompt", value, "a text that is not empty")


def check_model(value: object) -> str:
    """Return *value* if it can be a model id; whether it is one, the API knows."""
    if not isinstance(value, str) or not value.strip():
        refuse("model", value, "a model id, such as 'gpt-image-2'")
    return value


def check_whole(parameter: str, value: object) -> None:
    """A whole number or None; True is not one."""
    if value is None:
        return
    number = plain(value)
    if isinstance(number, bool) or not isinstance(number, int):
        refuse(parameter, value, "a whole number")
    if number.bit_length() > INT_BITS_MAX:
        refuse(parameter, value, "a number of at most 308 digits")


def check_lora(weights: object) -> None:
    """LoRA weights are named by their Hugging Face path."""
    if weights is not None and not (
        isinstance(weights, str) and re.fullmatch(_LORA, weights, re.ASCII)
    ):
        form = "huggingface.co/<owner>/<model>[/<file.safetensors>]"
        refuse("lora_weights", weights, f"{form}. {EXTRA_HINT}")


def check_url(parameter: str, value: object) -> None:
    """An http(s) URL with a host."""
    if not isinstance(value, str) or not is_http_url(value):
        refuse(parameter, value, "an http(s) URL")


def check_image(parameter: str, value: object, *, inline: bool = True) -> None:
    """
    An input image: an http(s) URL or, with *inline*, a ``data:`` URI or base64.

    Base64 may have line breaks, and may go without its padding.
    """
    forms = "an http(s) URL, a data: URI or base64" if inline else "an http(s) URL"
    if isinstance(value, str):
        if is_http_url(value) or (inline and _is_inline(value)):
            return
        # An address of another kind is no file, whatever its end looks like.
        local = value.startswith("file:") or not re.match(_SCHEME, value, re.IGNORECASE)
        refuse(parameter, value, f"{forms}; {UPLOAD_HINT}" if local else forms)
    if isinstance(value, (PathLike, bytes)) or hasattr(value, "read"):
        refuse(parameter, value, f"{forms}; {UPLOAD_HINT}")
    refuse(parameter, value, forms)


def _is_inline(value: str) -> bool:
    if re.match(_DATA, value, re.IGNORECASE):
        return True
    compact = "".join(value.split())
    return len(compact) >= BASE64_CHARS_MIN and bool(re.fullmatch(_BASE64, compact))


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
        and has_plain_brackets(parts.netloc)
    )


def has_plain_brackets(netloc: str) -> bool:
    """Return whether brackets in *netloc*, if any, hold the whole of its host."""
    return _BRACKETS.fullmatch(netloc) is not None


def check_json(parameter: str, value: Any, depth: int = 0) -> Any:
    """
    Return *value* as JSON can hold it: text, finite numbers, lists, mappings with text
    keys; numbers of other kinds become Python's own.
    """
    value = plain(value)
    if depth > DEPTH_MAX:
        refuse(parameter, value, f"at most {DEPTH_MAX} levels")
    match value:
        case float() if not math.isfinite(value):
            refuse(parameter, value, "a finite number")
        case str() if not value.isascii() and _SURROGATE.search(value):
            refuse(parameter, value, "text without lone surrogates")
        case None | bool() | float() | str():
            return value
        case int():
            check_whole(parameter, value)
            return value
        case list() | tuple():
            return [
                check_json(f"{parameter}[{index}]", item, depth + 1)
                for index, item in enumerate(value)
            ]
        case dict():
            for key in value:
                check_name(key, f" in {parameter}")
            return {
                key: check_json(f"{parameter}.{key}", item, depth + 1)
                for key, item in value.items()
            }
        case PathLike():
            refuse(parameter, value, f"JSON has no {_kind(value)}; {UPLOAD_HINT}")
        case _:
            refuse(parameter, value, f"JSON has no {_kind(value)}")


def check_name(name: object, place: str = "") -> None:
    """JSON has names of text only; Python would write 1 as "1"."""
    if not isinstance(name, str) or _SURROGATE.search(name):
        refuse(f"name{place}", name, "text without lone surrogates")


def _kind(value: object) -> str:
    return type(value).__name__


def check_count(parameter: str, value: object, least: int = 1) -> None:
    """A whole number of at least *least*."""
    number = plain(value)
    if isinstance(number, bool) or not isinstance(number, int) or number < least:
        refuse(parameter, value, f"a whole number of at least {least}")


def check_result(result: object) -> ImageResult:
    """Return *result* if it is one; a handle is none yet, an address no more."""
    if isinstance(result, ImageResult):
        return result
    allowed = "an ImageResult, as generate() returns it"
    if hasattr(result, "task_id") and hasattr(result, "result"):
        allowed = "an ImageResult: await the handle first (handle.result() in threads)"
    elif hasattr(result, "unwrap"):
        allowed = "an ImageResult: outcome.unwrap() is one"
    elif isinstance(result, str):
        allowed = (
            "an ImageResult, not its address: give what generate() returned; of a task "
            "there is `await images.attach(task_id)` (attach(task_id).result() in sync)"
        )
    refuse("result", result, allowed)


def check_index(index: object, count: int) -> None:
    """The place of one of *count* pictures, from 0."""
    check_whole("index", index)
    if index not in range(count):
        refuse("index", index, f"0 to {count - 1}: so many pictures are there")


def _as_float(value: object) -> float:
    """Return a number as a float; NaN: it is none, or too large for one."""
    number = plain(value)
    if isinstance(number, (int, float)) and not isinstance(number, bool):
        with contextlib.suppress(OverflowError):  # 10**400
            return float(number)
    return math.nan


def check_amount(parameter: str, value: object) -> None:
    """A positive, finite amount of money, or None."""
    if value is not None and not 0 < _as_float(value) < math.inf:
        refuse(parameter, value, "a positive amount of US dollars")


def check_timeout(timeout: object) -> float | None:
    """Return *timeout* in seconds; None: there is no end."""
    if timeout is None:
        return None
    seconds = _as_float(timeout)
    if math.isnan(seconds):
        refuse("timeout", timeout, "a number of seconds")
    return seconds


def check_key(value: object, parameter: str = "idempotency_key") -> str:
    """Return *value* as an idempotency key, or another name that a user chose."""
    if isinstance(value, str) and 0 < len(value) <= KEY_CHARS_MAX:
        text = str(value)
        if text.isprintable():
            return text
    msg = f"{parameter} must be text of 1-{KEY_CHARS_MAX} printable characters"
    raise InvalidRequestError(msg, parameter=parameter)


def check_span(parameter: str, value: object) -> None:
    """A span of time, as ``timedelta``."""
    if not isinstance(value, timedelta):
        refuse(parameter, value, "a timedelta, such as timedelta(days=90)")


def check_path(parameter: str, value: Any, *, of_file: bool = False) -> None:
    """
    A path, or None.

    Args:
        of_file: Of a file: an empty one, an unset setting say, is that of the folder;
            and one that begins like a server's address is no path.
    """
    if of_file and names_server(value):
        value = None  # a frame that raises shows locals
        msg = (
            f"{parameter} is the path of a file here, not what begins like the address "
            "of a server: that is for RedisStore, or for store= of a session"
        )
        raise InvalidRequestError(msg, parameter=parameter)
    text = value.__fspath__() if isinstance(value, PathLike) else value
    fits = isinstance(text, str) and "\0" not in text and (text.strip() or not of_file)
    if value is not None and not fits:
        refuse(parameter, value, "a path, as str or pathlib.Path")


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
