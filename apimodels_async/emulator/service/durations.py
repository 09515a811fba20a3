"""
Service times: how long a generation takes.

Source:
    The vendor's figures of 2026-09: all image tasks p50 48 s, p90 83 s;
    qwen3-image-pro median 121 s with 10 % over 324 s; gpt-image-2-all 40, 60-90
    and 120 s by quality; layer split 58-83 s; SparkPix under a second.
"""

import math
import random
from collections.abc import Callable, Mapping
from typing import Any

Span = float | tuple[float, float]
"""Seconds, constant or drawn evenly between two."""

_Z90 = 1.2815515655446004  # the normal distribution's 90 % point
_SLOW_FACTOR = 10  # a prompt with [slow]

_SPANS: Mapping[str, tuple[float, float]] = {
    "sparkpix-image": (0.3, 0.9),
    "sparkpix-image-edit": (0.3, 0.9),
    "flux-2-klein-4b": (1, 2),
    "z-image-spicy": (12, 21),
    "z-image-spicy-pro": (12, 21),
    "gpt-image-2-lite": (2, 5),  # a guess: "synchronous" is all the page says
    "gpt-image-2-beta": (15, 40),
    "real-esrgan": (2, 6),  # a guess
}
_QUANTILES: Mapping[str, tuple[float, float]] = {"qwen3-image-pro": (121, 324)}
_ALL_BY_QUALITY: Mapping[str, float] = {"low": 40, "medium": 75, "high": 120}
_COMMON = (48.0, 83.0)  # p50 and p90, seconds
_LAYERS = (58.0, 83.0)


class Durations:
    """Draws service times; every one is divided by *speed*."""

    def __init__(
        self, rng: random.Random, speed: float, given: Mapping[str, Span] | None
    ) -> None:
        if not _is_time(speed) or not speed:
            msg = f"speed must be a number above 0, got {speed!r}"
            raise ValueError(msg)
        self.speed = speed
        self._rng = rng
        self._given = _checked(given)

    def draw(self, model: str, prompt: str, params: Mapping[str, Any]) -> float:
        """Return the seconds one request takes."""
        span = self._given.get(model, self._given.get("*"))
        seconds = self._draw(model, params) if span is None else self._uniform(span)
        factor = _SLOW_FACTOR if "[slow]" in prompt else 1
        return seconds * factor / self.speed

    def _draw(self, model: str, params: Mapping[str, Any]) -> float:
        if params.get("layer_decomposition") is True:
            return self._uniform(_LAYERS)
        if model in _SPANS:
            return self._uniform(_SPANS[model])
        if model == "gpt-image-2-all":
            p50 = _ALL_BY_QUALITY.get(str(params.get("quality")), 75)
            return self._lognormal(p50, p50 * 1.3)
        return self._lognormal(*_QUANTILES.get(model, _COMMON))

    def _uniform(self, span: Span) -> float:
        return self._rng.uniform(*span) if isinstance(span, tuple) else span

    def _lognormal(self, p50: float, p90: float) -> float:
        """Draw from the log-normal distribution with these two quantiles."""
        draw: Callable[[float, float], float] = self._rng.lognormvariate
        return draw(math.log(p50), math.log(p90 / p50) / _Z90)


def _checked(given: object) -> dict[str, Span]:
    if not isinstance(given, Mapping | None):
        msg = f"service_times must be a mapping of model ids to seconds, got {given!r}"
        raise ValueError(msg)  # noqa: TRY004  as for all else that is refused here
    spans: dict[str, Span] = dict(given or {})
    for model, span in spans.items():
        if not _is_span(span):
            msg = (
                f"service_times[{model!r}] must be seconds, 0 or more, or a pair "
                f"(from, to) of them, got {span!r}"
            )
            raise ValueError(msg)
    return spans


def _is_span(value: object) -> bool:
    match value:
        case low, high if isinstance(value, tuple):
            return _is_time(low) and _is_time(high)
        case _:
            return _is_time(value)


def _is_time(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return value >= 0
