"""The tracker's sweeps: when it asks, how often, and what a bad answer costs."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import (
    EPOCH,
    Rig,
    completed,
    cut,
    done_after,
    failed,
    hang,
    refused,
    reply,
    state,
)
from support.virtual_time import run_virtual, virtual_time

from apimodels_async import (
    AuthenticationError,
    ConfigurationError,
    GenerationFailedError,
    ImageResult,
    PermissionDeniedError,
    SessionClosedError,
    TaskNotFoundError,
    TaskState,
    TaskTimeoutError,
    UnexpectedResponseError,
)
from apimodels_async._core.polling.entry import Entry
from apimodels_async._core.polling.grid import TICK_S
from apimodels_async._io.tracker import SLICE, Tracker
from apimodels_async._ports import Reply

SLACK = 1e-6  # seconds; sums of floats


anyio_backend = virtual_time


async def test_it_sleeps_while_nothing_is_pending():
    """With nothing to track, an hour passes without a wake-up or a request."""
    async with Rig(done_after(0)) as rig:
        await asyncio.sleep(3600)

        assert rig.clock.wakes == 0
        assert rig.transport.calls == []


async def test_it_falls_asleep_again():
    """Once the last task has ended, at most its deadline wakes the tracker."""
    async with Rig(done_after(10)) as rig:
        await rig.ended(rig.watch())
        before = rig.clock.wakes
        await asyncio.sleep(36_000)

        assert rig.clock.wakes - before <= 2


async def test_one_wake_up_serves_a_whole_sweep():
    """A hundred tasks watched together cost one wake-up an interval."""
    async with Rig(done_after(1_000), latency=0.05, max_polls=100) as rig:
        for index in range(100):
            rig.watch(f"t{index}")
        await asyncio.sleep(250)

        assert len(rig.transport.calls) >= 100 * 98
        assert rig.clock.wakes <= 2 * 100


async def test_a_task_is_first_asked_for_after_one_interval():
    """A task created here is polled one interval later, an attached one at once."""
    async with Rig(done_after(60)) as rig:
        rig.watch("created")
        rig.watch("attached", attached=True)
        await asyncio.sleep(5)

        assert rig.transport.times("created")[0] == pytest.approx(2.5, abs=TICK_S)
        assert rig.transport.times("attached")[0] == pytest.approx(0, abs=TICK_S)


async def test_each_task_is_polled_every_interval():
    """A hundred tasks that start at odd times keep their pace for 300 s."""
    async with Rig(done_after(300), latency=0.3, max_polls=100) as rig:
        entries = []
        for index in range(100):
            entries.append(rig.watch(f"t{index}"))
            await asyncio.sleep(0.0137)
        await rig.ended(*entries)

        gaps = [gap for entry in entries for gap in rig.transport.gaps(entry.task_id)]
        assert len(gaps) > 100 * 116
        assert min(gaps) >= 2.5 - SLACK
        assert max(gaps) <= 2.5 + TICK_S + SLACK
        assert rig.transport.doubled == set()


@given(
    plan=st.lists(
        st.tuples(
            st.floats(0, 20),  # seconds until it is watched
            st.floats(0, 40),  # seconds until it completes
            st.floats(0, 9),  # seconds a poll takes
            st.sampled_from(["fine", "cut", "500", "429", "junk", "404"]),
        ),
        min_size=1,
        max_size=12,
    ),
    interval=st.floats(2, 3),
    max_polls=st.integers(1, 12),
)
def test_no_task_is_asked_for_too_soon_or_twice_at_once(plan, interval, max_polls):
    """Whatever happens, polls of one task are 2 s apart, single, and never lost."""

    async def play():
        bad = {
            "cut": cut(),
            "500": refused(500),
            "429": refused(429),
            "junk": Reply(200, {}, b"\xff"),
            "404": refused(404),
        }

        async def script(call):
            _, ends, takes, trouble = plan[int(call.task_id)]
            await asyncio.sleep(takes)
            if trouble != "fine" and call.nth <= 2:
                return bad[trouble]
            now = asyncio.get_running_loop().time()
            word = state(call.task_id, "processing")
            return completed(call.task_id) if now >= ends else word

        async with Rig(script, interval=interval, max_polls=max_polls) as rig:
            entries = []

            async def start(index, delay):
                await asyncio.sleep(delay)
                entries.append(rig.watch(str(index)))

            await asyncio.gather(*(start(i, row[0]) for i, row in enumerate(plan)))
            outcomes = await rig.ended(*entries)

            assert {o.task_id for o in outcomes} == {e.task_id for e in entries}
            assert all(isinstance(outcome, ImageResult) for outcome in outcomes)
            gaps = [g for e in entries for g in rig.transport.gaps(e.task_id)]
            assert min(gaps, default=math.inf) >= interval - SLACK
            assert rig.transport.doubled == set()
            assert rig.transport.most <= max_polls

    run_virtual(play)


async def test_no_more_polls_run_at_once_than_allowed():
    """With 200 tasks due, max_polls requests are in flight, and no task starves."""
    async with Rig(done_after(100), latency=0.2, max_polls=8) as rig:
        entries = [rig.watch(f"t{index}") for index in range(200)]
        outcomes = await rig.ended(*entries)

        assert rig.transport.most == 8
        assert {outcome.task_id for outcome in outcomes} == {
            entry.task_id for entry in entries
        }


async def test_pollers_are_kept_between_sweeps():
    """Hundreds of sweeps leave no more asyncio tasks than polls at once."""
    async with Rig(done_after(2_500), max_polls=4) as rig:
        entries = [rig.watch(f"t{index}") for index in range(10)]
        await asyncio.sleep(2_000)
        names = [task.get_name() for task in asyncio.all_tasks()]
        await rig.ended(*entries)

        assert names.count("apimodels-poller") == 4
        assert names.count("apimodels-tracker") == 1


async def test_two_thousand_tasks_end_with_their_own_results():
    """Two thousand tasks of different length each get their own picture, on time."""
    ends = {f"t{index}": 5 + index % 60 for index in range(2_000)}
    async with Rig(done_after(0, slow=ends), latency=0.02) as rig:
        entries = [rig.watch(task_id) for task_id in ends]
        outcomes = await rig.ended(*entries)

        assert [outcome.task_id for outcome in outcomes] == list(ends)
        assert asyncio.get_running_loop().time() < 64 + 2 * 2.5
        assert rig.counters.completed == 2_000
        assert len(rig.ledger) == 0
        assert rig.transport.most <= 64


BAD = {
    "disconnect": cut(),
    "timeout": cut(timed_out=True),
    "never sent": cut(sent=False),
    "half an answer": cut(status=200),
    "500": refused(500),
    "502 page": Reply(502, {}, b"<html>Bad gateway"),
    "403 page": Reply(403, {}, b"<html>Forbidden"),
    "404": refused(404),
    "redirect": Reply(307, {"location": "https://else.example"}, b""),
    "204": Reply(204, {}, b""),
    "garbage": Reply(200, {}, b"\x16\x03\xff"),
    "empty": Reply(200, {}, b""),
    "html": Reply(200, {}, b"<!doctype html>"),
    "half json": Reply(200, {}, b'{"code":200,"data":{"taskId":"t1"'),
    "nested": Reply(200, {}, b"[" * 100_000),
    "huge number": Reply(200, {}, b'{"code":200,"data":' + b"9" * 5_000 + b"}"),
    "twice a key": Reply(200, {}, b'{"code":200,"code":200,"data":{}}'),
    "null data": reply(None),
    "no state": reply({"taskId": "t1"}),
    "another task": completed("t2"),
    "encoded": Reply(200, {"content-encoding": "gzip"}, b"\x1f\x8b"),
    "code 500": reply(None, code=500),
    "no urls": reply({"taskId": "t1", "state": "completed", "resultUrls": []}),
}


@pytest.mark.parametrize("answer", BAD.values(), ids=BAD)
async def test_a_bad_answer_delays_one_task(answer):
    """Two bad answers cost their task time, and no other task anything."""

    def script(call):
        bad = call.task_id == "t1" and call.nth <= 2
        return answer if bad else done_after(20)(call)

    async with Rig(script) as rig:
        entries = [rig.watch(f"t{index}") for index in range(5)]
        others = [entry for entry in entries if entry.task_id != "t1"]
        await rig.ended(*others)
        assert asyncio.get_running_loop().time() < 20 + 2.5 + 2 * TICK_S + 0.1
        outcomes = await rig.ended(*entries)

        assert [outcome.task_id for outcome in outcomes] == [
            "t0",
            "t1",
            "t2",
            "t3",
            "t4",
        ]
        assert rig.counters.poll_errors == 2
        assert rig.transport.gaps("t1")[0] >= 2.5 - SLACK


async def test_a_poll_that_hangs_delays_one_task():
    """While one poll never returns, the others keep their pace and end."""

    def script(call):
        return hang(call) if call.task_id == "t1" else done_after(20)(call)

    async with Rig(script, max_polls=2, deadline=100) as rig:
        entries = [rig.watch(f"t{index}") for index in range(4)]
        outcomes = await rig.ended(*entries)

        assert [type(outcome) for outcome in outcomes] == [
            ImageResult,
            TaskTimeoutError,
            ImageResult,
            ImageResult,
        ]
        assert len(rig.transport.times("t1")) == 1


async def test_a_failed_generation_is_an_outcome():
    """A failed task ends with the API's reason, uncharged, and is counted."""
    async with Rig(lambda call: failed(call.task_id)) as rig:
        [outcome] = await rig.ended(rig.watch())

        assert isinstance(outcome, GenerationFailedError)
        assert (outcome.fail_message, outcome.fail_code) == ("no", "E1")
        assert outcome.charged is False
        assert (rig.counters.completed, rig.counters.failed) == (0, 1)


