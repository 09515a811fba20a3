"""
Checks of request parameters; each raises a 400 naming parameter, value, choice.

Fields nobody documents are let through, as the service is seen to do.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import Any

from apimodels_async.emulator.service import catalogue, sizes
from apimodels_async.emulator.service.catalogue import Model
from apimodels_async.emulator.service.inputs import is_web_url
from apimodels_async.emulator.service.values import RefusalError

Body = Mapping[str, Any]

RATIOS = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3")
CALLBACK_NAMES = ("callback_url", "callBackUrl")
_REF_NAMES = ("image_url", "image_urls", "images", "image", "image_reference")
_LORA = re.compile(
    r"(https?://)?huggingface\.co/[\w.-]+/[\w.-]+(/[\w./-]+\.safetensors)?", re.ASCII
)
_QUALITIES = ("low", "medium", "high", "xhigh", "max", "auto", "standard", "hd")
_FORMATS = ("jpeg", "jpg", "png", "webp")
_OPENAI_PIXELS = (655_360, 8_294_400)
_OPENAI_LONGEST = 3840  # pixels
_SHOWN = 80  # characters of a bad value in a message


def bad_value(value: object, name: str, wanted: str) -> RefusalError:
    """Return the 400 for a bad *value*."""
    shown = repr(value)
    shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."
    return RefusalError(400, f"{name} must be {wanted}, got {shown}")


def text(body: Body, name: str, *, required: bool = False) -> str:
    """Return a string parameter, empty when it is not there."""
    value = body.get(name)
    if required and (value is None or value == ""):
        raise RefusalError(400, f"{name} is required")
    if value is not None and not isinstance(value, str):
        raise bad_value(value, name, "a string")
    if required and not (value or "").strip():
        raise RefusalError(400, f"{name} is required")
    return value or ""


def choice(body: Body, name: str, allowed: Collection[str]) -> None:
    """Check a string parameter against the words the API knows."""
    value = body.get(name)
    if value is not None and (not isinstance(value, str) or value not in allowed):
        raise bad_value(value, name, f"one of {', '.join(allowed)}")


def integer(
    body: Body,
    name: str,
    low: int | None = None,
    high: int | None = None,
    step: int = 1,
) -> None:
    """Check a whole number; bool is none."""
    value = body.get(name)
    if value is None:
        return
    wanted = "an integer"
    if low is not None and high is not None:
        wanted += f" between {low} and {high}"
    if step > 1:
        wanted += f" and a multiple of {step}"
    if not isinstance(value, int) or isinstance(value, bool) or value % step:
        raise bad_value(value, name, wanted)
    if low is not None and high is not None and not low <= value <= high:
        raise bad_value(value, name, wanted)


def number(body: Body, name: str, low: float, high: float) -> None:
    """Check a number within bounds."""
    value = body.get(name)
    if value is None:
        return
    fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not fits or not low <= value <= high:
        raise bad_value(value, name, f"a number between {low:g} and {high:g}")


def boolean(body: Body, name: str) -> None:
    """Check a JSON true or false."""
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise bad_value(value, name, "true or false")


def callback(body: Body) -> str | None:
    """Return the callback address, under either of its two spellings."""
    for name in CALLBACK_NAMES:
        value = body.get(name)
        if value is None:
            continue
        if not isinstance(value, str) or not is_web_url(value):
            raise bad_value(value, name, "an http or https URL")
        return value
    return None


def sparkpix_image(body: Body) -> None:
    """
    Check POST /images/generations-sync.

    Source:
        API documentation, "SparkPix Image params".
    """
    text(body, "prompt", required=True)
    choice(body, "aspect_ratio", ("custom", *RATIOS))
    for name in ("width", "height"):
        integer(body, name, 256, 1440, 16)
        ratio = body.get("aspect_ratio") or "custom"
        if body.get(name) is not None and ratio != "custom":
            wanted = f'given only when aspect_ratio is "custom" (it is "{ratio}")'
            raise bad_value(body[name], name, wanted)
    boolean(body, "prompt_upsampling")
    integer(body, "seed")
    number(body, "lora_scale", -1, 3)
    lora = text(body, "lora_weights")
    if lora and not _LORA.fullmatch(lora):
        wanted = "huggingface.co/<owner>/<model>[/<file.safetensors>]"
        raise bad_value(lora, "lora_weights", wanted)
    callback(body)


def sparkpix_edit(body: Body) -> None:
    """
    Check POST /images/edit; its images are addresses, and may be left out.

    Source:
        API documentation, "SparkPix Image Edit params".
    """
    text(body, "prompt", required=True)
    images = body.get("images")
    if images is not None and not isinstance(images, list):
        raise bad_value(images, "images", "an array of URLs")
    for at, image in enumerate(_items(images)):
        if not isinstance(image, str) or not is_web_url(image):
            raise bad_value(image, f"images[{at}]", "an http or https URL")
    _count(catalogue.SPARKPIX_EDIT, _items(images))
    choice(body, "aspect_ratio", ("match_input_image", *RATIOS))
    boolean(body, "turbo")
    integer(body, "seed")
    callback(body)


def generation(model: Model, body: Body) -> None:
    """Check what POST /images/generations knows of every model."""
    optional = not model.needs_prompt or body.get("layer_decomposition") is True
    prompt = text(body, "prompt", required=not optional)
    if model.max_prompt is not None and len(prompt) > model.max_prompt:
        msg = f"prompt must be at most {model.max_prompt} characters, got {len(prompt)}"
        raise RefusalError(400, msg)
    _check_frame(model, body)
    choice(body, "quality", _QUALITIES)
    choice(body, "output_format", _FORMATS)
    choice(body, "background", ("transparent", "opaque", "auto"))
    choice(body, "response_format", ("url", "b64_json"))
    boolean(body, "layer_decomposition")
    integer(body, "seed")
    integer(body, "n", 1, 10)
    number(body, "scale", 1, 8)
    callback(body)
    refs = references(body)
    _count(model, refs)
    if model.needs_image and not refs:
        raise RefusalError(400, f"{model.id} needs an input image: image_url")


def references(body: Body) -> list[str]:
    """Return the input images under all the names they go by, each once, in order."""
    found: dict[str, None] = {}
    for name in _REF_NAMES:
        value = body.get(name)
        for item in _items(value):
            if not isinstance(item, str) or not item:
                raise bad_value(item, name, "an image URL, data URI or base64 string")
            found[item] = None
    return list(found)


def supported(models: Sequence[Model]) -> str:
    """Return the sentence that ends the answer to an unknown model."""
    return "Supported models: " + ", ".join(sorted(model.id for model in models))


def _items(value: object) -> list[Any]:
    if value is None:
        return []
    return list(chain(value)) if isinstance(value, list) else [value]


def _count(model: Model, refs: Sequence[object]) -> None:
    if len(refs) > model.max_refs:
        msg = f"{model.id} takes at most {model.max_refs} input images, got {len(refs)}"
        raise RefusalError(400, msg)


def _check_frame(model: Model, body: Body) -> None:
    low, high = model.sides or (64, 4096)
    for name in ("width", "height"):
        integer(body, name, low, high)
    words = model.resolutions or tuple(sizes.AREAS)
    resolution = body.get("resolution")
    if resolution is not None and str(resolution).upper() not in words:
        raise bad_value(resolution, "resolution", f"one of {', '.join(words)}")
    ratio = body.get("aspect_ratio")
    if ratio not in (None, "auto", "custom", "match_input_image"):
        terms = sizes.parse_ratio(ratio)
        if terms is None or max(terms) > 8 * min(terms):
            raise bad_value(ratio, "aspect_ratio", "auto or a ratio such as 16:9")
    _check_size(model, body.get("size"))


def _check_size(model: Model, size: object) -> None:
    if size is None or size == "auto" or str(size).upper() in sizes.AREAS:
        return
    sides = sizes.parse_size(size)
    low, high = model.sides or (64, 4096)
    if sides is None or min(sides) < low or max(sides) > high:
        raise bad_value(
            size, "size", f"WIDTHxHEIGHT, {low} to {high} each, or 1K, 2K, 4K"
        )
    if model.id == "gpt-image-2-all":
        _check_openai_size(*sides)


def _check_openai_size(width: int, height: int) -> None:
    """
    Check the size rules of gpt-image-2-all.

    Source:
        gpt-image-2-all page: multiples of 16, long edge at most 3840, ratio at
        most 3:1, 655K to 8.29M pixels.
    """
    fits = (
        not width % 16
        and not height % 16
        and max(width, height) <= min(_OPENAI_LONGEST, 3 * min(width, height))
        and _OPENAI_PIXELS[0] <= width * height <= _OPENAI_PIXELS[1]
    )
    if not fits:
        wanted = (
            "two multiples of 16, at most 3840 and 3:1, 655360 to 8294400 pixels in all"
        )
        size = f"{width}x{height}"
        raise bad_value(size, "size", wanted)
