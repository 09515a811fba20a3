"""Which tasks are pending, when each is due, and what an answer about it settles."""

from __future__ import annotations

import itertools
import math
from decimal import Decimal

import pytest
from support.cases import check_all

from apimodels_async._core.polling.callback_trust import MISSES_MAX, CallbackTrust
from apimodels_async._core.polling.entry import Entry
from apimodels_async._core.polling.grid import TICK_S
from apimodels_async._core.polling.latency import Latency
from apimodels_async._core.polling.ledger import Ledger
from apimodels_async.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConnectionFailedError,
    GenerationFailedError,
    InsufficientCreditsError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    SessionClosedError,
    TaskNotFoundError,
    TaskTimeoutError,
    TransportTimeoutError,
    UnexpectedResponseError,
)
from apimodels_async.models import ImageResult, TaskSnapshot, TaskState

RESULT = ImageResult(urls=("https://a/b.png",), credits=Decimal("0.01"))
NOT_FOUND = NotFoundError("no such task", status=404, code=404)
NO_URLS = UnexpectedResponseError("completed without URLs", charged=True, status=200)

# Answers that say nothing about the task, however often they come.
PASSING = [
    ConnectionFailedError("refused"),
    TransportTimeoutError("silence"),
    UnexpectedResponseError("html", status=200),
    BadRequestError("what?", status=400),
    InsufficientCreditsError("poor", status=402),
    PermissionDeniedError("a firewall's page", status=403),
    RateLimitError("slow", status=429),
    APIStatusError("gone", status=410),
    ServerError("down", status=500),
    ServerError("down", status=503, retry_after=9.0),
]


def watched(*ids, now=100.0, attached=False, **settings):
    """Return a ledger that has watched *ids* since *now*, and their entries."""
    ledger = Ledger(**settings)
    entries = [Entry(task_id, attached=attached) for task_id in ids]
    for entry in entries:
        ledger.watch(entry, now)
    return ledger, *entries


def polled(ledger, entry, answer, *, latency=0.0):
    """Poll *entry* when due; return when it was answered and what that settled."""
    started = ledger.next_due()
    assert [entry] == ledger.due(started)
    entry.started_at = started
    return started + latency, ledger.apply(entry, answer, started + latency)


# --- due times ------------------------------------------------------------------


def test_an_empty_ledger_waits_for_ever():
    """Nothing is due, nothing expires, and closing settles nothing."""
    ledger = Ledger()

    assert math.inf == ledger.next_due() == ledger.next_deadline()
    assert [] == ledger.due(1e9) == ledger.expire(1e9)
    assert ledger.close(SessionClosedError()) == []
    assert len(ledger) == 0


def test_a_created_task_is_due_after_one_interval():
    """A task this session created is first polled one interval later."""
    ledger, entry = watched("clx1")

    assert pytest.approx(102.5) == ledger.next_due()
    assert ledger.due(102.49) == []
    assert [entry] == ledger.due(102.5)
    assert math.inf == ledger.next_due()


def test_an_attached_task_is_due_at_once():
    """A task taken up by id is polled on the next tick."""
    ledger, entry = watched("clx1", attached=True, now=100.01)

    assert pytest.approx(100.05) == ledger.next_due()
    assert [entry] == ledger.due(100.06)


def test_times_share_a_grid():
    """Tasks watched within one tick are due together, the oldest tick first."""
    ledger = Ledger()
    for number in range(30):
        ledger.watch(Entry(f"clx{number}"), 100.001 + number * 0.01)

    assert len({round(ledger.get(name).due_at, 6) for name in ledger}) <= 7
    assert pytest.approx(102.55) == ledger.next_due()
    assert [f"clx{number}" for number in range(30)] == [
        entry.task_id for entry in ledger.due(103)
    ]


@pytest.mark.parametrize(
    ("interval", "tick"), [(2.5, 0.05), (2.0, 0.05), (0.5, 0.05), (0.05, 0.005)]
)
def test_a_short_interval_has_a_finer_grid(interval, tick):
    """The grid is 50 ms wide, finer only for intervals below half a second."""
    ledger, entry = watched("clx1", now=0.0, interval=interval)
    ledger.watch(Entry("clx2"), tick / 2)

    assert pytest.approx(interval) == entry.due_at
    assert pytest.approx(interval + tick) == ledger.get("clx2").due_at


