"""What a session counts."""

from __future__ import annotations

from decimal import Decimal

from apimodels_async import GenerationFailedError, ImageResult, TaskTimeoutError
from apimodels_async._core.counters import Counters

PICTURE = ImageResult(urls=("https://a.b/c.png",), credits=Decimal("0.03"))
FREE = ImageResult(urls=("https://a.b/c.png",))


def stats_of(counters):
    """Return the counts of a session with nothing under way."""
    return counters.stats(pending=0, under_way=0, connections=0)


def test_a_new_session_has_counted_nothing():
    """Every figure begins at zero."""
    stats = stats_of(Counters())
    counted = (stats.unknown, stats.poll_errors, stats.callbacks, stats.polls)

    assert counted == (0, 0, 0, 0)
    assert (stats.submitted, stats.completed, stats.failed, stats.spent) == (0, 0, 0, 0)


def test_lateness_is_told_as_mean_and_maximum():
    """A session that never polled was never late."""
    counters = Counters()
    assert stats_of(counters).lateness_s == 0

    for late_s in (0.25, 1.75):
        counters.polled(late_s)
    stats = stats_of(counters)
    assert (stats.polls, stats.lateness_s, stats.lateness_max_s) == (2, 1.0, 1.75)


def test_money_is_counted_once_it_is_known():
    """A picture costs as it is answered, a task as it ends, what failed nothing."""
    counters = Counters()
    for product in (PICTURE, FREE, "clx1", "clx2", "clx3"):
        counters.accepted(product)
    assert counters.spent == Decimal("0.03")

    ends = (PICTURE, GenerationFailedError("no"), TaskTimeoutError("?"), None)
    for number, outcome in enumerate(ends * 2):  # attached again, they end again
        counters.ended(f"clx{number % len(ends)}", outcome)
    stats = stats_of(counters)
    assert (stats.submitted, stats.completed, stats.failed) == (5, 1, 1)
    assert stats.spent == Decimal("0.06")


def test_every_end_adds_up():
    """Two tasks that end alike are two, and one that cost nothing costs nothing."""
    counters = Counters()
    ends = (PICTURE, FREE, GenerationFailedError("no"), GenerationFailedError("no"))
    for number, outcome in enumerate(ends):
        counters.ended(f"clx{number}", outcome)

    stats = stats_of(counters)
    assert (stats.completed, stats.failed) == (2, 2)
    assert stats.spent == Decimal("0.03")


def test_every_number_is_told_under_its_name():
    """What was counted, and what is true only now, arrive as they are."""
    counters = Counters()
    counters.submitted, counters.completed, counters.failed = 1, 2, 3
    counters.unknown, counters.poll_errors, counters.callbacks = 4, 5, 6
    counters.polled(0.5)
    stats = counters.stats(pending=7, under_way=8, connections=9)

    assert (stats.submitted, stats.completed, stats.failed) == (1, 2, 3)
    assert (stats.unknown, stats.poll_errors, stats.callbacks) == (4, 5, 6)
    assert (stats.pending, stats.under_way, stats.connections) == (7, 8, 9)
    assert (stats.polls, stats.lateness_s, stats.lateness_max_s) == (1, 0.5, 0.5)
