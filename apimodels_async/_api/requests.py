"""
What is sent: one function an endpoint. Wire names, and nothing is sent unchecked.

Source: API page ("Endpoints", "SparkPix") and the vendor's files and account pages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, assert_never

import attrs

from apimodels_async._api import checks
from apimodels_async._api.catalogue import SPARKPIX_EDIT, SPARKPIX_IMAGE, find_model
from apimodels_async._ports import File, Kind, Request
from apimodels_async.errors import InvalidRequestError
from apimodels_async.models import AnyRequest, ImageRequest, SparkPixEdit, SparkPixImage

CREATED_BYTES_MAX: Final = 64 << 20
"""OpenAI-shaped answers carry whole pictures in base64; 4K ones have some 20 MB."""
FORM_BYTES_MAX: Final = 4 << 20
"""The vendor's page gives no number; the platform it names takes 4.5 MB a request."""
_IMAGE_NAMES: Final = frozenset({"image", "image_url", "image_urls", "images"})


def build_request(
    prompt: object, model: object, params: Mapping[str, Any]
) -> AnyRequest:
    """
    Return the request value for loose arguments; no model means SparkPix Image.

    Raises:
        InvalidRequestError: *model* is not text, or an edit names no images.
    """
    if model is None:
        model = SPARKPIX_IMAGE
    model = checks.check_model(model)
    if prompt is not None and not isinstance(prompt, str):
        checks.refuse("prompt", prompt, "text")
    if model == SPARKPIX_IMAGE:
        return SparkPixImage(prompt=prompt or "", **_sorted(SparkPixImage, params))
    if model == SPARKPIX_EDIT:
        fields = {"images": (), **_sorted(SparkPixEdit, params)}
        return SparkPixEdit(prompt=prompt or "", **fields)
    return ImageRequest(model, prompt, dict(params))


def _sorted(kind: type[Any], params: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in attrs.fields(kind)} - {"prompt", "extra"}
    known = {name: value for name, value in params.items() if name in names}
    unknown = {name: value for name, value in params.items() if name not in names}
    return {**known, "extra": unknown}


def read_request(found: object) -> AnyRequest:
    """
    Return the request for what a batch may be given: a value, a prompt, a mapping.

    A mapping has the parameters' names, ``prompt`` and ``model`` among them.

    Raises:
        InvalidRequestError: It is none of these.
    """
    if isinstance(found, (SparkPixImage, SparkPixEdit, ImageRequest)):
        return found
    if isinstance(found, str):
        return build_request(found, None, {})
    if isinstance(found, Mapping):
        params = {str(name): value for name, value in found.items()}
        return build_request(
            params.pop("prompt", None), params.pop("model", None), params
        )
    return checks.refuse("request", found, "a prompt, a mapping or a request value")


def callback_of(request: AnyRequest) -> object:
    """Return the callback URL that *request* names itself, if any."""
    if isinstance(request, ImageRequest):
        return request.params.get("callback_url")
    return request.callback_url or request.extra.get("callBackUrl")


def call_back(request: AnyRequest, url: str) -> AnyRequest:
    """Return *request* with *url* as its callback."""
    if isinstance(request, ImageRequest):
        params = {**request.params, "callback_url": url}
        return attrs.evolve(request, params=params)
    return attrs.evolve(request, callback_url=url)


def encode(request: object) -> Request:
    """
    Return the paid POST for *request*.

    Raises:
        InvalidRequestError: A value the API page does not allow.
    """
    match request:
        case SparkPixImage():
            return _sparkpix_image(request)
        case SparkPixEdit():
            return _sparkpix_edit(request)
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
    params = request.params if isinstance(request, ImageRequest) else {}
    words = [params.get(name) for name in ("resolution", "size", "quality")]
    return " ".join([model_of(request), *(str(each) for each in words if each)])