async def test_completed_without_urls_is_believed_the_third_time():
    """A completed task that stays without URLs ends as unreadable, and as charged."""
    empty = reply({"taskId": "t1", "state": "completed", "resultUrls": []})
    async with Rig(lambda _: empty) as rig:
        [outcome] = await rig.ended(rig.watch())

        assert isinstance(outcome, UnexpectedResponseError)
        assert outcome.task_id == "t1"
        assert outcome.charged is True
        assert len(rig.transport.calls) == 3


# --- a service that says slow down, or no -----------------------------------------


@pytest.mark.parametrize("status", [429, 503])
async def test_a_throttled_poll_pauses_them_all(status):
    """After one 429 or 503 with Retry-After nobody asks before it is over; all end."""
    told = []

    def script(call):
        if not told and call.nth == 3:
            told.append(asyncio.get_running_loop().time())
            return refused(status, retry_after="20")
        return done_after(60)(call)

    async with Rig(script, latency=0.01) as rig:
        entries = [rig.watch(f"t{index}") for index in range(50)]
        outcomes = await rig.ended(*entries)

        [at] = told
        quiet = [t for t in rig.transport.times() if at < t < at + 20 - SLACK]
        assert quiet == []
        assert all(isinstance(outcome, ImageResult) for outcome in outcomes)
        assert asyncio.get_running_loop().time() < 60 + 2.5 + 1


