"""
``apimodels generate`` and ``apimodels edit``.
"""

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
from apimodels_async.cli.options import Common, Flag, Params, Picture, gather
from apimodels_async.cli.output import Output
from apimodels_async.cli.results import deliver, follow, moving
from apimodels_async.cli.work import at_work, open_session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apimodels_async.cli.work import Work

SPARKPIX: Final = "sparkpix-image"
SPARKPIX_EDIT: Final = "sparkpix-image-edit"

Images = Annotated[list[str], Parameter(name="--image", negative="")]


@Parameter(name="*")
@frozen(kw_only=True)
class Delivery:
    """
    Where the picture goes.
    """

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
    params = gather(picture, param)
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
    params = gather(picture, param)
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
    async with at_work(open_session(common), output) as work:
        if images:
            urls = [await _hosted(work, image) for image in images]
            many = field.endswith("s") or len(urls) > 1
            params[field] = urls if many else urls[0]
        known = known_models().get(model)
        if known is not None and known.synchronous and not delivery.no_wait:
            result = await _order(work, prompt, model, params)
        else:
            handle = await _submit(work, prompt, model, params)
            # Some models answer at once: then there is no id to come back with.
            if delivery.no_wait and not handle.done:
                output.facts(task=handle.task_id, state=handle.state)
                return
            if not (handle.done or output.json):
                output.note(f"task {handle.task_id} submitted")
            result = await follow(work, handle)
        await deliver(work, result, None if delivery.no_save else delivery.out)


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


async def _hosted(work: Work, image: str) -> str:
    if image.startswith(("http://", "https://")):
        return image
    with moving(work.output, f"uploading {image}"):
        return await work.session.upload(image)


async def _order(
    work: Work, prompt: str, model: str, params: dict[str, Any]
) -> ImageResult:
    with moving(work.output, f"{model}: generating"), work.order():
        return await work.session.images.generate(prompt, model=model, **params)


async def _submit(
    work: Work, prompt: str, model: str, params: dict[str, Any]
) -> TaskHandle:
    with moving(work.output, f"{model}: submitting"), work.order():
        handle = await work.session.images.submit(prompt, model=model, **params)
    work.output.record(
        "submitted", task_id=handle.task_id, model=model, state=handle.state
    )
    return handle
