"""``apimodels generate`` and ``apimodels edit``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from attrs import frozen
from cyclopts import Parameter

from apimodels_async import (
    ImageResult,
    InvalidRequestError,
    TaskHandle,
    known_models,
)
from apimodels_async.cli.context import command_context, open_session
from apimodels_async.cli.delivery import deliver, follow
from apimodels_async.cli.options import Common, Flag, Params, Picture, gather_parameters
from apimodels_async.cli.output import Output, spinner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apimodels_async.cli.context import CommandContext

SPARKPIX: Final = "sparkpix-image"
SPARKPIX_EDIT: Final = "sparkpix-image-edit"

Images = Annotated[list[str], Parameter(name="--image", negative="")]


@Parameter(name="*")
@frozen(kw_only=True)
class Delivery:
    """Where the picture goes."""

    out: Path = Path()
    """File or existing folder; without a suffix the file gets that of its content."""

    no_save: Flag = False
    """Print the URL only; the API keeps the picture for 7 days."""

    no_wait: Flag = False
    """Submit, print the task id and leave; not for SparkPix, which has no tasks."""


async def generate(
    prompt: str,
    *,
    model: str = SPARKPIX,
    picture: Picture | None = None,
    param: Params = None,
    delivery: Delivery | None = None,
    common: Common | None = None,
) -> None:
    """
    Make a picture of PROMPT; costs money once the API accepts it.

    Args:
        prompt: What to draw.

        model: As listed by "apimodels models".

        param: name=value of any other parameter, in the API's names; the value is
            read as JSON where it is JSON; repeatable.
    """
    params = gather_parameters(picture, param)
    await _make(prompt, model, params, (), delivery, common)


async def edit(
    prompt: str,
    *,
    image: Images,
    model: str = SPARKPIX_EDIT,
    picture: Picture | None = None,
    param: Params = None,
    delivery: Delivery | None = None,
    common: Common | None = None,
) -> None:
    """
    Edit or fuse pictures as PROMPT says; costs money once the API accepts it.

    Args:
        prompt: What to do; "image 1" is the first --image.

        image: File or http(s) URL; files are uploaded first (free); repeatable.

        model: As listed by "apimodels models".

        param: name=value of any other parameter, in the API's names; the value is
            read as JSON where it is JSON; repeatable.
    """
    params = gather_parameters(picture, param)
    await _make(prompt, model, params, image, delivery, common)


async def _make(
    prompt: str,
    model: str,
    params: dict[str, Any],
    images: Sequence[str],
    delivery: Delivery | None,
    common: Common | None,
) -> None:
    common, delivery = common or Common(), delivery or Delivery()
    output = Output(common.json)
    # Before anything is uploaded.
    field = _image_field(model, len(images)) if images else ""
    async with command_context(open_session(common), output) as context:
        if images:
            urls = [await _hosted(context, image) for image in images]
            params[field] = image_value(field, urls)
        known = known_models().get(model)
        if known is not None and known.synchronous and not delivery.no_wait:
            result = await _order(context, prompt, model, params)
        else:
            handle = await _submit(context, prompt, model, params)
            # Some models answer at once: then there is no id to come back with.
            if delivery.no_wait and not handle.done:
                output.facts(task=handle.task_id, state=handle.state)
                return
            if not (handle.done or output.json):
                output.note(f"task {handle.task_id} submitted")
            result = await follow(context, handle)
        await deliver(context, result, None if delivery.no_save else delivery.out)


def image_value(field: str, urls: list[str]) -> list[str] | str:
    """Return the value of a model's parameter for input images: a list, or one URL."""
    return urls if field.endswith("s") or len(urls) > 1 else urls[0]


def _image_field(model: str, count: int) -> str:
    known = known_models().get(model)
    if known is None or known.image_field is None:
        takes = "is not known to take" if known is None else "takes no"
        msg = f"model {model!r} {takes} images; name their parameter with --param"
        raise InvalidRequestError(msg, parameter="image")
    if known.images_max is not None and count > known.images_max:
        msg = f"model {model!r} takes at most {known.images_max} images, not {count}"
        raise InvalidRequestError(msg, parameter=known.image_field)
    return known.image_field


async def _hosted(context: CommandContext, image: str) -> str:
    if image.startswith(("http://", "https://")):
        return image
    with spinner(context.output, f"uploading {image}"):
        return await context.session.upload(image)


async def _order(
    context: CommandContext, prompt: str, model: str, params: dict[str, Any]
) -> ImageResult:
    with spinner(context.output, f"{model}: generating"), context.order():
        return await context.session.images.generate(prompt, model=model, **params)


async def _submit(
    context: CommandContext, prompt: str, model: str, params: dict[str, Any]
) -> TaskHandle:
    with spinner(context.output, f"{model}: submitting"), context.order():
        handle = await context.session.images.submit(prompt, model=model, **params)
    context.output.record(
        "submitted", task_id=handle.task_id, model=model, state=handle.state
    )
    return handle