async def test_throttling_without_a_date_grows_and_is_bounded():
    """Refusals in a row are answered with longer pauses, of 30 s at most."""
    async with Rig(lambda _: refused(429)) as rig:
        rig.watch()
        await asyncio.sleep(600)

        gaps = rig.transport.gaps("t1")
        assert gaps[-1] == pytest.approx(30, abs=3)
        assert max(gaps) <= 30 + TICK_S + 0.1 + SLACK
        assert len(gaps) < 40
        assert len(rig.ledger) == 1


async def test_a_long_retry_after_is_cut_to_two_minutes():
    """A Retry-After of a day holds polls for 120 s, as tasks are not given up."""
    first = [refused(429, retry_after="86400")]
    async with Rig(lambda c: first.pop() if first else done_after(0)(c)) as rig:
        await rig.ended(rig.watch())

        assert rig.transport.gaps("t1") == pytest.approx([120.1], abs=TICK_S + SLACK)


async def test_watching_during_a_pause_waits_for_its_end():
    """A task attached while the API wants quiet is first asked for afterwards."""
    first = [refused(429, retry_after="30")]
    async with Rig(lambda c: first.pop() if first else done_after(0)(c)) as rig:
        early = rig.watch("early")
        await asyncio.sleep(5)
        late = rig.watch("late", attached=True)
        await rig.ended(early, late)

        assert min(rig.transport.times("late")) >= 30


