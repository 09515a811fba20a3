"""
What is sent: one function an endpoint. Wire names, and nothing is sent unchecked.

Source: API page ("Endpoints", "SparkPix") and the vendor's files and account pages.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, assert_never

import attrs

from apimodels_async._api import checks, parameters
from apimodels_async._api.catalogue import (
    SPARKPIX_EDIT,
    SPARKPIX_IMAGE,
    find_model,
    known_names,
    sends_as_it_is,
)
from apimodels_async._api.parameters import IMAGE_NAMES
from apimodels_async._api.spelling import EXTRA_HINT, did_you_mean, nearest
from apimodels_async._ports import File, Kind, Request
from apimodels_async.errors import InvalidRequestError
from apimodels_async.models import AnyRequest, ImageRequest, SparkPixEdit, SparkPixImage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from apimodels_async.model_info import KnownModel

logger: logging.Logger = logging.getLogger("apimodels_async.models")

CREATED_BYTES_MAX: Final = 64 << 20
"""OpenAI-shaped answers carry whole pictures in base64; 4K ones have some 20 MB."""
FORM_BYTES_MAX: Final = 4 << 20
"""The vendor's page gives no number; the platform it names takes 4.5 MB a request."""
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_WARNED_MAX: Final = 1024
"""Ids that are remembered as warned of."""

PATHS: Final = ("images/generations-sync", "images/edit", "images/generations")
"""Where pictures are ordered."""
_NAMED: Final[dict[type[Any], tuple[str, ...]]] = {
    kind: tuple(
        field.name
        for field in attrs.fields(kind)
        if field.name not in {"prompt", "extra"}
    )
    for kind in (SparkPixImage, SparkPixEdit)
}
"""Parameters that have a field of their own."""
POLL_SPACING_S: Final = 2.0
"""Between two polls of a task at least. Source: API page, "poll every 2-3 seconds"."""


def build_request(
    prompt: object, model: object, params: Mapping[str, Any]
) -> AnyRequest:
    """
    Return the request value for loose arguments; no model means SparkPix Image.

    Args:
        params: With ``extra`` among them, what is to be sent unchecked.

    Raises:
        InvalidRequestError: *model* is not text, or a parameter is misspelt.
    """
    params = dict(params)
    extra = _extra(params.pop("extra", None))
    if model is None:
        model = SPARKPIX_IMAGE
        parameters.check_unnamed(model, params)
    model = checks.check_model(model)
    if prompt is not None and not isinstance(prompt, str):
        checks.refuse("prompt", prompt, "text")
    if model == SPARKPIX_IMAGE:
        fields = _sorted(SparkPixImage, model, params, extra)
        return SparkPixImage(prompt=prompt or "", **fields)
    if model == SPARKPIX_EDIT:
        fields = {"images": (), **_sorted(SparkPixEdit, model, params, extra)}
        return SparkPixEdit(prompt=prompt or "", **fields)
    return ImageRequest(model, prompt, params, extra)


