"""Service times."""

import math

import pytest

from apimodels_async.emulator.service.durations import Durations
from apimodels_async.emulator.service.values import seeded

# Model and parameters -> bounds of the median, seconds.
MEDIANS = [
    ("sparkpix-image", {}, 0.3, 0.9),
    ("gpt-image-2", {}, 43, 53),
    ("qwen3-image-pro", {}, 105, 140),
    ("gpt-image-2-all", {"quality": "low"}, 37, 43),
    ("gpt-image-2-all", {}, 70, 80),
    ("doubao-seedream-5-0-flash", {"layer_decomposition": True}, 58, 83),
]


def durations(speed=1.0, **given):
    """Return service times with the given settings."""
    return Durations(seeded(0, "durations"), speed, given)


def test_speed_divides_service_times():
    """Twice the speed halves a service time; no speed is refused."""
    assert durations(x=8.0).draw("x", "", {}) == 8.0
    assert durations(2, x=8.0).draw("x", "", {}) == 4.0
    for wrong in (0, -1, math.nan, "x", None, True):
        with pytest.raises(ValueError, match="speed must be a number above 0, got"):
            durations(wrong)


@pytest.mark.parametrize(
    "wrong",
    [-5, "x", None, True, math.nan, (1,), (1, 2, 3), (-1, 2), ("a", "b"), [1, 2]],
)
def test_what_is_no_service_time_is_refused(wrong):
    """A wrong time is an error of the set-up, and names its model."""
    with pytest.raises(ValueError, match=r"service_times\['x'\] must be seconds"):
        durations(x=wrong)


def test_service_times_are_a_mapping():
    """A number for all models is given under a star."""
    with pytest.raises(ValueError, match="must be a mapping of model ids"):
        Durations(seeded(0, "durations"), 1, 5)


def test_a_slow_prompt_takes_ten_times_as_long():
    """A prompt with [slow] takes ten service times."""
    assert durations(x=8.0).draw("x", "a [slow] moose", {}) == 80.0


def test_default_service_times():
    """The median service time of a model is what the vendor tells."""
    default, failures = durations(), {}
    for model, params, low, high in MEDIANS:
        median = sorted(default.draw(model, "", params) for _ in range(999))[499]
        if not low <= median <= high:
            failures[model] = median

    assert failures == {}


def test_service_times_can_be_spans():
    """A pair of seconds is drawn evenly between the two."""
    default = Durations(seeded(0, "durations"), 1, {"*": (1, 2)})

    assert all(1 <= default.draw("x", "", {}) <= 2 for _ in range(100))