async def test_work_queued_at_a_refusal_is_taken_up_after_it():
    """Polls that had no poller when the API refused are made after the pause."""
    first = [refused(429, retry_after="10")]
    async with Rig(
        lambda c: first.pop() if first else done_after(0)(c), max_polls=1
    ) as rig:
        entries = [rig.watch(f"t{index}") for index in range(5)]
        await rig.ended(*entries)

        times = rig.transport.times()
        assert len(times) == 6
        assert times[1] >= 12.5
        assert times[-1] < 12.5 + 5


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(refused(401), AuthenticationError), (refused(403), PermissionDeniedError)],
    ids=["401", "403"],
)
async def test_a_refused_key_is_told_to_all_at_once(answer, kind):
    """A key that stays refused ends every task, two polls later, at one moment."""

    def script(call):
        return answer if call.nth >= 2 else done_after(900)(call)

    async with Rig(script) as rig:
        entries = [rig.watch(f"t{index}") for index in range(20)]
        waiters = [asyncio.create_task(rig.tracker.wait(entry)) for entry in entries]
        await asyncio.gather(*waiters)

        assert 7.5 < asyncio.get_running_loop().time() < 9
        assert {type(entry.outcome) for entry in entries} == {kind}
        assert [e.outcome.task_id for e in entries] == [e.task_id for e in entries]
        assert len(rig.ledger) == 0


async def told_a_turn(waiters):
    """Return how many of *waiters* went on in each turn of the loop."""
    turns, before = [], sum(waiter.done() for waiter in waiters)
    while before < len(waiters):
        await asyncio.sleep(0)
        now = sum(waiter.done() for waiter in waiters)
        if now > before:
            turns.append(now - before)
        before = now
    return turns


@pytest.mark.parametrize("what", ["key", "deadline"])
async def test_thousands_of_waiters_go_on_in_slices(what):
    """Whoever is told at one moment does not take the loop for one long turn."""

    def script(call):
        if what == "key" and call.task_id == "t0":
            return refused(401)
        return done_after(900)(call)

    async with Rig(script, deadline=2.6) as rig:
        entries = [rig.watch(f"t{index}") for index in range(1000)]
        waiters = [asyncio.create_task(rig.tracker.wait(entry)) for entry in entries]
        await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        first = sum(waiter.done() for waiter in waiters)
        turns = await told_a_turn(waiters)

        assert first <= 2 * SLICE  # this test itself is a turn behind
        assert max(turns) <= SLICE
        assert first + sum(turns) == 1000


async def test_closing_while_waiters_are_told_forgets_none():
    """A close between two slices tells the rest at once."""
    async with Rig(done_after(900), deadline=10) as rig:
        entries = [rig.watch(f"t{index}") for index in range(1000)]
        waiters = [asyncio.create_task(rig.tracker.wait(entry)) for entry in entries]
        await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        assert not all(waiter.done() for waiter in waiters)
        await rig.tracker.aclose()
        await asyncio.gather(*waiters)

        assert {type(entry.outcome) for entry in entries} == {TaskTimeoutError}


@pytest.mark.parametrize(
    ("attached", "least", "most"), [(False, 30, 40), (True, 5, 30)]
)
async def test_an_unknown_task_is_told_after_a_grace(attached, least, most):
    """A 404 is borne for 30 s after creation; an attached id ends within 30 s."""
    async with Rig(lambda _: refused(404)) as rig:
        [outcome] = await rig.ended(rig.watch(attached=attached))

        assert isinstance(outcome, TaskNotFoundError)
        assert outcome.charged is None
        assert least <= asyncio.get_running_loop().time() <= most


