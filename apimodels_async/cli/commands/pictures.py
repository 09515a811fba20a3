"""``apimodels generate`` and ``apimodels edit``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from attrs import field, frozen
from cyclopts import Parameter

from apimodels_async import (
    ImageResult,
    InvalidRequestError,
    TaskHandle,
    check_request,
    known_models,
)
from apimodels_async._api.catalogue import (
    SPARKPIX_EDIT,
    SPARKPIX_IMAGE,
    find_model,
    sends_as_it_is,
)
from apimodels_async.cli.completion import complete_path
from apimodels_async.cli.context import command_context, open_session
from apimodels_async.cli.delivery import Delivery, deliver, follow, target_of
from apimodels_async.cli.destinations import check_out
from apimodels_async.cli.options import (
    DELIVERY,
    Common,
    Extra,
    ModelName,
    Params,
    Picture,
    Remembering,
    gather_parameters,
)
from apimodels_async.cli.output import Output, spinner
from apimodels_async.cli.prompts import read_prompt
from apimodels_async.cli.store import StoredOrder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apimodels_async.cli.context import CommandContext
    from apimodels_async.models import AnyRequest

TO_COME: Final = "https://apimodels.app/to-be-uploaded"
"""Stands for a file while the order is checked, which is before it is uploaded."""
PATH_CHARS_MAX: Final = 4096
_IMAGE_TYPES: Final = {"image", "images", "urls"}

NoWait = Annotated[bool, Parameter(negative="", show_default=False, group=DELIVERY)]
Images = Annotated[
    list[str], Parameter(name="--image", negative="", completer=complete_path)
]


@Parameter(name="*")
@frozen(kw_only=True)
class OrderOptions:
    """What both commands take."""

    picture: Picture = field(factory=Picture)

    param: Params = None
    """name=value of any other parameter, in the API's names; the value is read as JSON
    where it is JSON; repeatable. Files for images are uploaded."""

    extra: Extra = None
    """As --param, but sent as it is, unchecked."""

    no_wait: NoWait = False
    """Submit, print the task id and leave; not for SparkPix, which has no tasks."""

    delivery: Delivery = field(factory=Delivery)
    remembering: Remembering = field(factory=Remembering)
    common: Common = field(factory=Common)


async def generate(
    prompt: str | None = None,
    *,
    model: ModelName = SPARKPIX_IMAGE,
    options: OrderOptions = OrderOptions(),
) -> None:
    """
    Make a picture of PROMPT; costs money once the API accepts it.

    Args:
        prompt: What to draw; @FILE reads it from a file, - from stdin. Some models
            need none.

        model: As listed by "apimodels models".
    """
    await _make(prompt, model, (), options)


async def edit(
    prompt: str | None = None,
    *,
    image: Images,
    model: ModelName = SPARKPIX_EDIT,
    options: OrderOptions = OrderOptions(),
) -> None:
    """
    Edit or fuse pictures as PROMPT says; costs money once the API accepts it.

    Args:
        prompt: What to do; "image 1" is the first --image. @FILE reads it from a
            file, - from stdin. Some models need none.

        image: File or http(s) URL; files are uploaded first (free); repeatable.

        model: As listed by "apimodels models".
    """
    await _make(prompt, model, image, options)


async def _make(
    prompt: str | None, model: str, images: Sequence[str], options: OrderOptions
) -> None:
    params = gather_parameters(options.picture, options.param, options.extra)
    delivery, no_wait = options.delivery, options.no_wait
    output = Output(options.common.json)
    order = StoredOrder.begin(options.remembering)
    target = target_of(delivery.out, no_save=delivery.no_save)
    # Before anything is uploaded.
    if images:
        field = _image_field(model, len(images))
        params = _with_images(params, field, images)
    files = _files(model, params)
    prompt = await read_prompt(prompt)
    _request(prompt, model, _placed(params, files))
    known = known_models().get(model)
    at_once = known is not None and known.synchronous
    if at_once and no_wait:
        msg = f"{model} answers at once, so there is no task: leave out --no-wait"
        raise InvalidRequestError(msg, parameter="no_wait")
    warning = sends_as_it_is(model)
    if warning is not None:
        output.warning(warning)
    session = open_session(options.common, order.store)
    async with command_context(session, output) as context:
        if not no_wait or delivery.out is not None:  # else nothing is to be saved
            await check_out(target)
        addresses = {file: await _hosted(context, file) for file in files}
        params = _placed(params, addresses)
        request = _request(prompt, model, params)
        named = {"idempotency_key": order.key, "manual_ack": order.store is not None}
        ordered = {**params, "model": model, **named}
        result: ImageResult | None
        if at_once:
            with spinner(output, f"{model}: generating"):
                result = await session.images.generate(prompt, **ordered)
        else:
            with spinner(output, f"{model}: submitting"):
                handle = await session.images.submit(prompt, **ordered)
            result = await _wait(context, order, handle, model, no_wait=no_wait)
        if result is not None:
            await deliver(
                context, result, target, order, delivery=delivery, request=request
            )


async def _wait(
    context: CommandContext,
    order: StoredOrder,
    handle: TaskHandle,
    model: str,
    *,
    no_wait: bool,
) -> ImageResult | None:
    """Tell of a task, and return its result; None: nobody waits for it."""
    output, before = context.output, order.ordered_before(context)
    output.record(
        "submitted",
        task_id=handle.task_id,
        model=model,
        state=handle.state,
        **({} if before is None else {"ordered_before": before}),
    )
    # Some models answer at once: then there is no id to come back with.
    if no_wait and not handle.done:
        output.facts(task=handle.task_id, state=handle.state)
        if before:
            output.note("It was ordered before; not charged now.")
        return None
    if not (handle.done or output.json):
        done = "ordered before" if before else "submitted"
        output.note(f"task {handle.task_id} {done}")
    return await follow(context, handle)


def _request(prompt: str | None, model: str, params: dict[str, Any]) -> AnyRequest:
    """
    Return what is ordered, checked as the library does.

    Raises:
        InvalidRequestError: It would be refused.
    """
    given = {} if prompt is None else {"prompt": prompt}
    try:
        return check_request({**given, "model": model, **params}).request
    except InvalidRequestError as error:
        if prompt is not None or error.parameter != "prompt":
            raise
        # What edits has pictures to edit.
        call = "edit" if model == SPARKPIX_EDIT else "generate"
        msg = f"PROMPT is missing: {model} needs one; see: apimodels {call} --help"
        raise InvalidRequestError(msg, parameter="prompt") from None


def image_value(field: str, urls: list[Any]) -> Any:
    """Return the value of a model's parameter for input images: a list, or one URL."""
    return urls if field.endswith("s") or len(urls) > 1 else urls[0]