@pytest.mark.parametrize(
    ("latency", "expected"), [(0.0, 105.0), (0.2, 105.0), (2.5, 105.0), (9.0, 111.5)]
)
def test_a_poll_is_repeated_one_interval_after_its_start(latency, expected):
    """The next poll counts from the start of the last, or from a later answer."""
    ledger, entry = watched("clx1")
    polled(ledger, entry, TaskSnapshot("clx1", TaskState.PENDING), latency=latency)

    assert pytest.approx(expected) == ledger.next_due()


def test_a_task_being_polled_is_not_due():
    """Between poll and answer a task is not handed out again, however late it is."""
    ledger, entry = watched("clx1")

    assert [entry] == ledger.due(102.5)
    assert ledger.due(1e6) == []
    assert len(ledger) == 1


@pytest.mark.parametrize(
    ("draw", "waits"),
    [
        (0.0, [2.5, 2.5, 2.5, 2.5, 2.5, 2.5]),
        (0.5, [2.75, 3.0, 3.5, 3.75, 3.75, 3.75]),
        (1.0, [3.0, 3.5, 4.5, 5.0, 5.0, 5.0]),
    ],
)
def test_failed_polls_are_spread_out(draw, waits):
    """After polls that failed, the next is later by chance, at most two intervals."""
    ledger, entry = watched("clx1", draw=lambda: draw)
    found = []
    for _ in range(6):
        started, _settled = polled(ledger, entry, ServerError("down", status=500))
        found.append(ledger.next_due() - started)
    polled(ledger, entry, TaskSnapshot("clx1", TaskState.PROCESSING))

    assert pytest.approx(waits, abs=0.051) == found
    assert pytest.approx(2.5) == ledger.next_due() - entry.started_at


def test_an_outage_of_hours_is_counted():
    """Thousands of failed polls in a row neither overflow nor lose the task."""
    ledger, entry = watched("clx1", draw=lambda: 1.0, deadline=1e9)
    for _ in range(3000):
        polled(ledger, entry, ServerError("down", status=500))

    assert pytest.approx(5.0) == ledger.next_due() - entry.started_at
    assert not entry.done


# --- answers --------------------------------------------------------------------


@pytest.mark.parametrize("state", ["pending", "processing", "moderating"])
def test_an_unfinished_task_stays(state):
    """An answer without an end keeps the task, in its new state."""
    ledger, entry = watched("clx1")
    _, settled = polled(ledger, entry, TaskSnapshot("clx1", TaskState(state)))

    assert settled == []
    assert state == entry.state
    assert [entry] == [ledger.get(name) for name in ledger]


def test_a_completed_task_settles_with_its_result():
    """A completed task leaves the ledger with its result."""
    ledger, entry = watched("clx1")
    answer = TaskSnapshot("clx1", TaskState.COMPLETED, RESULT)

    assert [entry] == polled(ledger, entry, answer)[1]
    assert RESULT is entry.outcome
    assert TaskState.COMPLETED is entry.state
    assert (len(ledger), ledger.get("clx1")) == (0, None)


def test_a_failed_task_settles_with_its_error():
    """A failed task leaves the ledger with the API's reason."""
    ledger, entry = watched("clx1")
    error = GenerationFailedError("no", task_id="clx1")
    answer = TaskSnapshot("clx1", TaskState.FAILED, error=error)

    assert [entry] == polled(ledger, entry, answer)[1]
    assert error is entry.outcome
    assert entry.done


def test_no_other_answer_loses_a_task():
    """A poll may fail a hundred times: the task stays, and its result still arrives."""

    def check(error, attached):
        ledger, entry = watched("clx1", attached=attached)
        for _ in range(100):
            assert polled(ledger, entry, error)[1] == []
        polled(ledger, entry, TaskSnapshot("clx1", TaskState.COMPLETED, RESULT))

        assert RESULT is entry.outcome

    check_all(itertools.product(PASSING, [True, False]), check)


# --- 404 ------------------------------------------------------------------------


