"""
A word about one poll is no word about the key, about money, or about other tasks.
"""

from __future__ import annotations

import pytest

from apimodels_async._core.polling.entry import Entry
from apimodels_async._core.polling.ledger import Ledger
from apimodels_async.errors import (
    AuthenticationError,
    GenerationFailedError,
    NotFoundError,
    PermissionDeniedError,
    TaskNotFoundError,
)
from apimodels_async.models import TaskSnapshot, TaskState

REFUSED = AuthenticationError("no", status=401, code=401)
GATEWAY = AuthenticationError("no", status=401)
RUNNING = TaskState.PROCESSING


@pytest.fixture
def ledger():
    """Return a ledger with three tasks, at second 100."""
    ledger = Ledger(2.5)
    for number in range(3):
        ledger.watch(Entry(f"clx{number}"), 100.0)
    return ledger


def hear(ledger, task_id, answer, now):
    """Let a poll of *task_id* be answered, and return what that settles."""
    entry = ledger.get(task_id)
    entry.started_at = now
    return ledger.apply(entry, answer, now)


def test_three_refusals_end_all_waits_and_say_nothing_about_money(ledger):
    """Every waiter has its own error with its id, all ids, and charged=None."""
    for task_id, now in (("clx0", 103), ("clx1", 104)):
        assert hear(ledger, task_id, REFUSED, now) == []
    settled = hear(
        ledger, "clx2", PermissionDeniedError("no", status=403, code=403), 106
    )
    outcomes = [entry.outcome for entry in settled]
    assert [each.task_id for each in outcomes] == ["clx0", "clx1", "clx2"]
    assert {each.charged for each in outcomes} == {None}
    assert {each.task_ids for each in outcomes} == {("clx0", "clx1", "clx2")}
    assert {type(each) for each in outcomes} == {PermissionDeniedError}
    assert "attach them by id with a key that works" in str(outcomes[0])
    assert REFUSED.charged is False


def test_a_finished_task_taken_up_again_is_asked_for_at_once(ledger):
    """Only a wait that ended before the task did has a pace to keep."""
    failed = GenerationFailedError("no", task_id="clx0")
    answer = TaskSnapshot("clx0", TaskState.FAILED, error=failed)
    (ended,) = hear(ledger, "clx0", answer, 103.0)
    assert ended.outcome is failed

    again = Entry("clx0", attached=True)
    ledger.watch(again, 103.1)
    assert again.due_at == pytest.approx(103.1, abs=0.06)


def test_a_moments_refusals_touch_no_task(ledger):
    """However many at once: an interval must pass between the first and the last."""
    for now in (103.0, 103.1, 104.0, 105.4):
        for task_id in ("clx0", "clx1", "clx2"):
            assert hear(ledger, task_id, REFUSED, now) == []
    assert len(ledger) == 3


def test_a_good_answer_starts_anew(ledger):
    """Whichever task it is about."""
    for now in (103, 106, 109, 112):
        assert hear(ledger, "clx0", REFUSED, now) == []
        assert hear(ledger, "clx0", REFUSED, now + 1) == []
        assert hear(ledger, "clx1", TaskSnapshot("clx1", RUNNING), now + 2) == []
    assert len(ledger) == 3


def test_a_gateways_page_is_no_word_of_the_apis(ledger):
    """401, 403 and 404 without the envelope end nothing, ever."""
    page = PermissionDeniedError("html", status=403)
    ledger.watch(Entry("clx9", attached=True), 100.0)
    for now in range(103, 160):
        for answer in (GATEWAY, page, NotFoundError("html", status=404)):
            assert hear(ledger, "clx9", answer, now) == []
    for now in (161, 164):
        assert (
            hear(ledger, "clx9", NotFoundError("no", status=404, code=404), now) == []
        )
    (gone,) = hear(ledger, "clx9", NotFoundError("no", status=404, code=404), 167)
    assert isinstance(gone.outcome, TaskNotFoundError)


def test_each_refusal_of_the_key_is_counted_anew(ledger):
    """An interval from first to third is enough, and tasks made after it start at 0."""
    for now in (103.0, 104.0, 105.5):
        ended = hear(ledger, "clx0", REFUSED, now)
    assert len(ended) == 3

    ledger.watch(Entry("new"), 200.0)
    assert hear(ledger, "new", REFUSED, 203.0) == []
    assert hear(ledger, "new", REFUSED, 206.0) == []
    (entry,) = hear(ledger, "new", REFUSED, 209.0)
    assert entry.task_id == "new"


def test_a_task_taken_up_again_keeps_its_pace(ledger):
    """Attached just after its wait ended, it is due an interval after its last poll."""
    ledger.get("clx1").started_at = 105.0
    for now in (103, 104, 106):
        hear(ledger, "clx0", REFUSED, now)
    assert len(ledger) == 0
    other = Entry("clx1", attached=True)
    ledger.watch(other, 107.0)
    assert other.due_at == pytest.approx(107.5, abs=0.06)
    ledger.drop(other, 107.0)
    again = Entry("clx0", attached=True)
    ledger.watch(again, 107.0)
    assert again.due_at == pytest.approx(108.5, abs=0.06)
    ledger.drop(again, 107.0)
    later = Entry("clx0", attached=True)
    ledger.watch(later, 200.0)
    assert later.due_at == pytest.approx(200.0, abs=0.06)


def test_what_was_taken_up_is_no_new_orders(ledger):
    """An id is known while it is tracked, once it was bought, and once attached."""
    ledger.claimed.add("bought")
    entry = Entry("attached", attached=True)
    ledger.watch(entry, 100.0)
    failed = GenerationFailedError("no", task_id="attached")
    hear(
        ledger,
        "attached",
        TaskSnapshot("attached", TaskState.FAILED, error=failed),
        101,
    )
    assert [ledger.knows(i) for i in ("clx0", "bought", "attached", "new")] == [
        *[True] * 3,
        False,
    ]


def test_a_mere_look_is_nobodys_task(ledger):
    """It is not told of as pending, can be given up, and is kept once it is wanted."""
    looks = [Entry(f"look{n}", attached=True, glance=True) for n in range(3)]
    for entry in looks:
        ledger.watch(entry, 100.0)
    ledger.keep(looks[1])
    assert list(ledger) == ["clx0", "clx1", "clx2", "look1"]
    assert [ledger.drop(entry, 101.0) for entry in looks] == [
        [looks[0]],
        [],
        [looks[2]],
    ]
    assert ledger.drop(looks[0], 102.0) == []
    assert not ledger.knows("look0")
    assert looks[1] in ledger.due(101.0)
    assert isinstance(looks[0].outcome, TaskNotFoundError)
    assert looks[0].outcome.task_id == "look0"
    assert looks[0].outcome.message == "nobody waits for task look0"


def test_a_look_that_was_wanted_is_no_new_orders(ledger):
    """An id that somebody waited for stays known once its task has ended."""
    look = Entry("look", attached=True, glance=True)
    ledger.watch(look, 100.0)
    ledger.keep(look)
    failed = GenerationFailedError("no", task_id="look")
    hear(ledger, "look", TaskSnapshot("look", TaskState.FAILED, error=failed), 101)

    assert ledger.get("look") is None
    assert ledger.knows("look")
