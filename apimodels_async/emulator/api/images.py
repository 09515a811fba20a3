"""Endpoints that create and edit images, and that poll tasks."""

import base64
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from apimodels_async.emulator.api import checks, wire
from apimodels_async.emulator.api.gate import Call
from apimodels_async.emulator.faults.breakage import altered, hang
from apimodels_async.emulator.pictures.sketching import layer_data, sketches
from apimodels_async.emulator.service import sizes
from apimodels_async.emulator.service.catalogue import (
    MODELS,
    SPARKPIX,
    SPARKPIX_EDIT,
    Model,
    find_model,
    price,
)
from apimodels_async.emulator.service.ledger import Order
from apimodels_async.emulator.service.values import (
    EmulatedTask,
    Input,
    RefusalError,
    Sketch,
    is_count,
)
from apimodels_async.emulator.world import World

_ALL = MODELS["gpt-image-2-all"]
_LITE = MODELS["gpt-image-2-lite"]
_SPARKPIX_FRAME = ("aspect_ratio", "width", "height", "seed")


async def create(world: World, call: Call) -> web.Response:
    """
    POST /images/generations.

    SparkPix ids are accepted here as tasks, as the vendor's model list names one
    endpoint for all ids; the API documentation is silent on it.
    """
    model = _model(call.body, tuple(MODELS.values()))
    if call.parts is not None:
        msg = "Content-Type must be application/json"
        raise RefusalError(400, msg)
    checks.generation(model, call.body)
    inputs = await world.inputs.load_all(checks.references(call.body))
    mask = await _mask(world, call)
    order = _order(world, call, model, inputs, mask)
    if model is _ALL and sizes.parse_size(call.body.get("size")):
        return await _openai(world, call, order)
    task = world.ledger.accept(order)
    call.record.task_id = task.id
    if model is _LITE and call.task_fault != "completed":
        await _wait_settled(world, call, task)
    return _altered(call, wire.create_answer(task))


async def generate_sync(world: World, call: Call) -> web.Response:
    """
    POST /images/generations-sync: SparkPix Image.

    A vendor README also sends gpt-image-2-all here; its answer was not shown, so
    it gets the one this endpoint documents.
    """
    body = {"model": SPARKPIX.id, **call.body}
    model = _model(body, (SPARKPIX, _ALL))
    if model is SPARKPIX:
        call.unchecked = True
        checks.sparkpix_image(call.body)
    else:
        checks.generation(model, call.body)
    return await _sync(world, call, model, ())


async def edit(world: World, call: Call) -> web.Response:
    """POST /images/edit: SparkPix Image Edit."""
    call.unchecked = True
    checks.sparkpix_edit(call.body)
    inputs = await world.inputs.load_all(call.body.get("images") or [])
    return await _sync(world, call, SPARKPIX_EDIT, inputs)


async def edit_form(world: World, call: Call) -> web.Response:
    """
    POST /images/edits: OpenAI-style multipart, gpt-image-2-all.

    Source:
        gpt-image-2-all page: up to 16 references and a mask.
    """
    if call.parts is None:
        msg = "Content-Type must be multipart/form-data"
        raise RefusalError(400, msg)
    call.body = _with_numbers({"model": _ALL.id, **call.body})
    model = _model(call.body, (_ALL,))
    checks.generation(model, call.body)
    files = {"image": [], "mask": []}  # type: dict[str, list[bytes]]
    for part in call.parts:
        if part.filename is not None:
            files.setdefault(part.name.removesuffix("[]"), []).append(part.data)
    if not files["image"]:
        raise RefusalError(400, "image is required")
    if len(files["image"]) > model.max_refs:
        msg = f"{model.id} takes at most {model.max_refs} input images"
        raise RefusalError(400, msg)
    from_bytes = world.inputs.from_bytes
    inputs = [
        await from_bytes(data, f"image {at}")
        for at, data in enumerate(files["image"], 1)
    ]
    masks = [await from_bytes(data, "mask") for data in files["mask"][:1]]
    order = _order(world, call, model, inputs, masks[0] if masks else None)
    return await _openai(world, call, order)


