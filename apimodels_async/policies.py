"""
How a session polls, retries and waits: frozen values, all times in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import Attribute, field, frozen
from attrs.validators import optional

from apimodels_async._text import Value
from apimodels_async.errors import ConfigurationError

__all__ = ["PollPolicy", "RetryPolicy", "Timeouts"]

INTERVAL_RANGE: Final = (2.0, 3.0)
"""Seconds. Source: API page, "Poll every 2-3 seconds for status updates"."""
RETRY_AFTER_MAX_S: Final = 120.0
"""The longest Retry-After that is waited out (openai's client draws the same line)."""


def _positive(instance: object, attribute: Attribute[Any], value: Any) -> None:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
        or value <= 0
    ):
        name = f"{type(instance).__name__}.{attribute.name}"
        msg = f"{name} must be a positive, finite number, not {value!r}"
        raise ConfigurationError(msg)


def _whole(instance: object, attribute: Attribute[Any], value: Any) -> None:
    _positive(instance, attribute, value)
    if not isinstance(value, int):
        name = f"{type(instance).__name__}.{attribute.name}"
        msg = f"{name} must be a whole number, not {value!r}"
        raise ConfigurationError(msg)


def _check_durations(learned: object) -> None:
    try:
        fits = isinstance(learned, Mapping) and all(
            isinstance(group, str) and all(0 <= each < math.inf for each in durations)
            for group, durations in learned.items()
        )
    except TypeError:  # not a list, or not of numbers
        fits = False
    if not fits:
        msg = "PollPolicy.learned must be True, False, or what session.durations() gave"
        raise ConfigurationError(msg)


@frozen(eq=False, repr=False)
class PollPolicy(Value):
    """
    When pending tasks are polled, and for how long.

    Raises:
        ConfigurationError: *interval* is outside 2-3 seconds, which is what the API
            asks for. ``unchecked`` lifts that for tests and emulators.
    """

    interval: float = field(default=2.5, validator=_positive)
    """Seconds between two polls of one task."""
    deadline: float = field(default=1800.0, validator=_positive)
    """Seconds after which a task is no longer polled (``TaskTimeoutError``)."""
    learned: bool | Mapping[str, Sequence[float]] = field(default=False, hash=False)
    """Skip the polls before a model's fastest tasks can be done; ``True``, or what
    ``session.durations()`` returned in an earlier run."""
    max_rate: float | None = field(default=None, validator=optional(_positive))
    """Polls a second at most, over all tasks: with many pending, each is polled less
    often. None: as many as the interval asks for."""
    checked: bool = field(default=True, repr=False, eq=False, kw_only=True)
    """Whether *interval* has to be 2-3 seconds; see ``unchecked``."""

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.learned, bool):
            _check_durations(self.learned)
        low, high = INTERVAL_RANGE
        if self.checked and not low <= self.interval <= high:
            msg = (
                f"PollPolicy.interval must be {low:g} to {high:g} seconds, not "
                f"{self.interval!r}: the API asks for that. For an emulator use "
                "PollPolicy.unchecked(interval=...)."
            )
            raise ConfigurationError(msg)

    @classmethod
    def unchecked(
        cls,
        *,
        interval: float,
        deadline: float = 1800.0,
        learned: bool | Mapping[str, Sequence[float]] = False,
        max_rate: float | None = None,
    ) -> PollPolicy:
        """Return a policy with any positive *interval*, for tests and emulators."""
        return cls(interval, deadline, learned, max_rate, checked=False)


@frozen(eq=False, repr=False)
class RetryPolicy(Value):
    """
    How often and how fast a request is sent again.

    A paid request, or an upload, is sent again only if its headers never left this
    machine, or if the API refused it with 429. The pause after try n (1 is the first)
    is drawn uniformly from 0 to ``min(cap, base * 2**(n - 1))`` seconds ("full
    jitter").

    What else is free has fewer tries in an outage: 10 repeats in a burst for the whole
    session, then one a second and one for every ten requests. A 429 is not counted.
    """

    attempts: int = field(default=4, validator=_whole)
    """Tries in all, the first included. An order's tries that met a 429 are counted
    apart from those that could not be sent."""
    base: float = field(default=0.25, validator=_positive)
    """Seconds; the longest first pause."""
    cap: float = field(default=8.0, validator=_positive)
    """Seconds; the longest pause."""


@frozen(eq=False, repr=False)
class Timeouts(Value):
    """Bounds on every wait for the network, in seconds."""

    connect: float = field(default=5.0, validator=_positive)
    """Until a new connection is ready. The wait for a free one is not counted."""
    read: float = field(default=30.0, validator=_positive)
    """Silence on status calls, and on create calls known to answer with a task."""
    generate: float = field(default=150.0, validator=_positive)
    """Any call that may answer with the picture itself, in all."""
    download: float = field(default=300.0, validator=_positive)
    """A file, in all."""
    close: float = field(default=25.0, validator=_positive)
    """How long ``aclose()`` lets paid requests that are out finish."""
