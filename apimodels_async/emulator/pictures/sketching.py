"""Builds the sketches, one for each picture, from a checked request."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve

from apimodels_async.emulator.service import sizes
from apimodels_async.emulator.service.catalogue import Model
from apimodels_async.emulator.service.values import Input, Sketch

LAYERS = ("background", "subject", "text")  # the real split gives up to 16


def sketches(
    model: Model,
    prompt: str,
    params: Mapping[str, Any],
    inputs: Sequence[Input],
    mask: Input | None,
) -> tuple[Sketch, ...]:
    """
    Return one sketch for each picture asked for.

    Without a ``seed`` the sketch follows from model and prompt alone, so equal
    requests give equal pictures.
    """
    width, height = sizes.frame(params, inputs[0].sides if inputs else None)
    transparent = params.get("background") == "transparent"
    word = str(params.get("output_format") or "jpeg").replace("jpg", "jpeg")
    seed = params.get("seed")
    base = Sketch(
        model=model.id,
        prompt=prompt,
        seed=seed if isinstance(seed, int) else default_seed(model.id, prompt),
        width=width,
        height=height,
        format="png" if transparent and word == "jpeg" else word,
        transparent=transparent,
        inputs=tuple(inputs),
        mask=mask,
    )
    return tuple(_variants(base, params))


def default_seed(model: str, prompt: str) -> int:
    """Return the seed of a request that names none."""
    return zlib.crc32(f"{model}\n{prompt}".encode(errors="replace"))


def layer_data(sketch: Sketch) -> dict[str, Any]:
    """Return what ``resultJson.layers`` says of one layer, without its url."""
    at = sketch.layer or 0
    name = LAYERS[at]
    return {
        "role": name,
        "z_index": at,
        "name": name.title(),
        "description": f"{name} of the picture",
        "bounding_box": {
            "absolute": [0, 0, sketch.width, sketch.height],
            "normalized": [0.0, 0.0, 1.0, 1.0],
        },
    }


def _variants(base: Sketch, params: Mapping[str, Any]) -> list[Sketch]:
    if params.get("layer_decomposition") is True:
        split = [
            evolve(base, layer=at, format="png", transparent=True)
            for at in range(len(LAYERS))
        ]
        return [base, *split]
    return [evolve(base, seed=base.seed + at) for at in range(params.get("n") or 1)]
