"""Waiting for a task: handles, timeouts, many waiters, late readers, event streams."""

from __future__ import annotations

import asyncio

import pytest
from support.cases import check_all
from support.fakes import Rig, completed, done_after, failed, hang, refused, state
from support.virtual_time import virtual_time

from apimodels_async import (
    GenerationFailedError,
    InvalidRequestError,
    SessionClosedError,
    TaskHandle,
    TaskNotFoundError,
    TaskState,
    TaskTimeoutError,
)
from apimodels_async._core.polling.entry import Entry
from apimodels_async.handle import TOKEN_PREFIX, read_token

anyio_backend = virtual_time


def handle_of(rig, task_id="t1", **more):
    """Track a task and return its handle."""
    return TaskHandle(rig.watch(task_id, **more), rig.tracker)


def now():
    """Return the loop's seconds."""
    return asyncio.get_running_loop().time()


async def words(handle, *, nap=0.0):
    """Return the states an event stream shows, reading with a *nap* after each."""
    seen = []
    async for event in handle:
        seen.append(str(event.state))
        await asyncio.sleep(nap)
    return seen


def steps(*changes):
    """Return a script that answers the n-th poll of a task with the n-th word."""

    def script(call):
        word = changes[min(call.nth, len(changes)) - 1]
        if word == "completed":
            return completed(call.task_id)
        return failed(call.task_id) if word == "failed" else state(call.task_id, word)

    return script


# --- results ----------------------------------------------------------------------


async def test_many_may_await_one_handle_again_and_again():
    """Ten waiters get one and the same result, and so does everybody later."""
    async with Rig(done_after(20)) as rig:
        handle = handle_of(rig)
        results = await asyncio.gather(*(handle.result() for _ in range(10)))
        polls = len(rig.transport.calls)
        results += [await handle, await handle, await handle.result(timeout=0)]

        assert all(result is results[0] for result in results)
        assert results[0].urls == ("https://files.example/t1.png",)
        assert len(rig.transport.calls) == polls
        assert handle.done
        assert handle.state is TaskState.COMPLETED


async def test_a_cancelled_waiter_leaves_the_others():
    """One waiter's cancellation is its own; the task stays tracked."""
    async with Rig(done_after(20)) as rig:
        handle = handle_of(rig)
        waiters = [asyncio.create_task(handle.result()) for _ in range(3)]
        await asyncio.sleep(5)
        waiters[1].cancel()
        ended = await asyncio.gather(*waiters, return_exceptions=True)

        assert isinstance(ended[1], asyncio.CancelledError)
        assert ended[0] is ended[2]
        assert ended[0].task_id == "t1"


async def test_a_cancelled_last_waiter_does_not_stop_the_task():
    """A task nobody waits for any more is tracked to its end."""
    async with Rig(done_after(20)) as rig:
        handle = handle_of(rig)
        waiter = asyncio.create_task(handle.result())
        await asyncio.sleep(5)
        waiter.cancel()
        await asyncio.sleep(20)

        assert handle.done
        assert (await handle).task_id == "t1"


async def test_a_timeout_that_is_no_number_is_refused():
    """A wait for "5" seconds is refused by name, and the task stays tracked."""
    async with Rig(hang) as rig:
        handle = handle_of(rig)
        with pytest.raises(InvalidRequestError, match="timeout"):
            await handle.result(timeout="5")
        assert not handle.done


@pytest.mark.parametrize("script", [hang, done_after(60)], ids=["hang", "slow"])
async def test_a_timeout_is_this_waiters_only(script):
    """After a timeout, told within 50 ms, the task is still tracked."""
    async with Rig(script) as rig:
        handle = handle_of(rig)
        with pytest.raises(TaskTimeoutError) as caught:
            await handle.result(timeout=4)

        assert 4 <= now() <= 4.05
        assert caught.value.task_id == "t1"
        assert caught.value.charged is None
        assert isinstance(caught.value, TimeoutError)
        assert "stays tracked" in str(caught.value)
        assert not handle.done
        assert rig.ledger.get("t1") is not None


async def test_a_result_in_the_moment_of_the_timeout_is_returned():
    """If the task ends in the turn of the loop in which time is up, the result wins."""
    turn = 1e-10  # seconds; nearer than the clock's resolution: one turn for both
    async with Rig(done_after(0), latency=0.5 - turn) as rig:
        handle = handle_of(rig)

        assert (await handle.result(timeout=3.0)).task_id == "t1"