# --- deadlines --------------------------------------------------------------------


@pytest.mark.parametrize("script", [hang, done_after(10_000)], ids=["hang", "slow"])
async def test_a_deadline_is_told_within_50_ms(script):
    """At its deadline a task ends, even while its poll hangs; attaching is advised."""
    async with Rig(script, deadline=60) as rig:
        [outcome] = await rig.ended(rig.watch())

        assert 60 <= asyncio.get_running_loop().time() <= 60.05
        assert isinstance(outcome, TaskTimeoutError)
        assert outcome.charged is None
        assert outcome.task_id == "t1"
        assert "attach('t1')" in str(outcome)


async def test_an_answer_after_the_deadline_changes_nothing():
    """A result that arrives for a task given up settles nothing a second time."""
    release = asyncio.Event()

    async def script(call):
        await release.wait()
        return completed(call.task_id)

    async with Rig(script, deadline=10) as rig:
        entry = rig.watch()
        await rig.ended(entry)
        release.set()
        await asyncio.sleep(5)

        assert isinstance(entry.outcome, TaskTimeoutError)
        assert rig.counters.completed == 0


async def test_deadlines_pass_during_a_pause():
    """A brake on polls does not hold back a deadline."""
    async with Rig(lambda _: refused(429, retry_after="100"), deadline=20) as rig:
        await rig.ended(rig.watch())

        assert asyncio.get_running_loop().time() == pytest.approx(20, abs=0.05)


async def test_a_task_settled_in_the_queue_is_not_polled():
    """A task that met its deadline while queued for a poller is not asked for."""

    async def script(call):
        await asyncio.sleep(10)
        return completed(call.task_id)

    async with Rig(script, max_polls=1, deadline=4) as rig:
        first, second = rig.watch("t1"), rig.watch("t2")
        await rig.ended(first, second)
        await asyncio.sleep(60)

        assert [call.task_id for call in rig.transport.calls] == ["t1"]


# --- words ------------------------------------------------------------------------


async def test_an_unknown_state_is_logged_once(caplog):
    """A word the API adds is warned about once, kept, and polled on."""

    def script(call):
        return state(call.task_id, "moderating") if call.nth < 9 else completed("t1")

    caplog.set_level(logging.WARNING, "apimodels_async")
    async with Rig(script) as rig:
        entry = rig.watch()
        await asyncio.sleep(8)
        seen = entry.state
        [outcome] = await rig.ended(entry)

        assert seen == "moderating"
        assert outcome.task_id == "t1"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "moderating" in caplog.text


# --- the end of the tracker -------------------------------------------------------


async def test_closing_tells_every_waiter_with_all_ids():
    """Whoever waits when the tracker closes gets all ids to attach again."""
    async with Rig(done_after(900)) as rig:
        entries = [rig.watch(f"t{index}") for index in range(3)]
        waiters = [asyncio.create_task(rig.tracker.wait(entry)) for entry in entries]
        await asyncio.sleep(10)
        lost = await rig.tracker.aclose()
        await asyncio.gather(*waiters)

        assert lost == ("t0", "t1", "t2")
        for entry in entries:
            assert isinstance(entry.outcome, SessionClosedError)
            assert entry.outcome.task_ids == lost
            assert entry.outcome.task_id == entry.task_id
            assert entry.outcome.charged is None


async def test_closing_twice_is_closing_once():
    """The second close returns the same ids and does nothing."""
    async with Rig(done_after(900)) as rig:
        rig.watch()

        assert await rig.tracker.aclose() == await rig.tracker.aclose() == ("t1",)


async def test_closing_what_never_started_loses_nothing():
    """A tracker without its coroutine closes at once."""
    rig = Rig(done_after(0))
    await rig.tracker.aclose()
    idle = Tracker(rig.ledger, rig.transport, rig.clock, 1, rig.counters)

    assert await idle.aclose() == ()


