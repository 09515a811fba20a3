"""
Words that editors complete and type checkers know: model ids, and values of parameters.

``catalogue.json`` is the one source; a test holds these lists against it. At run time
nothing is checked by them: ids and values that are not here pass a type checker as
``str``, and it is the API that decides.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

KnownModelId: TypeAlias = Literal[
    "sparkpix-image",
    "sparkpix-image-edit",
    "flux-2-klein-4b",
    "gpt-image-2",
    "gpt-image-2-lite",
    "gpt-image-2-beta",
    "gpt-image-2-all",
    "gpt-image-2.5-flare",
    "gpt-image-2.5-sunburst",
    "gemini-2.5-flash-image",
    "gemini-3-pro-image",
    "gemini-3-pro-image-gemini",
    "gemini-3-pro-image-lite",
    "gemini-3-pro-image-preview",
    "gemini-3.1-flash-image",
    "gemini-3.1-flash-image-gemini",
    "gemini-3.1-flash-image-preview",
    "nanobanana-2-beta",
    "nano-banana-2-1",
    "grok-4.2-image",
    "grok-imagine-image",
    "grok-imagine-image-pro",
    "grok-imagine-image-2.0",
    "doubao-seedream-4-5-251128",
    "doubao-seedream-5-0-260128",
    "doubao-seedream-5-0-flash",
    "doubao-seedream-5-0-pro",
    "qwen3-image",
    "qwen3-image-pro",
    "kling-v2",
    "kling-v2-1",
    "kling-v2-new",
    "kling-v3",
    "kling-v3-omni",
    "kling-v3-image",
    "kling-image-o1",
    "kling-multi-image",
    "kling-expand",
    "z-image-spicy",
    "z-image-spicy-pro",
    "z-image-pro",
    "real-esrgan",
]
"""The published models, in the catalogue's order."""

Resolution: TypeAlias = Literal["512", "1K", "2K", "4K"]
"""What models call the size of their pictures."""

Quality: TypeAlias = Literal["low", "medium", "high", "xhigh", "max", "auto"]
"""How much work goes into a picture; most models have three of these."""

AspectRatio: TypeAlias = Literal[
    "1:1", "3:2", "2:3", "4:3", "3:4", "16:9", "9:16", "21:9"
]
"""Width to height, as models answered by a task list it."""

SparkPixRatio: TypeAlias = Literal["1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3"]

ImageRatio: TypeAlias = Literal["custom"] | SparkPixRatio
"""Of SparkPix Image; *custom* goes with ``width`` and ``height``."""

EditRatio: TypeAlias = Literal["match_input_image"] | SparkPixRatio
"""Of SparkPix Image Edit."""
