"""How long tasks take, learned: the first poll of a task, and when not to trust it."""

from __future__ import annotations

import json
import random

import pytest

from apimodels_async._core.polling.latency import COHORT, SAVED, Latency

INTERVAL = 2.5


def taught(durations, *, latency=None, group="m", start=1000.0, spacing=10.0):
    """Return what has seen tasks of these durations in a row, and the time."""
    latency = latency or Latency(INTERVAL)
    now = start
    for duration in durations:
        sample = latency.join(group, now)
        if sample is not None:
            latency.polled(sample)
            latency.ended(sample, duration, duration)
        now += spacing
    return latency, now


def uniform(count, low=4.0, high=20.0, seed=1):
    """Return *count* durations."""
    draw = random.Random(seed)  # noqa: S311  the same each time
    return [draw.uniform(low, high) for _ in range(count)]


def test_nothing_is_known_at_first():
    """Without enough ended tasks there is no learned first poll."""
    latency, now = taught(uniform(19))

    assert latency.first_poll("m", now) is None
    assert Latency(INTERVAL).first_poll("m", 0.0) is None
    assert latency.save(now) == {}


def test_the_first_poll_comes_when_a_tenth_has_ended():
    """It is at about the 10 % quantile of what was seen."""
    latency, now = taught(uniform(400))

    assert latency.first_poll("m", now) == pytest.approx(5.6, abs=0.5)


def test_groups_are_apart():
    """A slow model does not delay the polls of a fast one."""
    latency, now = taught(uniform(100))
    latency, now = taught(uniform(100, 40, 60), latency=latency, group="slow")

    assert latency.first_poll("m", now) < 7
    assert latency.first_poll("slow", now) > 40
    assert latency.first_poll("other", now) is None


def test_it_is_not_sooner_than_two_seconds():
    """Tasks that end at once are still asked for two seconds after their creation."""
    latency, now = taught([0.3] * 50)

    assert latency.first_poll("m", now) == 2.0


def test_a_faster_interval_lowers_the_bound():
    """An unchecked policy may ask sooner than that."""
    latency = Latency(0.1)
    latency, now = taught([0.01] * 50, latency=latency)

    assert latency.first_poll("m", now) == 0.1


def test_running_tasks_count():
    """What still runs is known to take longer: the fast ones are not all there are."""
    latency = Latency(INTERVAL)
    samples = [latency.join("m", 0.0) for _ in range(200)]
    for number, sample in enumerate(samples[:30]):
        latency.polled(sample)
        latency.ended(sample, 4.0 + number / 10, 5.0)

    # 30 of 200 ended within 7 s: a tenth of all of them by 5.9 s, not by 4.3 s.
    assert latency.first_poll("m", 7.0) == pytest.approx(5.9, abs=0.15)


def test_the_few_that_end_early_do_not_wait_for_the_many():
    """Where a twentieth ends early and the rest late, the early ones are asked for."""
    latency, now = taught([3.0] * 5 + [60.0] * 95)

    assert latency.first_poll("m", now) == 3.0


def test_those_that_have_ended_wait_half_an_interval_on_average():
    """A few that end a little later do not delay the question about the first."""
    latency, now = taught([3.0] * 5 + [8.0] * 4 + [60.0] * 91)

    assert latency.first_poll("m", now) == 3.0


def test_a_burst_does_not_push_out_what_is_known():
    """10,000 tasks made at once leave the estimate as it was."""
    latency, now = taught(uniform(COHORT))
    before = latency.first_poll("m", now)

    joined = [latency.join("m", now) for _ in range(10_000)]

    assert latency.first_poll("m", now + 2) == pytest.approx(before, abs=0.6)
    assert sum(sample is not None for sample in joined) == COHORT // 2


def test_the_oldest_go_first_even_if_they_run_for_ever():
    """A cohort of tasks that never end makes room for new ones, and forgets the old."""
    latency = Latency(INTERVAL)
    stuck = [latency.join("m", 0.0) for _ in range(COHORT)]

    latency, now = taught(uniform(COHORT), latency=latency)
    latency.ended(stuck[0], 9000.0, 9000.0)
    latency.ended(stuck[1], None, 9000.0)
    assert latency.join("m", now) is not None

    assert latency.first_poll("m", now) == pytest.approx(5.6, abs=0.6)