async def test_a_bug_in_the_tracker_is_told_to_every_waiter(caplog):
    """An unexpected exception ends all waits with its cause; nothing hangs."""

    def script(call):
        if call.nth == 3:
            msg = "a bug"
            raise KeyError(msg)
        return state(call.task_id, "processing")

    async with Rig(script) as rig:
        entries = [rig.watch(f"t{index}") for index in range(5)]
        waiters = [asyncio.create_task(rig.tracker.wait(entry)) for entry in entries]
        await asyncio.gather(*waiters)

        assert asyncio.get_running_loop().time() < 10
        for entry in entries:
            error = entry.outcome
            assert isinstance(error, SessionClosedError)
            assert set(error.task_ids) == {e.task_id for e in entries}
            assert isinstance(error.__cause__, ExceptionGroup)
            assert error.__cause__.subgroup(KeyError)
        with pytest.raises(SessionClosedError) as refusal:
            rig.watch("late")
        assert refusal.value.__cause__ is entries[0].outcome.__cause__
        with pytest.raises(SessionClosedError):
            await rig.tracker.wait(Entry("never watched"))
        with pytest.raises(SessionClosedError):
            _ = [event async for event in rig.tracker.events(Entry("nor this"))]
    assert "the tracker stopped" in caplog.text


async def test_a_cancelled_sweeper_is_an_end_too():
    """A stray cancellation of the tracker's task, too, reaches those who wait."""
    async with Rig(done_after(900)) as rig:
        entry = rig.watch()
        waiter = asyncio.create_task(rig.tracker.wait(entry))
        await asyncio.sleep(1)
        [sweeper] = [
            task
            for task in asyncio.all_tasks()
            if task.get_name() == "apimodels-tracker"
        ]
        sweeper.cancel()
        await waiter

        assert isinstance(entry.outcome, SessionClosedError)


async def test_polls_have_none_of_a_callers_context():
    """A caller's request id or trace hangs on to no poll."""
    mine = contextvars.ContextVar("mine", default="none")
    seen = []

    def script(call):
        seen.append(mine.get())
        return completed(call.task_id)

    mine.set("a request id")
    async with Rig(script) as rig:
        await rig.ended(rig.watch("t1"), rig.watch("t2"))

    assert seen == ["none", "none"]


async def test_counts_are_kept():
    """Polls, errors, lateness and the credits stated are added up."""
    first = [cut()]
    async with Rig(lambda c: first.pop() if first else done_after(0)(c)) as rig:
        await rig.ended(rig.watch("t1"), rig.watch("t2"))
        counters = rig.counters

        assert (counters.polls, counters.poll_errors, counters.completed) == (3, 1, 2)
        assert counters.late_s == pytest.approx(0, abs=0.01)
        assert counters.late_max_s == pytest.approx(0, abs=0.01)
        assert str(counters.spent) == "0.10"


async def test_events_carry_the_wall_clock():
    """The time of an event is the clock's UTC."""
    async with Rig(done_after(0)) as rig:
        events = [event async for event in rig.tracker.events(rig.watch())]

        assert [event.state for event in events] == [
            TaskState.PENDING,
            TaskState.COMPLETED,
        ]
        assert events[0].at == EPOCH
        assert (events[1].at - EPOCH).total_seconds() == pytest.approx(2.6, abs=0.05)


async def test_a_pool_that_is_closed_for_good_ends_all_waits():
    """When no poll can be answered any more, who waits is told with the ids."""
    async with Rig(lambda _call: cut(sent=False, closed=True)) as rig:
        entries = [rig.watch(f"t{number}") for number in range(3)]
        ended = await rig.ended(*entries)

    assert {type(each) for each in ended} == {SessionClosedError}
    assert ended[0].task_ids == ("t0", "t1", "t2")


async def test_another_loop_is_refused():
    """A handle awaited in another loop is told so, and changes nothing here."""
    async with Rig(done_after(0)) as rig:
        entry = rig.watch("t1")

        async def wait():
            await rig.tracker.wait(entry)

        def elsewhere():
            with asyncio.Runner() as runner:
                runner.run(wait())

        with pytest.raises(ConfigurationError, match="another event loop"):
            await asyncio.to_thread(elsewhere)
        await rig.ended(entry)