def test_a_task_just_created_may_be_unknown_for_half_a_minute():
    """404 about a task we created means "not yet" for 30 s, then three in a row."""
    ledger, entry = watched("clx1")
    while not entry.done:
        at, _settled = polled(ledger, entry, NOT_FOUND)

    assert pytest.approx(130.0) == at
    assert TaskNotFoundError is type(entry.outcome)
    assert (
        entry.outcome.task_id,
        entry.outcome.status,
        entry.outcome.charged,
    ) == ("clx1", 404, None)
    assert str(entry.outcome) == "the API does not know task clx1 (no such task)"


def test_one_404_later_on_is_not_believed():
    """After the grace, it takes three 404s in a row; another answer starts anew."""
    ledger, entry = watched("clx1")
    pending = TaskSnapshot("clx1", TaskState.PENDING)
    answers = [NOT_FOUND] * 11 + [pending] + [NOT_FOUND, NOT_FOUND, PASSING[2]]
    for answer in [*answers, NOT_FOUND, NOT_FOUND]:
        polled(ledger, entry, answer)
    assert not entry.done

    at, settled = polled(ledger, entry, NOT_FOUND)

    assert [entry] == settled
    assert at > 140


def test_an_attached_id_nobody_knows_ends_within_half_a_minute():
    """Three 404s end an attached task, always within 30 seconds."""

    def check(draw, interval):
        ledger, entry = watched(
            "clx1", attached=True, interval=interval, draw=lambda: draw
        )
        ats = [polled(ledger, entry, NOT_FOUND, latency=1.0)[0] for _ in range(3)]

        assert TaskNotFoundError is type(entry.outcome)
        assert ats[-1] - 100.0 <= 30.0

    check_all(itertools.product([0.0, 0.5, 1.0], [2.0, 2.5, 3.0]), check)


def test_a_completed_task_without_urls_is_believed_the_third_time():
    """Completed without URLs settles after three in a row: URLs may follow late."""
    ledger, entry = watched("clx1")
    for _ in range(2):
        assert polled(ledger, entry, NO_URLS)[1] == []

    assert [entry] == polled(ledger, entry, NO_URLS)[1]
    assert NO_URLS is entry.outcome


def test_each_kind_of_strike_is_counted_by_itself():
    """Neither 404s nor missing URLs are believed by what is said in between."""
    silence = [TransportTimeoutError("silence"), ConnectionFailedError("reset")]
    cases = [
        ([NOT_FOUND, NO_URLS, NOT_FOUND], NOT_FOUND, None),
        ([NOT_FOUND, NOT_FOUND], NO_URLS, None),
        ([NO_URLS, NO_URLS], NOT_FOUND, None),
        ([NOT_FOUND, NOT_FOUND, ServerError("down", status=500)], NOT_FOUND, None),
        ([NOT_FOUND, *silence, NOT_FOUND], silence[0], None),
        ([NOT_FOUND, *silence, NOT_FOUND], NOT_FOUND, TaskNotFoundError),
        ([NO_URLS, *silence, NO_URLS], NO_URLS, UnexpectedResponseError),
    ]

    def check(before, last, kind):
        ledger, entry = watched("clx1", attached=True)
        for answer in before:
            assert polled(ledger, entry, answer)[1] == []
        polled(ledger, entry, last)
        assert type(entry.outcome) is (kind or type(None))

    check_all(cases, check)


# --- the key --------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("no", status=401, code=401),
        AuthenticationError("no", status=200, code=401),
        PermissionDeniedError("no", status=403, code=403),
        PermissionDeniedError("no", status=200, code=403),
    ],
    ids=["401", "code 401", "403", "code 403"],
)
def test_a_refused_key_settles_everything(error):
    """A key refused for good ends all tasks, each with its id and its error object."""
    ledger, first, second, third = watched("clx1", "clx2", "clx3")
    ledger.due(102.5)
    for entry, now in ((first, 103.0), (second, 105.6)):
        assert ledger.apply(entry, error, now) == []

    settled = ledger.apply(second, error, 105.7)

    assert [first, second, third] == settled
    assert [entry.outcome.task_id for entry in settled] == ["clx1", "clx2", "clx3"]
    assert {type(error)} == {type(entry.outcome) for entry in settled}
    assert len({id(error), *(id(entry.outcome) for entry in settled)}) == 4
    assert len(ledger) == 0
    assert ledger.apply(first, error, 104.0) == []