async def poll(world: World, call: Call) -> web.Response:
    """GET /images/generations?task_id=ID."""
    task_id = call.request.query.get("task_id")
    if not task_id:
        raise RefusalError(400, "task_id is required")
    task = world.ledger.find(task_id)
    if task is None:
        raise RefusalError(404, "Task not found")
    return _altered(call, wire.poll_answer(task))


async def poll_by_path(_world: World, _call: Call) -> web.Response:
    """
    GET /images/generations/ID, which the API does not have.

    Source:
        A public client: 404 with a misleading note about base_url.
    """
    msg = "Not found. Check your base_url: it must end in /api/v1"
    raise RefusalError(404, msg)


async def _sync(
    world: World, call: Call, model: Model, inputs: Sequence[Input]
) -> web.Response:
    order = _order(world, call, model, inputs, None)
    task = await _generate(world, call, order)
    return web.json_response(wire.sync_answer(task, order.service_s))


async def _openai(world: World, call: Call, order: Order) -> web.Response:
    task = await _generate(world, call, order)
    inline = call.body.get("response_format") == "b64_json"
    pictures: list[dict[str, str]] = []
    for url, (name, sketch) in zip(task.urls, task.sketches, strict=False):
        if inline:
            drawn = await world.studio.draw(name, sketch)
            pictures.append({"b64_json": base64.b64encode(drawn).decode()})
        else:
            pictures.append({"url": url})
    return web.json_response(wire.openai_answer(task, pictures))


async def _generate(world: World, call: Call, order: Order) -> EmulatedTask:
    """
    Run *order* to its end and return its task.

    Raises:
        RefusalError: It failed: 400 for moderation, 500 else. Nothing was charged.
    """
    task = world.ledger.accept(order, listed=False)
    await _wait_settled(world, call, task)
    if task.failure is not None:
        status = 500 if task.failure.retryable else 400
        raise RefusalError(status, task.failure.message)
    return task


async def _wait_settled(world: World, call: Call, task: EmulatedTask) -> None:
    if task.endless:
        await hang(call.request, world.closing)
        raise RefusalError(500, "The emulator closed")
    await world.ledger.wait_settled(task)


def _model(body: dict[str, Any], models: Sequence[Model]) -> Model:
    name = checks.text(body, "model", required=True)
    model = find_model(name)
    if model is None or model not in models:
        msg = f"Unknown model: {name[:80]}. {checks.supported(models)}"
        raise RefusalError(400, msg)
    return model


def _order(
    world: World,
    call: Call,
    model: Model,
    inputs: Sequence[Input],
    mask: Input | None,
) -> Order:
    body = call.body
    prompt = checks.text(body, "prompt")
    params = {key: body[key] for key in body if key not in ("model", "prompt")}
    checked = _documented(params) if call.unchecked else params
    drawings: tuple[Sketch, ...] = sketches(model, prompt, checked, inputs, mask)
    return Order(
        endpoint=call.where,
        model=model,
        prompt=prompt,
        params=params,
        service_s=world.durations.draw(model.id, prompt, checked),
        price=price(model, checked, refs=len(inputs), tier=sizes.tier(checked)),
        sketches=drawings,
        layers=tuple(layer_data(each) for each in drawings if each.layer is not None),
        callback_url=checks.callback(body),
        record=call.record,
        task_fault=call.task_fault,
    )


async def _mask(world: World, call: Call) -> Input | None:
    mask = checks.text(call.body, "mask")
    return await world.inputs.load(mask) if mask else None


def _documented(params: dict[str, Any]) -> dict[str, Any]:
    """Return what SparkPix documents of a picture; other fields were not checked."""
    return {key: params[key] for key in _SPARKPIX_FRAME if key in params}


def _with_numbers(fields: dict[str, Any]) -> dict[str, Any]:
    """Return form *fields* with numbers where the API wants numbers."""
    for name in ("n", "seed", "width", "height"):
        text = str(fields.get(name, ""))
        if is_count(text):
            fields[name] = int(text)
    return fields


def _altered(call: Call, body: dict[str, Any]) -> web.Response:
    return web.json_response({**body, "data": altered(body["data"], call.fault)})
