"""
The models of the emulator with their prices and limits, as dated data.

Source:
    The vendor's model list of 2026-10 and the provider pages; the two SparkPix
    prices are those of the API documentation. Prices drift: they are here to
    make the emulated money add up, and promise nothing about the real service.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal

from attrs import frozen

AS_OF = "2026-10-01"

Rate = str | Mapping[str, "str | Mapping[str, str]"]
"""Flat USD; or by resolution; or by resolution and quality."""

_2_5: Rate = {
    "1K": {
        "low": "0.008",
        "medium": "0.02",
        "high": "0.03",
        "xhigh": "0.05",
        "max": "0.08",
    },
    "2K": {
        "low": "0.02",
        "medium": "0.025",
        "high": "0.04",
        "xhigh": "0.08",
        "max": "0.15",
    },
    "4K": {
        "low": "0.02",
        "medium": "0.045",
        "high": "0.08",
        "xhigh": "0.17",
        "max": "0.30",
    },
}
_ALL: Rate = {
    "1K": {"low": "0.01", "medium": "0.025", "high": "0.07"},
    "2K": {"low": "0.025", "medium": "0.04", "high": "0.10"},
    "4K": {"low": "0.06", "medium": "0.06", "high": "0.23"},
}
_GROK_2: Rate = {
    "1K": {"low": "0.03", "medium": "0.045"},
    "2K": {"low": "0.04", "medium": "0.06"},
}


@frozen
class Model:
    """One model: endpoint, price, limits of its parameters."""

    id: str
    provider: str
    rate: Rate
    mode: Literal["task", "sync"] = "task"
    endpoint: str = "/images/generations"
    max_refs: int = 8
    """Input images accepted; more are rejected at create, not cut."""

    ref_price: str = "0"
    """USD for each input image past `free_refs`."""

    free_refs: int = 0
    quality: str = "medium"
    needs_image: bool = False
    needs_prompt: bool = True
    max_prompt: int | None = None
    resolutions: tuple[str, ...] = ()
    """Empty: any known word."""

    sides: tuple[int, int] | None = None
    """Smallest and largest width and height, pixels."""

    @property
    def wire_name(self) -> str:
        """The prefixed name that replies and callbacks carry."""
        return f"{self.provider}/{self.id}"


def _by_resolution(low: str, middle: str, high: str) -> Rate:
    return {"1K": low, "2K": middle, "4K": high}


_ROWS = (
    Model(
        "sparkpix-image", "sparkpix", "0.0100", "sync", "/images/generations-sync", 0
    ),
    Model("sparkpix-image-edit", "sparkpix", "0.0130", "sync", "/images/edit"),
    Model("flux-2-klein-4b", "flux", "0.006", max_refs=3, ref_price="0.0015"),
    Model(
        "gpt-image-2", "openai", _by_resolution("0.025", "0.03", "0.05"), max_refs=16
    ),
    Model("gpt-image-2-lite", "openai-lite", "0.01", "sync", max_refs=16),
    Model("gpt-image-2-beta", "openai-beta", "0.02", max_refs=16),
    Model("gpt-image-2-all", "openai-all", _ALL, max_refs=16),
    Model("gpt-image-2.5-flare", "openai", _2_5, max_refs=16),
    Model("gpt-image-2.5-sunburst", "openai", _2_5, max_refs=16, quality="high"),
    Model("gemini-2.5-flash-image", "gemini", "0.02"),
    Model("gemini-3-pro-image", "gemini", _by_resolution("0.10", "0.10", "0.15")),
    Model("gemini-3-pro-image-gemini", "gemini", "0.03"),
    Model("gemini-3-pro-image-lite", "gemini", "0.03"),
    Model(
        "gemini-3-pro-image-preview", "gemini", _by_resolution("0.068", "0.068", "0.13")
    ),
    Model(
        "gemini-3.1-flash-image",
        "gemini",
        {"512": "0.04", "1K": "0.06", "2K": "0.06", "4K": "0.10"},
    ),
    Model("gemini-3.1-flash-image-gemini", "gemini", "0.025"),
    Model(
        "gemini-3.1-flash-image-preview",
        "nanobanana2",
        _by_resolution("0.05", "0.05", "0.08"),
    ),
    Model("nanobanana-2-beta", "gemini", _by_resolution("0.05", "0.05", "0.08")),
    Model("nano-banana-2-1", "gemini", _by_resolution("0.024", "0.04", "0.064")),
    Model("grok-4.2-image", "grok-image", "0.0075"),
    Model("grok-imagine-image", "grok-imagine", "0.03"),
    Model("grok-imagine-image-pro", "grok-imagine-pro", {"1K": "0.08", "2K": "0.12"}),
    Model("grok-imagine-image-2.0", "grok-imagine", _GROK_2),
    Model("doubao-seedream-4-5-251128", "doubao", "0.05"),
    Model("doubao-seedream-5-0-260128", "doubao", "0.055"),
    Model("doubao-seedream-5-0-flash", "doubao", "0.03", resolutions=("1K", "2K")),
    Model(
        "doubao-seedream-5-0-pro",
        "doubao",
        {"1K": "0.03", "2K": "0.06"},
        max_refs=10,
        resolutions=("1K", "2K"),
    ),
    Model(
        "qwen3-image",
        "qwen",
        "0.035",
        max_refs=3,
        ref_price="0.004",
        free_refs=1,
        resolutions=("1K", "2K"),
    ),
    Model(
        "qwen3-image-pro",
        "qwen",
        {"1K": "0.037", "2K": "0.075"},
        max_refs=3,
        ref_price="0.004",
        free_refs=1,
        resolutions=("1K", "2K"),
    ),
    Model("kling-v2", "kling-image-gen", "0.05", max_prompt=2500),
    Model(
        "kling-v2-1",
        "kling-image-gen",
        "0.016",
        ref_price="0.029",
        max_refs=1,
        max_prompt=2500,
    ),
    Model("kling-v2-new", "kling-image-gen", "0.05", max_prompt=2500),
    Model(
        "kling-v3-image",
        "kling-image-gen",
        _by_resolution("0.05", "0.05", "0.10"),
        max_prompt=2500,
    ),
    Model("kling-v3", "kling-image-gen", "0.05", max_prompt=2500),
    Model("kling-v3-omni", "kling-image-gen", "0.05", max_prompt=2500),
    Model("kling-image-o1", "kling-image-gen", "0.05", max_prompt=2500),
    Model(
        "kling-multi-image",
        "kling-image-gen",
        "0.045",
        needs_image=True,
        max_prompt=2500,
    ),
    Model(
        "kling-expand", "kling-image-gen", "0.023", needs_image=True, needs_prompt=False
    ),
    Model("z-image-spicy", "z-image", "0.015", max_refs=0, sides=(256, 1536)),
    Model("z-image-spicy-pro", "z-image", "0.03", max_refs=0, sides=(256, 2560)),
    Model(
        "real-esrgan",
        "esrgan",
        "0.004",
        max_refs=1,
        needs_image=True,
        needs_prompt=False,
    ),
)
MODELS: Mapping[str, Model] = {model.id: model for model in _ROWS}
SPARKPIX = MODELS["sparkpix-image"]
SPARKPIX_EDIT = MODELS["sparkpix-image-edit"]


def find_model(name: str) -> Model | None:
    """Return the model called *name*; a provider's prefix is ignored."""
    return MODELS.get(name.rpartition("/")[2])


def price(model: Model, params: Mapping[str, Any], *, refs: int, tier: str) -> Decimal:
    """
    Return what one request costs in USD.

    *refs* counts input images; *tier* is the resolution word. Each of ``n``
    pictures is billed (no page says otherwise).
    """
    rate = model.rate
    if not isinstance(rate, str):
        rate = rate.get(tier) or list(rate.values())[-1]
    if not isinstance(rate, str):
        quality = str(params.get("quality") or model.quality)
        rate = rate.get(quality) or rate["medium"]
    billed_refs = max(0, refs - model.free_refs)
    count = params.get("n") or 1
    return (Decimal(rate) + billed_refs * Decimal(model.ref_price)) * Decimal(count)
