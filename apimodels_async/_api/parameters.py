"""
What is known of a model's parameters, checked before anything is sent.

Rules of this file:
1. The catalogue is never complete. A name is refused only if no known model has it and
   it is within two edits of one that this model has, or if others have it, this one
   not, and nobody named this one; a value only where the vendor gives a list, a count
   or a type.
2. Whatever is refused here can be sent by ``extra``, and the error says so.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final, NoReturn

from apimodels_async._api import checks
from apimodels_async._api.catalogue import (
    ALWAYS,
    find_model,
    known_models,
    known_names,
)
from apimodels_async._api.spelling import EXTRA_HINT, did_you_mean, nearest
from apimodels_async._text import printable
from apimodels_async.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from apimodels_async.model_info import KnownModel, KnownParameter

IMAGE_NAMES: Final = ("image", "image_reference", "image_url", "image_urls", "images")
"""The parameters for input images, by whatever name; masks are not among them."""
_OURS: Final = {"callBackUrl": "callback_url"}
"""The API's spellings that have one of ours."""
_TAKERS: Final = "generate(), edit() and submit(); the items of a batch have name="
OPTIONS: Final = {
    "idempotency_key": _TAKERS,
    "manual_ack": _TAKERS,
    **dict.fromkeys(("journal", "max_cost", "max_pending", "name"), "batch()"),
    **dict.fromkeys(
        ("api_key", "base_url", "callback", "limit", "polling", "proxy", "retry"),
        "Session()",
    ),
    "store": "Session()",
    **dict.fromkeys(("timeout", "timeouts"), "Session(timeouts=...)"),
    "download_to": "batch(); one result is stored by download()",
}
"""Names that no model has -> whose options they are."""
WORDS: Final = {
    "flag": "true or false",
    "ratio": "a ratio such as 16:9, or auto",
    "url": "an http(s) URL",
    "urls": "a list of http(s) URLs",
    "image": "an image: an http(s) URL, a data: URI or base64",
    "images": "a list of images: http(s) URLs, data: URIs or base64",
}
"""Type of a parameter -> what it may be; the others have numbers in their words."""
_TIER: Final = r"\d+k"
_RATIO: Final = r"\d+(\.\d+)?:\d+(\.\d+)?"
_SIZE: Final = r"(\d{1,6})[xX](\d{1,6})"
_SIZE_WORD: Final = r"\d+[kK]|auto"


def describe(spec: KnownParameter) -> str:
    """Return in words what a parameter may be, as far as it is known."""
    if spec.values:
        return f"one of {', '.join(spec.values)}"
    if spec.type in {"whole", "number"}:
        return _number_words(spec)
    return _size_words(spec) if spec.type == "size" else WORDS.get(spec.type, "text")


def _number_words(spec: KnownParameter) -> str:
    words = "a whole number" if spec.type == "whole" else "a number"
    if spec.low is not None:
        words += f" from {spec.low:g}"
        words += "" if spec.high is None else f" to {spec.high:g}"
    return words + ("" if spec.step is None else f", a multiple of {spec.step}")


def _size_words(spec: KnownParameter) -> str:
    words = ["a size such as 1024x1024, or a word such as 2K"]
    if spec.low is not None:
        words.append(f"sides from {spec.low:g} pixels")
    if spec.high is not None:
        words.append(f"sides up to {spec.high:g} pixels")
    if spec.step is not None:
        words.append(f"in multiples of {spec.step}")
    if spec.ratio_max is not None:
        words.append(f"at most {spec.ratio_max:g}:1")
    if spec.pixels is not None:
        words.append(f"{spec.pixels[0]} to {spec.pixels[1]} pixels in all")
    return "; ".join(words)


def check_names(model: str, names: Iterable[object]) -> None:
    """
    Refuse what is probably a misspelt name; an unknown model has no names.

    Raises:
        InvalidRequestError: With what was probably meant.
    """
    names = tuple(names)
    check_options(names)
    known = find_model(model)
    if known is None:
        return
    for name in names:
        if not isinstance(name, str) or name in known_names():
            continue
        near = nearest(name, {*known.params, *ALWAYS})
        if near:
            near = sorted({_OURS.get(each, each) for each in near})
            shown = printable(name, checks.VALUE_CHARS)
            msg = f"`{shown}`: {did_you_mean(near)} {EXTRA_HINT}"
            raise InvalidRequestError(msg, parameter=name)


def check_unnamed(model: str, names: Iterable[str]) -> None:
    """
    Refuse what other models have, and *model* not, where nobody named a model.

    Raises:
        InvalidRequestError: The model was probably forgotten.
    """
    known = known_models()[model]
    for name in names:
        if name in known_names() - known.params.keys() - ALWAYS:
            msg = (
                f"`{name}`: {model}, which is ordered where no model is named, does "
                f"not take it; name the model that does. {EXTRA_HINT}"
            )
            raise InvalidRequestError(msg, parameter=name)