# --- deadlines ------------------------------------------------------------------


def test_a_deadline_ends_a_task_with_its_id():
    """At the deadline a task ends with TaskTimeoutError, to be attached again."""
    ledger, entry = watched("clx1", deadline=60.0)
    entry.state = TaskState.PROCESSING

    assert ledger.next_deadline() == 160.0
    assert ledger.expire(159.99) == []
    assert [entry] == ledger.expire(160.0)
    assert TaskTimeoutError is type(entry.outcome)
    assert (entry.outcome.task_id, entry.outcome.charged) == ("clx1", None)
    assert str(entry.outcome) == (
        "task clx1 was still 'processing' after 60 s; it may still finish: "
        "attach('clx1')"
    )
    assert math.inf == ledger.next_deadline()
    assert ledger.due(1e9) == []


def test_deadlines_are_one_span_after_watching():
    """Each task has its own deadline; those that ended before are passed over."""
    ledger = Ledger(deadline=60.0)
    entries = [Entry(f"clx{number}") for number in range(4)]
    for number, entry in enumerate(entries):
        ledger.watch(entry, 100.0 + 10 * number)
    ledger.due(200.0)
    done = TaskSnapshot("clx0", TaskState.COMPLETED, RESULT)
    ledger.apply(entries[0], done, 110.0)

    assert ledger.expire(165.0) == []
    assert ledger.next_deadline() == 170.0
    assert entries[1:3] == ledger.expire(185.0)
    assert ledger.next_deadline() == 190.0


@pytest.mark.parametrize(
    "late", [TaskSnapshot("clx1", TaskState.COMPLETED, RESULT), NOT_FOUND, PASSING[0]]
)
def test_a_late_answer_changes_nothing(late):
    """An answer to a poll of a task that has ended meanwhile is ignored."""
    ledger, entry = watched("clx1", deadline=60.0)
    ledger.due(150.0)
    ledger.expire(160.0)
    outcome, state = entry.outcome, entry.state

    assert ledger.apply(entry, late, 161.0) == []
    assert outcome is entry.outcome
    assert state is entry.state
    assert math.inf == ledger.next_due()


def test_a_task_may_be_taken_up_again_after_its_end():
    """An id that ended can be watched anew; answers to the old poll do not touch it."""
    ledger, old = watched("clx1", deadline=60.0)
    ledger.due(150.0)
    ledger.expire(160.0)
    new = Entry("clx1", attached=True)
    ledger.watch(new, 161.0)

    assert (
        ledger.apply(old, TaskSnapshot("clx1", TaskState.COMPLETED, RESULT), 162.0)
        == []
    )
    assert new is ledger.get("clx1")
    assert not new.done
    assert [new] == ledger.due(162.0)


# --- closing --------------------------------------------------------------------


def test_closing_settles_everything():
    """Closing ends all tasks, polled or not, each with an error of its own."""
    ledger, first, second = watched("clx1", "clx2")
    ledger.due(102.5)
    error = SessionClosedError("closed", task_ids=("clx1", "clx2"))

    assert [first, second] == ledger.close(error)
    assert [entry.outcome.task_id for entry in (first, second)] == ["clx1", "clx2"]
    assert ("clx1", "clx2") == first.outcome.task_ids == second.outcome.task_ids
    assert first.outcome is not second.outcome
    assert ledger.close(error) == []
    assert ledger.expire(1e9) == []
    assert math.inf == ledger.next_deadline()


def test_what_has_settled_is_not_polled():
    """A task that ended while it waited on the grid is not handed out."""
    ledger, _first, second = watched("clx1", "clx2")
    ledger.close(SessionClosedError())
    third = Entry("clx3")
    ledger.watch(third, 100.0)

    assert [third] == ledger.due(200.0)
    assert second.done


# --- callbacks ------------------------------------------------------------------