async def test_a_callers_own_timeout_passes_through():
    """asyncio.timeout around an await raises in the caller, not as our error."""
    async with Rig(done_after(60)) as rig:
        handle = handle_of(rig)
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(3):
                await handle.result(timeout=30)

        assert type(caught.value) is TimeoutError


async def test_every_waiter_of_a_failure_gets_its_own_error():
    """Errors are told as separate objects, or tracebacks would pile up on one."""
    async with Rig(steps("failed")) as rig:
        handle = handle_of(rig)
        errors = await asyncio.gather(
            *(handle.result() for _ in range(3)), return_exceptions=True
        )
        with pytest.raises(GenerationFailedError) as late:
            await handle
        errors.append(late.value)

        assert {type(error) for error in errors} == {GenerationFailedError}
        assert len({id(error) for error in errors}) == 4
        assert {error.fail_message for error in errors} == {"no"}


async def test_a_failure_nobody_awaits_makes_no_noise(caplog):
    """A failed task without waiters leaves no 'never retrieved' behind."""
    async with Rig(steps("failed")) as rig:
        handle = handle_of(rig)
        await asyncio.sleep(10)

        assert handle.state is TaskState.FAILED
    assert caplog.records == []


async def test_after_the_tracker_ended_a_late_await_is_refused():
    """Awaiting a handle whose session is closed raises at once with the ids."""
    async with Rig(done_after(900)) as rig:
        handle = handle_of(rig)
        await rig.tracker.aclose()
        with pytest.raises(SessionClosedError) as caught:
            await handle
        with pytest.raises(SessionClosedError):
            await words(handle)

        assert caught.value.task_ids == ("t1",)
        assert now() == 0


# --- events -----------------------------------------------------------------------


async def test_events_show_each_change_once_and_end():
    """The current state comes first, repetitions are silent, the last is terminal."""
    script = steps("pending", "pending", "processing", "processing", "completed")
    async with Rig(script) as rig:
        handle = handle_of(rig)

        assert await words(handle) == ["pending", "processing", "completed"]
        assert await words(handle) == ["completed"]


@pytest.mark.parametrize("nap", [0, 1, 4, 40])
async def test_slow_readers_miss_nothing(nap):
    """However slowly a stream is read, no change is lost."""
    script = steps("pending", "processing", "moderating", "upscaling", "completed")
    async with Rig(script) as rig:
        seen = await words(handle_of(rig), nap=nap)

        assert seen == ["pending", "processing", "moderating", "upscaling", "completed"]


@pytest.mark.parametrize("start", [0, 3, 6, 9, 11, 30])
async def test_late_readers_start_with_the_current_state(start):
    """A stream begun later shows the state of that moment, then what follows."""
    changes = ["pending", "processing", "moderating", "completed"]
    async with Rig(steps(*changes)) as rig:
        handle = handle_of(rig)
        early = asyncio.create_task(words(handle))
        await asyncio.sleep(start)
        at = handle.state
        late = await words(handle)

        assert late[0] == at
        assert late == changes[changes.index(late[0]) :]
        assert await early == changes


async def test_a_cancelled_stream_leaves_the_others():
    """Dropping one reader in the middle changes nothing for the rest."""
    script = steps("pending", "processing", "completed")
    async with Rig(script) as rig:
        handle = handle_of(rig)
        readers = [asyncio.create_task(words(handle, nap=nap)) for nap in (0, 3, 0)]
        await asyncio.sleep(3)
        readers[0].cancel()
        ended = await asyncio.gather(*readers, return_exceptions=True)

        assert isinstance(ended[0], asyncio.CancelledError)
        assert ended[1:] == [["pending", "processing", "completed"]] * 2


async def test_a_stream_left_early_is_no_trouble():
    """Breaking out of a stream and awaiting the handle works."""
    async with Rig(steps("processing", "completed")) as rig:
        handle = handle_of(rig)
        async for event in handle:
            assert event.task_id == "t1"
            break

        assert (await handle).task_id == "t1"


async def test_a_failed_task_ends_its_stream():
    """A stream of a failed task shows failed and ends without an exception."""
    async with Rig(steps("processing", "failed")) as rig:
        handle = handle_of(rig)

        assert await words(handle) == ["pending", "processing", "failed"]
        assert await words(handle) == ["failed"]


@pytest.mark.parametrize(
    ("script", "kind"),
    [(hang, TaskTimeoutError), (lambda _: refused(404), TaskNotFoundError)],
)
async def test_a_stream_without_a_terminal_state_raises(script, kind):
    """A deadline or an unknown task ends a stream with its error."""
    async with Rig(script, deadline=60) as rig:
        handle = handle_of(rig)
        with pytest.raises(kind):
            await words(handle)
        with pytest.raises(kind):
            await words(handle)