def check_options(names: Iterable[object]) -> None:
    """
    Refuse an option of the library's that came where only parameters are taken.

    Sent as one, it would do nothing, and the order would be paid for without it.

    Raises:
        InvalidRequestError: With where it belongs.
    """
    for name in names:
        if not isinstance(name, str) or name in known_names():
            continue
        where = OPTIONS.get(name)
        if where is not None:
            msg = f"`{name}` is no parameter of a model, but an option of {where}."
        elif name.lower().startswith("idempot") or nearest(name, ("idempotency_key",)):
            shown = printable(name, checks.VALUE_CHARS)
            msg = f"`{shown}`: {did_you_mean(['idempotency_key'])}"
        else:
            continue
        if name != "api_key":  # which nobody wants in bodies, stores and journals
            msg = f"{msg} {EXTRA_HINT}"
        raise InvalidRequestError(msg, parameter=name)


def check_values(known: KnownModel, params: Mapping[str, Any]) -> None:
    """
    Check each of *params* that is known of the model, and how many images there are.

    Raises:
        InvalidRequestError: With what is allowed.
    """
    for name, value in params.items():
        spec = known.params.get(name)
        if spec is not None and value is not None:
            _check(spec, value)
    most = known.images_max
    if most is None or (count := count_images(params)) <= most:
        return
    field = next((name for name in IMAGE_NAMES if params.get(name)), known.image_field)
    if field is not None:
        allowed = f"{known.id} takes at most {most}. {EXTRA_HINT}"
        checks.refuse(field, f"{count} images", allowed)


def count_images(params: Mapping[str, Any]) -> int:
    """Return how many input images *params* name; the same under two names is one."""
    count, seen = 0, set[str]()
    for name in IMAGE_NAMES:
        value = params.get(name)
        if value is None:
            continue
        found = value if isinstance(value, (list, tuple)) else [value]
        images = [str(each) for each in found if isinstance(each, (str, dict)) and each]
        count += sum(image not in seen for image in images)
        seen.update(images)
    return count


def _check(spec: KnownParameter, value: Any) -> None:
    number = checks.plain(value)
    match spec.type:
        case "text":
            _check_text(spec, number)
        case "whole" | "number":
            _check_number(spec, number)
        case "flag" if not isinstance(number, bool):
            _refuse(spec, value, describe(spec))
        case "ratio" if value != "auto" and not _match(_RATIO, value):
            _refuse(spec, value, describe(spec))
        case "size":
            _check_size(spec, value)
        case "image":
            several = isinstance(value, (list, tuple))
            _check_images(spec, value if several else [value])
        case "images" | "urls" if not isinstance(value, (list, tuple)):
            _refuse(spec, value, "a list of images")
        case "images" | "urls":
            _check_images(spec, value)
        case _:
            return


def _check_text(spec: KnownParameter, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        _refuse(spec, value, "text")
    # Programs that read 512 as a number mean the word; vendor pages write 2k and 2K.
    word = str(value)
    if not spec.values or word in spec.values:
        return
    word = word.upper() if re.fullmatch(_TIER, word) else word
    if word not in spec.values:
        near = nearest(word, spec.values)
        meant = f"; {did_you_mean(near)}" if len(near) == 1 else "."
        allowed = f"{describe(spec)}{meant} {EXTRA_HINT}"
        checks.refuse(spec.name, value, allowed)


def _check_number(spec: KnownParameter, value: Any) -> None:
    whole = spec.type == "whole"
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        _refuse(spec, value, describe(spec))
    low = -math.inf if spec.low is None else spec.low
    high = math.inf if spec.high is None else spec.high
    if not low <= value <= high or (spec.step and value % spec.step):
        _refuse(spec, value, describe(spec))


def _check_size(spec: KnownParameter, value: object) -> None:
    if _match(_SIZE_WORD, value):
        return
    found = _match(_SIZE, value)
    if found is None:
        _refuse(spec, value, "a size such as 1024x1024, or a word such as 2K")
    short, long = sorted(map(int, found.groups()))
    if spec.low is not None and short < spec.low:
        _refuse(spec, value, f"sides of at least {spec.low:g} pixels")
    if spec.high is not None and long > spec.high:
        _refuse(spec, value, f"sides of at most {spec.high:g} pixels")
    if spec.step is not None and (short % spec.step or long % spec.step):
        _refuse(spec, value, f"sides that are multiples of {spec.step}")
    if spec.ratio_max is not None and long > spec.ratio_max * short:
        _refuse(spec, value, f"at most {spec.ratio_max:g}:1")
    if spec.pixels is not None and not spec.pixels[0] <= short * long <= spec.pixels[1]:
        fewest, most = spec.pixels
        _refuse(spec, value, f"{fewest} to {most} pixels in all")


def _check_images(spec: KnownParameter, images: Iterable[object]) -> None:
    several = not isinstance(images, list) or len(images) != 1
    for index, image in enumerate(images):
        place = (
            f"{spec.name}[{index}]" if several or spec.type != "image" else spec.name
        )
        with checks.offering_extra():
            checks.check_image(place, image, inline=spec.type != "urls")


def _match(form: str, value: object) -> re.Match[str] | None:
    return re.fullmatch(form, value, re.ASCII) if isinstance(value, str) else None


def _refuse(spec: KnownParameter, value: object, allowed: str) -> NoReturn:
    checks.refuse(spec.name, value, f"{allowed}. {EXTRA_HINT}")