COMPLETED = TaskSnapshot("t1", TaskState.COMPLETED, RESULT)
PROCESSING = TaskSnapshot("t1", TaskState.PROCESSING)


def with_callbacks(*, trusted):
    """Return a ledger with one entry, since 100 s, that expects a callback."""
    ledger = Ledger(callback_trust=CallbackTrust(30.0, trusted=trusted))
    entry = Entry("t1", expects_callback=True)
    ledger.watch(entry, 100.0)
    return ledger, entry


@pytest.mark.parametrize(("trusted", "due"), [(False, 102.5), (True, 130.0)])
def test_a_covered_task_is_spared_while_callbacks_are_trusted(trusted, due):
    """Its polls are 30 s apart then, and at the usual interval otherwise."""
    ledger, entry = with_callbacks(trusted=trusted)
    assert ledger.next_due() == pytest.approx(due, abs=TICK_S)
    at, _ = polled(ledger, entry, PROCESSING)
    assert entry.due_at - at == pytest.approx(due - 100.0, abs=TICK_S)


def test_other_tasks_are_polled_as_ever():
    """A task without a callback of ours is not spared."""
    ledger, _ = with_callbacks(trusted=True)
    ledger.watch(Entry("t2"), 100.0)
    assert ledger.next_due() == pytest.approx(102.5, abs=TICK_S)


def test_a_hint_brings_the_poll_forward():
    """A task is due at once when its callback comes, and then no later."""
    ledger, entry = with_callbacks(trusted=True)
    ledger.hint(entry, 107.0)
    assert ledger.next_due() == pytest.approx(107.0, abs=TICK_S)
    _, settled = polled(ledger, entry, COMPLETED)
    assert settled == [entry]
    assert ledger.due(200.0) == []


def test_hints_do_not_hurry_polls_beyond_the_interval():
    """A second hint right after a poll waits for the rest of the interval."""
    ledger, entry = with_callbacks(trusted=True)
    ledger.hint(entry, 107.0)
    at, _ = polled(ledger, entry, PROCESSING)
    for _ in range(100):
        ledger.hint(entry, at + 0.1)
    assert ledger.next_due() == pytest.approx(at + 2.5, abs=TICK_S)
    assert ledger.due(at + 2.5 + TICK_S) == [entry]
    assert ledger.due(at + 40.0) == []


def test_a_hint_during_a_poll_is_followed_by_another():
    """A poll that was answered "processing" meanwhile is repeated one interval on."""
    ledger, entry = with_callbacks(trusted=True)
    (taken,) = ledger.due(130.0)
    taken.started_at = 130.0
    ledger.hint(entry, 130.5)
    ledger.apply(entry, PROCESSING, 131.0)
    assert ledger.next_due() == pytest.approx(132.5, abs=TICK_S)


def test_a_hint_never_makes_a_poll_later():
    """What is due already stays due."""
    ledger, entry = with_callbacks(trusted=False)
    entry.started_at = 101.0
    ledger.hint(entry, 101.5)
    assert ledger.next_due() == pytest.approx(102.5, abs=TICK_S)


def test_learned_first_polls_and_callbacks_go_together():
    """A task that expects a callback waits for it, not for a learned first poll."""
    latency = Latency(2.5)
    latency.load({"m": [10.0] * 20})
    trust = CallbackTrust(30.0, trusted=True)
    ledger = Ledger(latency=latency, callback_trust=trust)
    ledger.watch(Entry("t1", expects_callback=True, group="m"), 100.0)
    assert ledger.next_due() == pytest.approx(130.0, abs=TICK_S)


def test_callbacks_are_trusted_by_how_tasks_end():
    """A hint that came true makes trust, a task that ended without one costs some."""
    ledger, entry = with_callbacks(trusted=False)
    ledger.hint(entry, 101.0)
    polled(ledger, entry, COMPLETED)
    assert ledger.callback_trust.trusted
    for number in range(MISSES_MAX):
        entry = Entry(f"u{number}", expects_callback=True)
        assert ledger.due(200.0 * number + 200.0) == []
        ledger.watch(entry, 200.0 * number + 200.0)
        polled(ledger, entry, COMPLETED)
    assert not ledger.callback_trust.trusted