def test_a_task_without_a_duration_teaches_nothing():
    """A failed task, or one without dates, leaves the cohort."""
    latency, now = taught(uniform(30))
    latency, now = taught([None] * 300, latency=latency, start=now)

    assert len(latency.save(now)["m"]) == SAVED
    assert latency.first_poll("m", now) > 4


def test_what_has_become_faster_is_learned_anew():
    """Three first polls in a row that come far too late put the interval back."""
    latency, now = taught(uniform(100, 30, 40))
    assert latency.first_poll("m", now) > 25

    for _ in range(3):
        sample = latency.join("m", now)
        latency.ended(sample, 4.0, 30.0)

    assert latency.first_poll("m", now) is None
    assert latency.join("m", now) is not None


def test_an_end_that_is_seen_late_is_no_surprise_after_a_first_poll():
    """Only a first poll can come too late; what is asked again was in time."""
    latency, now = taught(uniform(100, 30, 40))
    samples = [latency.join("m", now) for _ in range(3)]
    for sample in samples:
        latency.polled(sample)
    for sample in samples:
        latency.ended(sample, 32.0, 60.0)

    assert latency.first_poll("m", now) is not None


def test_a_late_poll_now_and_then_is_expected():
    """One task in ten has ended before its first poll; that changes nothing."""
    latency, now = taught(uniform(100, 30, 40))
    for duration in (10.0, 10.0, None, 10.0, 10.0):
        sample = latency.join("m", now)
        if duration is None:
            latency.polled(sample)
            latency.ended(sample, 35.0, 36.0)
        else:
            latency.ended(sample, duration, 31.0)

    assert latency.first_poll("m", now) is not None


def test_a_task_that_is_found_running_restores_the_trust():
    """Two late first polls and one in time are not three in a row."""
    latency, now = taught(uniform(100, 30, 40))
    late = [latency.join("m", now) for _ in range(4)]
    for sample in late[:2]:
        latency.ended(sample, 10.0, 31.0)
    latency.polled(latency.join("m", now))
    for sample in late[2:]:
        latency.ended(sample, 10.0, 31.0)

    assert latency.first_poll("m", now) is not None


def test_an_estimate_is_used_for_a_second():
    """It is not made again for every task of a burst."""
    latency, now = taught(uniform(100))
    before = latency.first_poll("m", now)
    latency, _ = taught([2.0] * 100, latency=latency, start=now, spacing=0.0)

    assert latency.first_poll("m", now + 0.5) == before
    assert latency.first_poll("m", now + 1.0) < before


def test_it_can_be_saved_and_loaded():
    """Through JSON, a new session begins with the same first poll."""
    latency, now = taught(uniform(400))
    saved = json.loads(json.dumps(latency.save(now)))

    again = Latency(INTERVAL)
    again.load(saved)

    assert again.first_poll("m", 0.0) == pytest.approx(
        latency.first_poll("m", now), abs=0.7
    )
    assert saved["m"] == sorted(saved["m"])


def test_the_middles_of_twentieths_are_saved():
    """Of a hundred tasks each a second longer, those of 3, 8, 13, ... 98 seconds."""
    latency, now = taught([float(seconds) for seconds in range(1, 101)])

    assert latency.save(now)["m"] == [float(each) for each in range(3, 100, 5)]


def test_what_is_saved_does_not_reach_beyond_what_was_seen():
    """Where most still run, the upper quantiles are the longest seen to end."""
    latency = Latency(INTERVAL)
    samples = [latency.join("m", 0.0) for _ in range(100)]
    for number, sample in enumerate(samples[:25], 1):
        latency.polled(sample)
        latency.ended(sample, float(number), 30.0)

    last = [25.0] * (SAVED - 5)
    assert latency.save(30.0) == {"m": [3.0, 8.0, 13.0, 18.0, 23.0, *last]}
