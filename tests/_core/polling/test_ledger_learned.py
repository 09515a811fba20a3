"""The ledger with a learned latency, a bounded rate, or a short interval."""

from __future__ import annotations

import random

import pytest

from apimodels_async._core.polling.callback_trust import CallbackTrust
from apimodels_async._core.polling.entry import Entry
from apimodels_async._core.polling.latency import Latency
from apimodels_async._core.polling.ledger import Ledger
from apimodels_async.errors import ConnectionFailedError, GenerationFailedError
from apimodels_async.models import ImageResult, TaskSnapshot, TaskState

FIRST_S = 10.0
"""Learned: nothing is asked before."""


def running(task_id="clx1"):
    """Return the answer that a task has not ended."""
    return TaskSnapshot(task_id, TaskState.PROCESSING)


def completed(task_id, seconds):
    """Return the answer that a task took so long."""
    result = ImageResult(urls=("https://a.b/c.png",), duration_s=seconds)
    return TaskSnapshot(task_id, TaskState.COMPLETED, result=result)


def hear(ledger, entry, answer, now):
    """Let a poll of *entry* start and be answered *now*."""
    entry.started_at = now
    ledger.apply(entry, answer, now)


def learned(**settings):
    """Return a ledger that has seen fifty tasks of ten seconds end, at 1000 s."""
    ledger = Ledger(latency=Latency(2.5), **settings)
    for number in range(50):
        entry = Entry(f"old{number}", group="m")
        ledger.watch(entry, 900.0)
        hear(ledger, entry, running(), 905.0)
        hear(ledger, entry, completed(entry.task_id, FIRST_S), 911.0)
    return ledger


def test_what_ends_teaches_when_to_ask_first():
    """A new task is first due when one like it can be done, the next one too."""
    ledger = learned()
    for number, now in enumerate((1000.0, 1000.5, 1002.0)):
        entry = Entry(f"clx{number}", group="m")
        ledger.watch(entry, now)
        assert entry.due_at == pytest.approx(now + FIRST_S, abs=0.06)

    other = Entry("other", group="slow")
    ledger.watch(other, 1000.0)
    assert other.due_at == pytest.approx(1002.5, abs=0.06)


def test_a_look_ahead_of_its_time_does_not_bring_the_next_forward():
    """Asked early, for its callback came, a task is due at its first poll again."""
    ledger = learned(callback_trust=CallbackTrust(60.0))
    entry = Entry("clx1", group="m", expects_callback=True)
    ledger.watch(entry, 1000.0)
    ledger.hint(entry, 1003.0)
    assert entry in ledger.due(1003.1)
    hear(ledger, entry, running(), 1003.1)

    assert entry.due_at == pytest.approx(1000.0 + FIRST_S, abs=0.06)
    assert entry in ledger.due(1010.1)
    hear(ledger, entry, running(), 1010.1)
    assert entry.due_at == pytest.approx(1012.6, abs=0.06)


def test_first_polls_that_come_in_time_are_no_surprise():
    """Tasks that had just ended when first asked for leave what was learned."""
    ledger = learned()
    for number in range(3):
        entry = Entry(f"clx{number}", group="m")
        ledger.watch(entry, 1000.0)
        hear(ledger, entry, completed(entry.task_id, FIRST_S - 1), 1000.0 + FIRST_S)

    assert ledger.latency.first_poll("m", 1011.0) is not None


def test_an_answer_that_is_an_error_teaches_nothing():
    """What is known of a new task before its first poll is that it was taken."""
    ledger = learned()
    entry = Entry("clx1", group="m")
    ledger.watch(entry, 1000.0)
    assert entry.seen
    hear(ledger, entry, ConnectionFailedError("nobody"), 1000.0 + FIRST_S)

    assert not entry.sample.polled
    assert entry.due_at == pytest.approx(1012.5, abs=0.06)


def test_a_task_that_failed_teaches_nothing():
    """How long a failure takes says nothing about pictures."""
    ledger = learned()
    before = ledger.latency.save(1000.0)
    entry = Entry("clx1", group="m")
    ledger.watch(entry, 1000.0)
    error = GenerationFailedError("no", task_id="clx1")
    failed = TaskSnapshot("clx1", TaskState.FAILED, error=error)
    hear(ledger, entry, failed, 1000.0 + FIRST_S)

    assert entry.done
    assert ledger.latency.save(1011.0) == before


def test_callbacks_are_judged_by_the_end_of_a_task():
    """A task that still runs says nothing about the callback of its end."""
    trust = CallbackTrust(60.0, trusted=True)
    ledger = Ledger(callback_trust=trust)
    entry = Entry("clx1", expects_callback=True)
    ledger.watch(entry, 100.0)
    for number in range(9):
        hear(ledger, entry, running(), 160.0 + 60 * number)
    assert trust.trusted


def test_a_task_that_was_taken_up_teaches_nothing():
    """Nobody saw it begin; it is asked as often as any other, and ends like it."""
    ledger = learned()
    entry = Entry("clx1", group="m", attached=True)
    ledger.watch(entry, 1000.0)
    hear(ledger, entry, running(), 1000.0)
    assert entry.due_at == pytest.approx(1002.5, abs=0.06)
    hear(ledger, entry, completed("clx1", 60.0), 1002.5)
    assert entry.done


def test_a_task_that_is_running_has_taught_nothing_yet():
    """Only those that have ended say how long they take."""
    latency = Latency(2.5)
    ledger = Ledger(latency=latency)
    draw = random.Random(3)  # noqa: S311  the same each time
    for number in range(30):
        entry = Entry(f"clx{number}", group="m")
        ledger.watch(entry, 100.0)
        hear(ledger, entry, running(), 105.0 + draw.random())

    assert latency.first_poll("m", 200.0) is None


def test_a_bounded_rate_spreads_the_polls_of_many():
    """A hundred tasks at ten polls a second are asked every ten seconds each."""
    ledger = Ledger(max_rate=10.0)
    entries = [Entry(f"clx{number}") for number in range(100)]
    for entry in entries:
        ledger.watch(entry, 100.0)
    hear(ledger, entries[0], running("clx0"), 110.0)

    assert entries[0].due_at == pytest.approx(120.0, abs=0.06)


def test_a_callback_for_a_task_in_the_queue_does_not_ask_twice():
    """What is due, and waits for its turn, is handed out once, whatever is heard."""
    ledger = Ledger(max_rate=2.0)
    entries = [Entry(f"clx{number}") for number in range(6)]
    for entry in entries:
        ledger.watch(entry, 100.0)
    taken = ledger.due(102.5)
    for entry in entries:
        ledger.hint(entry, 102.5)
    for tick in range(100):
        taken += ledger.due(102.55 + tick / 20)

    assert taken == entries


def test_a_short_interval_holds_from_the_first_poll():
    """Taken up by id and polled at once, a task is due an interval later."""
    ledger = Ledger(0.5)
    entry = Entry("clx1", attached=True)
    ledger.watch(entry, 100.0)
    assert not entry.seen
    hear(ledger, entry, running(), 100.0)

    assert entry.seen
    assert entry.due_at == pytest.approx(100.5, abs=0.06)