def _image_field(model: str, count: int) -> str:
    known = find_model(model)
    if known is None or known.image_field is None:
        takes = "is not known to take" if known is None else "takes no"
        msg = f"model {model!r} {takes} images; name their parameter with --param"
        raise InvalidRequestError(msg, parameter="image")
    if known.images_max is not None and count > known.images_max:
        msg = f"model {model!r} takes at most {known.images_max} images, not {count}"
        raise InvalidRequestError(msg, parameter=known.image_field)
    return known.image_field


def _with_images(
    params: dict[str, Any], field: str, images: Sequence[str]
) -> dict[str, Any]:
    if field in params:
        msg = f"{field} is given twice: by --image and by --param"
        raise InvalidRequestError(msg, parameter=field)
    # What is no address is a file; whether it is there, the upload says.
    given = [each if _is_address(each) else Path(each) for each in images]
    return {**params, field: image_value(field, given)}


def _files(model: str, params: dict[str, Any]) -> dict[str | Path, str]:
    """Return the local files among the images that *params* name, each to be placed."""
    known = find_model(model)
    specs = {} if known is None else known.params
    found: dict[str | Path, str] = {}
    for name, value in params.items():
        if name in specs and specs[name].type in _IMAGE_TYPES:
            images = value if isinstance(value, list) else [value]
            found |= {image: TO_COME for image in images if _is_file(image)}
            if specs[name].type != "image" and isinstance(value, str):
                params[name] = [value]  # one option gives one address
    return found


def _placed(params: dict[str, Any], addresses: dict[str | Path, str]) -> dict[str, Any]:
    """Return *params* with the address of each file in its place."""

    def place(value: Any) -> Any:
        if isinstance(value, list):
            return [place(each) for each in value]
        return addresses.get(value, value) if isinstance(value, (str, Path)) else value

    named = {name: value for name, value in params.items() if name != "extra"}
    return {**params, **{name: place(value) for name, value in named.items()}}


def _is_address(image: str) -> bool:
    return image.startswith(("http://", "https://"))


def _is_file(image: object) -> bool:
    if isinstance(image, Path):
        return True
    if not isinstance(image, str) or len(image) > PATH_CHARS_MAX or _is_address(image):
        return False
    try:
        return Path(image).is_file()
    except OSError:  # too long for this system: base64
        return False


async def _hosted(context: CommandContext, image: str | Path) -> str:
    with spinner(context.output, f"uploading {image}"):
        return await context.session.upload(image)
