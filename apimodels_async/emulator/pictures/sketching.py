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
    if not isinstance(seed, int):
        seed = zlib.crc32(f"{model.id}\n{prompt}".encode(errors="replace"))
    base = Sketch(
        model=model.id,
        prompt=prompt,
        seed=seed,
        width=width,
        height=height,
        format="png" if transparent and word == "jpeg" else word,
        transparent=transparent,
        inputs=tuple(inputs),
        mask=mask,
    )
    if params.get("layer_decomposition") is True:
        layer = evolve(base, format="png", transparent=True)
        return base, *(evolve(layer, layer=at) for at in range(len(LAYERS)))
    return tuple(evolve(base, seed=seed + at) for at in range(params.get("n") or 1))


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
