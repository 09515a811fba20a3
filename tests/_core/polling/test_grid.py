"""When it is whose turn: due times on a grid, handed out at a bounded rate."""

from __future__ import annotations

import math

import pytest

from apimodels_async._core.polling.entry import Entry
from apimodels_async._core.polling.grid import TICK_S, Grid
from apimodels_async.models import ImageResult

DONE = ImageResult(urls=("https://a/b.png",))


def filled(count, at=100.0, *, interval=2.5, at_once=64, max_rate=None):
    """Return a grid with *count* entries due *at* that time."""
    grid = Grid(interval, at_once, max_rate)
    entries = [Entry(f"t{number}") for number in range(count)]
    for entry in entries:
        grid.put(entry, at)
    return grid, entries


def drained(grid, pending, until):
    """Take all that is due by *until* as it comes; return times and entries."""
    turns = []
    while grid.next_due() <= until:
        now = grid.next_due()
        turns.append((now, grid.take(now, pending)))
    return turns


def test_an_empty_grid_is_never_due():
    """Without entries there is no next time and nothing to take."""
    grid = Grid(2.5, 64, None)

    assert grid.next_due() == math.inf
    assert grid.take(1e9, 0) == []


def test_a_herd_is_spread_over_ticks():
    """Tasks due at one instant go in their order, so many a tick, none left over."""
    grid, entries = filled(200)

    turns = drained(grid, 200, 110.0)

    assert [len(taken) for _, taken in turns] == [64, 64, 64, 8]
    assert [entry for _, taken in turns for entry in taken] == entries
    times = [now for now, _ in turns]
    assert times == pytest.approx([100 + TICK_S * turn for turn in range(4)])


def test_a_place_in_the_herd_is_no_lateness():
    """An entry that goes some ticks later is due then, not at the herd's time."""
    grid, _ = filled(200)

    for now, taken in drained(grid, 200, 110.0):
        assert all(now - TICK_S <= entry.due_at <= now + TICK_S for entry in taken)


def test_a_stall_makes_no_burst():
    """After ten seconds without a turn, a tick's worth goes at once, and late."""
    grid, entries = filled(64)
    grid.take(90.0, 64)
    for number in range(640):
        late = Entry(f"u{number}")
        entries.append(late)
        grid.put(late, 100.0 + number * 0.015)

    first = grid.take(110.0, 704)

    assert len(first) <= 65
    assert all(110.0 - entry.due_at > 9.0 for entry in first)
    turns = drained(grid, 704, 120.0)
    assert max(len(taken) for _, taken in turns) <= 65
    assert sum(len(taken) for _, taken in turns) == 704 - len(first)


def test_thousands_are_handed_out_within_their_interval():
    """10,000 pending tasks all get their turn within one interval."""
    grid, _ = filled(10_000)

    turns = drained(grid, 10_000, 200.0)

    assert sum(len(taken) for _, taken in turns) == 10_000
    assert turns[-1][0] - turns[0][0] <= 2.5


@pytest.mark.parametrize("rate", [0.4, 7.0, 30.0, 500.0])
def test_a_rate_is_never_passed(rate):
    """Never more have gone than the rate allows, but for a tick's worth ahead."""
    grid, entries = filled(1000, max_rate=rate)

    turns = drained(grid, 1000, 100.0 + 200 / rate)

    gone = 0
    for now, taken in turns:
        gone += len(taken)
        assert gone <= 1 + rate * TICK_S + (now - 100.0) * rate
    assert gone == pytest.approx(200, abs=2 + rate * TICK_S)
    assert [entry for _, taken in turns for entry in taken] == entries[:gone]


def test_a_rate_stretches_the_wait():
    """With more tasks than the rate can serve, each waits for its turn."""
    grid = Grid(2.5, 64, 100.0)

    assert grid.wait(10) == 2.5
    assert grid.wait(250) == 2.5
    assert grid.wait(100_000) == 1000.0
    assert Grid(2.5, 64, None).wait(100_000) == 2.5


def test_what_settled_in_the_backlog_has_no_turn():
    """An entry that has an outcome by its turn is left out and costs none."""
    grid, entries = filled(130)
    grid.take(100.0, 130)
    for entry in entries[64:128]:
        entry.outcome = DONE

    assert grid.take(100.0 + TICK_S, 66) == entries[128:]
    assert grid.next_due() == math.inf
