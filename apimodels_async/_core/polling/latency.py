"""
How long tasks take, learned, so that nobody asks before any of them can be done.

Rules of this file:
1. What is learned only ever delays the first poll of a task. With little to go by, or
   as soon as it proves wrong, the fixed interval is back.
2. Durations are the server's own (created to completed): no clock of ours is in them.

Theory of operation:
1. Each group (model and size) keeps a cohort of its last 400 tasks in the order they
   were made. Joining and leaving it does not depend on how long a task takes; the last
   400 to *end* would be the fast ones of a burst while it runs, and the slow ones
   after it.
2. Tasks that still run count as censored: the Kaplan-Meier estimate uses that they
   took at least so long.
3. The first poll comes at the 10 % quantile, or sooner: those already done by then may
   on average not wait longer than half an interval, which is what the fixed policy
   makes them wait.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

COHORT: Final = 400
SAMPLES_MIN: Final = 20
"""Ended tasks of a group before anything is believed."""
QUANTILE: Final = 0.10
FRESH_S: Final = 1.0
"""Seconds an estimate is used before it is made again; 400 samples take 0.2 ms."""
GAP_S: Final = 2.0
"""Seconds between two questions about one task, its creation included."""
SURPRISES_MAX: Final = 3
"""First polls in a row that come too late; by chance, one time in a thousand."""
SAVED: Final = 20
"""Quantiles that stand for a group: 2.5 %, 7.5 %, ... 97.5 %."""


@define(eq=False, repr=False)
class Sample:
    """One task of a cohort."""

    group: str
    made_at: float
    duration: float | None = None
    """Seconds; None while it runs."""
    polled: bool = False


@define(eq=False, repr=False)
class _Group:
    samples: deque[Sample] = field(factory=deque)
    running: int = 0
    surprises: int = 0
    first: float | None = None
    """Seconds from creation to the first poll; None: not known."""
    estimated_at: float | None = None


@define(eq=False, repr=False)
class Latency:
    """What is known of all groups. Times are monotonic seconds."""

    _interval: float
    _groups: dict[str, _Group] = field(init=False, factory=dict)

    def join(self, group: str, now: float) -> Sample | None:
        """Take a new task into the cohort of *group*; None if it is left out."""
        cohort = self._groups.setdefault(group, _Group())
        samples = cohort.samples
        if len(samples) == COHORT:
            oldest = samples[0]
            # A burst of running tasks must not push out all that is known.
            if oldest.duration is not None and cohort.running >= COHORT // 2:
                return None
            samples.popleft()
            cohort.running -= oldest.duration is None
        sample = Sample(group, now)
        samples.append(sample)
        cohort.running += 1
        return sample

    def polled(self, sample: Sample) -> None:
        """Note that a task was found running by a poll."""
        if not sample.polled:
            sample.polled = True
            self._groups[sample.group].surprises = 0

    def ended(self, sample: Sample, duration: float | None, age: float) -> None:
        """Note the end of a task: *duration* by the server, *age* when we saw it."""
        cohort = self._groups[sample.group]
        if not any(sample is each for each in cohort.samples):
            return  # it ran for longer than the cohort remembers
        cohort.running -= 1
        if duration is None:
            cohort.samples.remove(sample)
            return
        sample.duration = duration
        late = not sample.polled and age - duration > self._interval
        cohort.surprises = cohort.surprises + 1 if late else 0
        if cohort.surprises >= SURPRISES_MAX:  # they have become faster: begin anew
            self._groups[sample.group] = _Group()

    def first_poll(self, group: str, now: float) -> float | None:
        """Return the seconds after creation before which a poll is not worth while."""
        cohort = self._groups.get(group)
        if cohort is None:
            return None
        if cohort.estimated_at is None or now >= cohort.estimated_at + FRESH_S:
            cohort.estimated_at = now
            cohort.first = _first_poll(_curve(cohort.samples, now), self._interval)
        return cohort.first

    def save(self, now: float) -> dict[str, list[float]]:
        """Return 20 quantiles for each group that has enough samples, in seconds."""
        saved: dict[str, list[float]] = {}
        for name, cohort in self._groups.items():
            curve = _curve(cohort.samples, now)
            if curve:
                wanted = [(each + 0.5) / SAVED for each in range(SAVED)]
                saved[name] = [_quantile(curve, share) for share in wanted]
        return saved

    def load(self, saved: Mapping[str, Sequence[float]]) -> None:
        """Begin with what ``save`` returned."""
        for name, durations in saved.items():
            # The oldest of their cohort: what is seen from now on replaces them.
            samples = (Sample(name, 0.0, each) for each in durations[:COHORT])
            self._groups[name] = _Group(deque(samples))


def _curve(samples: Iterable[Sample], now: float) -> list[tuple[float, float]]:
    """
    Return (seconds, share that has ended by then), Kaplan-Meier; empty if unknown.
    """
    ages = sorted(
        (now - each.made_at, 1) if each.duration is None else (each.duration, 0)
        for each in samples
    )
    if sum(runs == 0 for _, runs in ages) < SAMPLES_MIN:
        return []
    left, curve = 1.0, list[tuple[float, float]]()
    for index, (age, runs) in enumerate(ages):
        if not runs:
            left *= 1.0 - 1.0 / (len(ages) - index)
            curve.append((age, 1.0 - left))
    return curve


def _first_poll(curve: Sequence[tuple[float, float]], interval: float) -> float | None:
    first, waited, before = None, 0.0, (0.0, 0.0)
    for age, share in curve:
        waited += before[1] * (age - before[0])  # of all those that have ended
        before = age, share
        if share > QUANTILE + 1e-9:
            break
        if waited <= share * interval / 2:
            first = age
    return None if first is None else max(first, min(GAP_S, interval))


def _quantile(curve: Sequence[tuple[float, float]], share: float) -> float:
    # Beyond what was seen to end, the last one seen: a lower bound.
    return next((age for age, ended in curve if ended >= share), curve[-1][0])