def _sparkpix_image(request: SparkPixImage) -> Request:
    checks.check_prompt(request.prompt)
    checks.check_choice("aspect_ratio", request.aspect_ratio, checks.IMAGE_RATIOS)
    checks.check_size(request.aspect_ratio, request.width, request.height)
    checks.check_flag("prompt_upsampling", request.prompt_upsampling)
    checks.check_whole("seed", request.seed)
    checks.check_lora(request.lora_weights, request.lora_scale)
    fields = {
        "prompt": request.prompt,
        "aspect_ratio": request.aspect_ratio,
        "width": request.width,
        "height": request.height,
        "prompt_upsampling": request.prompt_upsampling,
        "seed": request.seed,
        "lora_weights": request.lora_weights,
        "lora_scale": request.lora_scale,
        "callBackUrl": _callback(request.callback_url),
    }
    return _paid("images/generations-sync", Kind.GENERATE, fields, request.extra)


def _sparkpix_edit(request: SparkPixEdit) -> Request:
    checks.check_prompt(request.prompt)
    named = request.images
    # Read once: a generator that was looked at would be sent empty, and paid for.
    images = [*named] if hasattr(named, "__iter__") else []
    if isinstance(named, str) or not images:
        checks.refuse("images", named, "a list of at least one http(s) URL")
    for index, image in enumerate(images):
        checks.check_url(f"images[{index}]", image)
    checks.check_choice("aspect_ratio", request.aspect_ratio, checks.EDIT_RATIOS)
    checks.check_flag("turbo", request.turbo)
    checks.check_whole("seed", request.seed)
    fields = {
        "prompt": request.prompt,
        "images": images,
        "aspect_ratio": request.aspect_ratio,
        "turbo": request.turbo,
        "seed": request.seed,
        "callBackUrl": _callback(request.callback_url),
    }
    return _paid("images/edit", Kind.GENERATE, fields, request.extra)


def _task(request: ImageRequest) -> Request:
    known = find_model(checks.check_model(request.model))
    if request.prompt is not None or known is None or known.prompt:
        checks.check_prompt(request.prompt)
    if known and known.images_max and known.image_field:
        images = request.params.get(known.image_field)
        if isinstance(images, (list, tuple)) and len(images) > known.images_max:
            most = f"{request.model} takes at most {known.images_max} images"
            checks.refuse(known.image_field, f"{len(images)} images", most)
    for name in _IMAGE_NAMES & request.params.keys():
        image = request.params[name]
        if image is not None and not image:
            checks.refuse(name, image, "an image, or leave it out")
    _callback(request.params.get("callback_url"))
    fields = {"model": request.model, "prompt": request.prompt}
    # By what the model does, not by the path: an answer that may be the picture itself
    # takes as long as the picture, and giving up early loses what was paid for.
    quick = known is not None and known.answers_with_task
    kind = Kind.CREATE if quick else Kind.GENERATE
    return _paid("images/generations", kind, fields, request.params)


def _paid(
    path: str, kind: Kind, fields: dict[str, Any], extra: Mapping[str, Any]
) -> Request:
    for name in fields.keys() & extra.keys():
        msg = f"{name} is given twice"
        raise InvalidRequestError(msg, parameter=name)
    given = {name: value for name, value in fields.items() if value is not None}
    given.update((name, value) for name, value in extra.items() if value is not None)
    for name, value in given.items():
        checks.check_name(name)
        checks.check_json(name, value)
    return Request(
        method="POST",
        path=path,
        kind=kind,
        body=json.dumps(given, ensure_ascii=False, separators=(",", ":")).encode(),
        reply_bytes_max=CREATED_BYTES_MAX,
    )


def _callback(url: str | None) -> str | None:
    if url is not None:
        checks.check_url("callback_url", url)
    return url


def poll(task_id: str) -> Request:
    """``GET images/generations``; the query name is ``task_id``."""
    return Request(method="GET", path=f"images/generations?task_id={task_id}")


def balance() -> Request:
    """``GET balance``: free."""
    return Request(method="GET", path="balance")


def models() -> Request:
    """``GET models``: free."""
    return Request(method="GET", path="models")


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