def _extra(value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        checks.refuse("extra", value, "a mapping of parameters, sent as they are")
    return dict(value)


def _sorted(
    kind: type[Any], model: str, params: Mapping[str, Any], extra: Mapping[str, Any]
) -> dict[str, Any]:
    names = _NAMED[kind]
    known = {name: value for name, value in params.items() if name in names}
    unknown = {name: value for name, value in params.items() if name not in names}
    parameters.check_names(model, unknown)
    _check_once(unknown, extra)
    return {**known, "extra": {**unknown, **extra}}


def read_request(
    found: object, defaults: Mapping[str, Any] | None = None
) -> AnyRequest:
    """
    Return the request for what a batch may be given: a value, a prompt, a mapping.

    A mapping has the parameters' names, ``prompt``, ``model`` and ``extra`` among them.

    Args:
        defaults: Parameters that a prompt has, and a mapping that does not name them.

    Raises:
        InvalidRequestError: It is none of these, or a parameter is misspelt.
    """
    if isinstance(found, AnyRequest):
        return found
    if isinstance(found, str):
        found = {"prompt": found}
    if isinstance(found, Mapping):
        for name in found:
            if name is None:
                row = "a row with more cells than the header, by csv.DictReader"
                checks.refuse("name", name, f"text; this is {row}")
            checks.check_name(name)
        params = {**found}
        extra = {**_extra((defaults or {}).get("extra")), **_extra(params.get("extra"))}
        params = {**(defaults or {}), **params, "extra": extra}
        return build_request(
            params.pop("prompt", None), params.pop("model", None), params
        )
    return checks.refuse("request", found, "a prompt, a mapping or a request value")


def check_defaults(defaults: Mapping[str, Any], options: Iterable[str]) -> None:
    """
    Refuse parameters for all items of a batch that are slips, or can be no item's.

    A value is refused by the rules of the model that is named with it. Without one each
    item may be of another model, also of one that is not known here.

    Args:
        options: Names of the batch's own options: a misspelt one would be ordered.

    Raises:
        InvalidRequestError: With what was probably meant, or is allowed.
    """
    parameters.check_options(defaults)
    for name in defaults.keys() - known_names():
        near = nearest(name, options)
        if near:
            msg = f"`{name}`: {did_you_mean(near)}"
            raise InvalidRequestError(msg, parameter=name)
    named = {
        name: value
        for name, value in defaults.items()
        # Any iterable does for SparkPix Edit, and is read by its items.
        if name not in {"model", "extra"} and (name != "images" or _is_plain(value))
    }
    extra = _extra(defaults.get("extra"))
    _callback(named.get("callback_url"))
    if "model" in defaults:
        read_request("", defaults)
        parameters.check_names(defaults["model"], defaults.keys() - {"model", "extra"})
        _check_model_values(defaults["model"], named)
    for name, value in [*named.items(), *extra.items()]:
        checks.check_name(name)
        checks.check_json(name, value)


def _check_model_values(model: str, named: Mapping[str, Any]) -> None:
    if model == SPARKPIX_IMAGE:
        checks.check_lora(named.get("lora_weights"))
    known = find_model(model)
    if known is not None:
        parameters.check_values(known, named)


def _is_plain(images: object) -> bool:
    plain = isinstance(images, (str, list, tuple)) or not hasattr(images, "__iter__")
    return plain or hasattr(images, "__next__")  # which the second item finds empty


def callback_of(request: AnyRequest) -> object:
    """Return the callback URL that *request* names itself, if any."""
    if isinstance(request, ImageRequest):
        sent = sent_params(request)
        return sent.get("callback_url") or sent.get("callBackUrl")
    return request.callback_url or request.extra.get("callBackUrl")


def call_back(request: AnyRequest, url: str) -> AnyRequest:
    """Return *request* with *url* as its callback."""
    if isinstance(request, ImageRequest):
        params = {**request.params, "callback_url": url}
        return attrs.evolve(request, params=params)
    return attrs.evolve(request, callback_url=url)


def sent_params(request: AnyRequest) -> dict[str, Any]:
    """Return the parameters of *request* that no class names, *extra* included."""
    if isinstance(request, ImageRequest):
        return {**request.params, **request.extra}
    return {**request.extra}


def encode(request: object) -> Request:
    """
    Return the paid POST for *request*.

    Raises:
        InvalidRequestError: A value or a name that what is known does not allow.
    """
    match request:
        case SparkPixImage() | SparkPixEdit():
            return _sparkpix(request)
        case ImageRequest():
            return _task(request)
        case _:
            kinds = "a prompt, SparkPixImage, SparkPixEdit or ImageRequest"
            return checks.refuse("prompt", request, kinds)


def model_of(request: AnyRequest) -> str:
    """Return the model id *request* is for."""
    match request:
        case SparkPixImage():
            return SPARKPIX_IMAGE
        case SparkPixEdit():
            return SPARKPIX_EDIT
        case ImageRequest():
            return request.model
        case _:
            assert_never(request)


def group_of(request: AnyRequest) -> str:
    """Return what decides how long *request* takes: its model, size and quality."""
    params = sent_params(request) if isinstance(request, ImageRequest) else {}
    words = [params.get(name) for name in ("resolution", "size", "quality")]
    return " ".join([model_of(request), *(str(each) for each in words if each)])


def _sparkpix(request: SparkPixImage | SparkPixEdit) -> Request:
    checks.check_prompt(request.prompt)
    kind = SparkPixEdit if isinstance(request, SparkPixEdit) else SparkPixImage
    every = ((name, getattr(request, name)) for name in _NAMED[kind])
    given: dict[str, Any] = {name: value for name, value in every if value is not None}
    if isinstance(request, SparkPixEdit):
        path = "images/edit"
        given["images"] = _edited(request) or None
    else:
        path = "images/generations-sync"
        _check_custom(request)
    _check_model_values(model_of(request), given)
    given["callBackUrl"] = _callback(given.pop("callback_url", None))
    fields = {"prompt": request.prompt, **given}
    return _paid(path, Kind.GENERATE, fields, request.extra)


def _check_custom(request: SparkPixImage) -> None:
    """Width and height need the ratio ``custom``, which is the API's default."""
    for name, side in (("width", request.width), ("height", request.height)):
        if side is not None and request.aspect_ratio not in (None, "custom"):
            only = f"only with aspect_ratio='custom', not {request.aspect_ratio!r}"
            checks.refuse(name, side, f"{only}. {EXTRA_HINT}")


def _edited(request: SparkPixEdit) -> list[Any]:
    named = request.images
    # Read once: a generator that was looked at would be sent empty, and paid for.
    images = [*named] if hasattr(named, "__iter__") else []
    if not images and request.extra.get("images") is not None:
        return images
    if isinstance(named, str):
        checks.check_image("images", named, inline=False)
    if isinstance(named, str) or not images:
        allowed = "a list of at least one http(s) URL"
        other = next((each for each in IMAGE_NAMES if each in request.extra), None)
        if other is not None:  # as other models call it
            allowed += f"; `{other}`: {did_you_mean(['images'])}"
        checks.refuse("images", named, allowed)
    return images


def _task(request: ImageRequest) -> Request:
    known = find_model(checks.check_model(request.model))
    if known is None:
        _warn_of(request.model)
    parameters.check_names(request.model, request.params)
    _check_prompt(request, known)
    for name in IMAGE_NAMES:
        image = request.params.get(name)
        if image is not None and not image:
            checks.refuse(name, image, "an image, or leave it out")
    _callback(request.params.get("callback_url"))
    if known is not None:
        parameters.check_values(known, request.params)
        count = parameters.count_images(sent_params(request))
        if known.image_field is not None and count < known.images_min:
            checks.refuse(known.image_field, None, f"{known.id} needs an image")
    fields: dict[str, Any] = {"model": request.model, "prompt": request.prompt}
    # By what the model does, not by the path: an answer that may be the picture itself
    # takes as long as the picture, and giving up early loses what was paid for.
    quick = known is not None and known.answers_with_task
    kind = Kind.CREATE if quick else Kind.GENERATE
    for name in fields.keys() & request.params.keys():
        msg = f"{name} is given twice"
        raise InvalidRequestError(msg, parameter=name)
    fields |= request.params
    return _paid("images/generations", kind, fields, request.extra)


def _check_prompt(request: ImageRequest, known: KnownModel | None) -> None:
    prompt, sent = request.prompt, sent_params(request)
    if prompt is None and request.extra.get("prompt") is not None:
        return
    if known is None:
        checks.check_prompt(prompt)
        return
    optional = not known.prompt or sent.get(known.prompt_unless or "") is True
    if prompt is not None or not optional:
        checks.check_prompt(prompt)
    most = known.prompt_max
    if most is not None and prompt is not None and len(prompt) > most:
        checks.refuse("prompt", prompt, f"{known.id} takes at most {most} characters")


@lru_cache(maxsize=_WARNED_MAX)
def _warn_of(model: str) -> None:
    """Log once that *model* is close to a known id."""
    warning = sends_as_it_is(model)
    if warning is not None:
        logger.warning("%s", warning)


def _check_once(params: Mapping[str, Any], extra: Mapping[str, Any]) -> None:
    for name in params.keys() & extra.keys():
        if params[name] is not None:
            msg = f"{name} is given twice"
            raise InvalidRequestError(msg, parameter=name)


def _paid(
    path: str, kind: Kind, fields: Mapping[str, Any], extra: Mapping[str, Any]
) -> Request:
    _check_once(fields, extra)
    given: dict[str, Any] = {}
    for name, value in [*fields.items(), *extra.items()]:
        if value is not None:
            checks.check_name(name)
            given[name] = checks.check_json(name, value)
    return Request(
        method="POST",
        path=path,
        kind=kind,
        body=_ENCODER.encode(given).encode(),
        reply_bytes_max=CREATED_BYTES_MAX,
    )


def _callback(url: str | None) -> str | None:
    if url is not None:
        checks.check_url("callback_url", url)
    return url


def poll(task_id: str) -> Request:
    """``GET images/generations``; the query name is ``task_id``."""
    path = f"images/generations?task_id={task_id}"
    return Request(method="GET", path=path, spacing_s=POLL_SPACING_S)


def upload(file: File) -> Request:
    """
    ``POST files``: the file itself as form data, or, for a large one, the question
    where to PUT it.
    """
    if len(file.data) <= FORM_BYTES_MAX:
        return Request(method="POST", path="files", kind=Kind.UPLOAD, file=file)
    fields = {
        "filename": file.name,
        "contentType": file.content_type,
        "fileSize": len(file.data),
    }
    body = json.dumps(fields).encode()
    return Request(method="POST", path="files", kind=Kind.UPLOAD, body=body)
