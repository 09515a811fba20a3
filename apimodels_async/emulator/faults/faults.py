"""Faults to inject: what goes wrong, where, how often."""

import random
from collections.abc import Mapping
from typing import Any, Self

from attrs import define, field

from apimodels_async.emulator.faults.kinds import (
    GROUPS,
    KINDS,
    TASK_KINDS,
    WHERES,
    covered_by,
    options_of,
    wheres_of,
)


@define(eq=False)
class Fault:
    """
    One fault to inject, and how often it was.

    With `after`, the request takes effect first (task created, picture made and
    charged) and only then its answer is replaced or cut.
    """

    where: str
    """Place, or group of places."""

    kind: str
    """What goes wrong."""

    times: int | None = 1
    """How often; None means for ever."""

    probability: float = 1.0
    """Of each request that it fits, 0 to 1."""

    match: str | None = None
    """Hits only when this is part of the prompt, the task id or a file's path."""

    after: bool = False
    """Whether the request takes effect before its answer is lost."""

    options: dict[str, Any] = field(factory=dict)
    """What the kind takes."""

    hits: int = 0
    """How often it has hit."""

    def __attrs_post_init__(self) -> None:
        _check_choice("where", self.where, WHERES | GROUPS.keys())
        _check_choice("kind", self.kind, KINDS)
        places = wheres_of(self.kind)
        if not covered_by(self.where) & places:
            choice = ", ".join(sorted(places))
            msg = f"{self.kind!r} does not apply to {self.where!r}; allowed: {choice}"
            raise ValueError(msg)
        _check_options(self.kind, self.options)
        if type(self.probability) not in {int, float} or not 0 <= self.probability <= 1:
            msg = f"probability must be between 0 and 1, got {self.probability!r}"
            raise ValueError(msg)
        if self.times is not None and (type(self.times) is not int or self.times < 1):
            msg = f"times must be a whole number from 1, or None, got {self.times!r}"
            raise ValueError(msg)
        if self.match is not None and type(self.match) is not str:
            msg = f"match must be a string or None, got {self.match!r}"
            raise ValueError(msg)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``where:kind[:probability]``; such a fault stays for ever."""
        where, _, rest = text.partition(":")
        kind, _, chance = rest.partition(":")
        try:
            probability = float(chance or 1)
        except ValueError as error:
            msg = f"expected where:kind[:probability], got {text!r}"
            raise ValueError(msg) from error
        return cls(where, kind, times=None, probability=probability)

    @property
    def spent(self) -> bool:
        """Whether it has hit as often as it should."""
        return self.times is not None and self.hits >= self.times

    @property
    def changes_task(self) -> bool:
        """Whether it changes the task or what is said of it, not the HTTP answer."""
        return self.kind in TASK_KINDS

    def applies(self, where: str, subject: str) -> bool:
        """Return whether a request at *where* about *subject* may be hit."""
        if self.spent or where not in covered_by(self.where):
            return False
        if where not in wheres_of(self.kind):
            return False
        return self.match is None or self.match in subject


class Faults:
    """The active faults, oldest first; at most one hits a request."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._faults: list[Fault] = []

    def __len__(self) -> int:
        return len(self._faults)

    def add(self, fault: Fault) -> Fault:
        """Add *fault*."""
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    def hit(self, where: str, subject: str) -> Fault | None:
        """Return the fault that hits this request, and count the hit."""
        for fault in self._faults:
            if fault.applies(where, subject) and self._is_drawn(fault):
                fault.hits += 1
                if fault.spent:
                    self._faults.remove(fault)
                return fault
        return None

    def _is_drawn(self, fault: Fault) -> bool:
        return fault.probability >= 1 or self._rng.random() < fault.probability


def _check_choice(name: str, given: str, allowed: frozenset[str]) -> None:
    if given not in allowed:
        msg = f"unknown {name} {given!r}; allowed: {', '.join(sorted(allowed))}"
        raise ValueError(msg)


def _check_options(kind: str, options: Mapping[str, Any]) -> None:
    known = options_of(kind)
    if unknown := sorted(set(options) - set(known)):
        choice = ", ".join(sorted(known)) or "none"
        msg = f"{kind!r} has no option {unknown}; allowed: {choice}"
        raise ValueError(msg)
    for name, value in options.items():
        if not known[name](value):
            msg = f"option {name} of {kind!r} cannot be {value!r}"
            raise ValueError(msg)