async def test_closing_ends_streams_with_the_ids():
    """A stream open while the tracker closes raises SessionClosedError."""
    async with Rig(done_after(900)) as rig:
        handle = handle_of(rig)
        reader = asyncio.create_task(words(handle))
        await asyncio.sleep(1)
        await rig.tracker.aclose()
        with pytest.raises(SessionClosedError) as caught:
            await reader

        assert caught.value.task_ids == ("t1",)


async def test_waiters_and_streams_share_one_task():
    """Awaiting and iterating the same handle at once both see the end."""
    async with Rig(steps("processing", "completed")) as rig:
        handle = handle_of(rig)
        seen, result = await asyncio.gather(words(handle), handle.result())

        assert seen == ["pending", "processing", "completed"]
        assert result.task_id == "t1"


async def test_an_attached_task_shows_what_its_first_poll_finds():
    """A task taken up by id has no state to show before the API has named one."""
    async with Rig(steps("processing", "completed")) as rig:
        handle = handle_of(rig, attached=True)
        readers = [words(handle), words(handle)]

        assert await asyncio.gather(*readers) == [["processing", "completed"]] * 2


async def test_an_attached_task_that_is_unknown_shows_nothing():
    """An id the API never said a word about has no event, only an error."""
    async with Rig(lambda _: refused(404)) as rig:
        handle = handle_of(rig, attached=True)
        for _ in range(2):
            with pytest.raises(TaskNotFoundError):
                _ = [event async for event in handle if pytest.fail("an event")]


# --- tokens -----------------------------------------------------------------------


async def test_a_token_says_id_and_model():
    """A token carries what attach needs, and is opaque, short, plain text."""
    async with Rig(done_after(0)) as rig:
        token = handle_of(rig).to_token()

        assert token.startswith(TOKEN_PREFIX)
        assert token.isascii()
        assert "=" not in token
        assert read_token(token) == ("t1", "gpt-image-2")
        await rig.tracker.aclose()


async def test_a_handle_without_id_has_no_token():
    """What the API named no id for cannot be attached."""
    async with Rig(done_after(0)) as rig:
        handle = TaskHandle(Entry(""), rig.tracker)

        assert repr(handle) == "<TaskHandle - pending>"
        with pytest.raises(InvalidRequestError):
            handle.to_token()


def test_a_plain_id_is_read_as_itself():
    """Text without the mark of a token is the id."""
    assert read_token("clx123") == ("clx123", None)


def test_a_damaged_token_is_refused():
    """What starts like a token and is none is refused, naming the parameter."""

    def check(damage):
        with pytest.raises(InvalidRequestError) as caught:
            read_token(TOKEN_PREFIX + damage)

        assert caught.value.parameter == "task_id"

    check_all(["", "e30", "W10", "_", "eyJ0YXNrX2lkIjogMX0", "é"], check)


def test_a_token_with_a_strange_model_keeps_the_id():
    """The model is a convenience: one that is no text is left out."""
    assert read_token(TOKEN_PREFIX + "eyJ0YXNrX2lkIjogImEiLCAibW9kZWwiOiA1fQ") == (
        "a",
        None,
    )


# --- what a notebook shows ---------------------------------------------------------


def html_of(handle):
    """Return what a notebook shows."""
    return handle._repr_mimebundle_()["text/html"]


async def test_a_pending_handle_says_how_old_its_news_is():
    """The state is shown with the time since it was asked for; showing asks nobody."""
    async with Rig(lambda call: state(call.task_id, "processing")) as rig:
        handle = handle_of(rig)
        assert "not yet" in html_of(handle)

        await asyncio.sleep(4)
        asked = rig.counters.polls
        html = html_of(handle)

    assert "processing" in html
    assert "1.5 s ago" in html
    assert " UTC" in html
    assert rig.counters.polls == asked


async def test_a_handle_shows_its_picture_once_there_is_one():
    """After the end a handle shows what its result shows, under its own name."""
    async with Rig(lambda call: completed(call.task_id)) as rig:
        handle = handle_of(rig)
        result = await handle
        forms = handle._repr_mimebundle_()

    assert forms["text/html"] == result._repr_mimebundle_()["text/html"]
    assert forms["text/plain"] == repr(handle)


async def test_a_failed_handle_shows_why():
    """The error stands where the picture would, by name and in words."""
    async with Rig(lambda call: failed(call.task_id)) as rig:
        handle = handle_of(rig)
        async for _ in handle:
            pass
        html = html_of(handle)

    assert "GenerationFailedError" in html
    assert "failed" in html
