"""The same batch again: what each state of the journal means for money."""

from __future__ import annotations

import asyncio
import json
import logging
from decimal import Decimal
from pathlib import Path

import pytest
from support.batches import (
    TASK,
    drain,
    orders,
    prompts_ordered,
    rewrite,
    rows,
    tasks,
)
from support.raw import CREATED, RawServer, by_method, envelope, respond
from support.waiting import until

from apimodels_async import (
    BadRequestError,
    GenerationFailedError,
    ImageRequest,
    JournalError,
    OutcomeUnknownError,
    TaskTimeoutError,
)
from apimodels_async.errors import ConnectionFailedError, DownloadError
from apimodels_async.policies import PollPolicy


@pytest.fixture
def journal(tmp_path):
    """Return where the journal is."""
    return tmp_path / "deep" / "j.sqlite"


async def test_a_finished_batch_is_replayed_for_nothing(emulator, session, journal):
    """The second run hands over equal results and sends no request at all."""
    items = ["moose", *tasks(3, "hare")]
    first, _ = await drain(session.images.batch(items, journal=journal))
    before = len(emulator.requests)
    batch = session.images.batch(items, journal=journal)
    second, _ = await drain(batch)
    assert first == second
    assert before == len(emulator.requests)
    assert batch.spent == emulator.spent > 0


async def test_a_longer_list_orders_only_what_is_new(emulator, session, journal):
    """Lines may be added and moved between runs."""
    await drain(session.images.batch(tasks(3), journal=journal))
    outcomes, _ = await drain(
        session.images.batch([*reversed(tasks(5)), *tasks(1)], journal=journal)
    )
    assert len(outcomes) == 6
    wanted = {f"moose {n}": 1 for n in range(5)} | {"moose 0": 2}
    assert wanted == prompts_ordered(emulator)


@pytest.mark.parametrize("model", ["sparkpix-image", TASK])
async def test_who_is_called_back_makes_no_other_order(
    emulator, session, journal, model
):
    """The second run has another callback address, and buys nothing."""
    for address in ("https://one.example/", "https://other.example/"):
        items = {"model": model, "journal": journal, "callback_url": address}
        await drain(session.images.batch(["moose", "hare"], **items))
    assert prompts_ordered(emulator) == {"moose": 1, "hare": 1}


async def test_an_accepted_task_is_attached_and_finished(
    emulator, session, connect, journal
):
    """A task of an earlier run is polled to its end, not ordered."""
    slow = [ImageRequest(TASK, "[slow] moose")]
    async with session.images.batch(slow, journal=journal) as outcomes:
        await until(lambda: outcomes.pending)
    assert rows(journal) == ["accepted"]
    await session.aclose()

    outcomes, _ = await drain(connect(emulator).images.batch(slow, journal=journal))
    assert [*emulator.tasks] == [outcomes[0].result.task_id]
    assert rows(journal) == ["completed"]


@pytest.mark.parametrize("state", ["intended", "unknown"])
async def test_what_may_have_been_paid_is_not_ordered_again(
    emulator, session, journal, state
):
    """It is reported as unknown, counts as spent, and is ordered only on request."""
    await drain(session.images.batch(["moose"], journal=journal))
    statement = "UPDATE orders SET state = ?, result = NULL, cost = NULL"
    rewrite(journal, statement, state)
    batch = session.images.batch(["moose"], journal=journal)
    outcomes, _ = await drain(batch)
    error = outcomes[0].error
    assert isinstance(error, OutcomeUnknownError)
    assert "may have been charged" in str(error)
    assert Decimal("0.01") == batch.reserved
    assert len(orders(emulator)) == 1

    batch = session.images.batch(["moose"], journal=journal, resubmit_unknown=True)
    outcomes, _ = await drain(batch)
    assert outcomes[0].result is not None
    assert len(orders(emulator)) == 2
    assert rows(journal) == ["completed"]


@pytest.mark.parametrize("status", [400, None], ids=["refused", "failed"])
async def test_an_order_again_that_is_free_leaves_the_first_unknown(
    emulator, session, journal, status
):
    """A refusal or failure of the second order says nothing of the first one."""
    emulator.fault("create", "drop", after=True)
    await drain(session.images.batch(tasks(1), journal=journal))
    if status is None:
        emulator.fault("create", "refused")
    else:
        emulator.fault("create", "status", status=status)
    await drain(session.images.batch(tasks(1), journal=journal, resubmit_unknown=True))
    assert rows(journal) == ["unknown"]
    batch = session.images.batch(tasks(1), journal=journal)
    outcomes, _ = await drain(batch)

    assert isinstance(outcomes[0].error, OutcomeUnknownError)
    assert "may have been charged" in str(outcomes[0].error)
    assert batch.reserved > 0
    assert len(orders(emulator)) == 2


async def test_a_failed_task_is_ordered_again_on_request(emulator, session, journal):
    """Its failure is told again; retry_failed orders it anew."""
    emulator.fault("create", "refused")
    first, _ = await drain(session.images.batch(tasks(1), journal=journal))
    again, _ = await drain(session.images.batch(tasks(1), journal=journal))
    assert isinstance(again[0].error, GenerationFailedError)
    assert str(first[0].error) == str(again[0].error)
    assert first[0].error.task_id == again[0].error.task_id
    assert len(orders(emulator)) == 1

    batch = session.images.batch(tasks(1), journal=journal, retry_failed=True)
    outcomes, _ = await drain(batch)
    assert outcomes[0].result is not None
    assert rows(journal, "state, error") == [("completed", None)]


async def test_a_refused_order_is_sent_again(emulator, session, journal):
    """What was never taken is simply wanted."""
    emulator.fault("sync", "status", status=422)
    first, _ = await drain(session.images.batch(["moose"], journal=journal))
    assert isinstance(first[0].error, BadRequestError)
    assert rows(journal) == ["refused"]
    again, _ = await drain(session.images.batch(["moose"], journal=journal))
    assert again[0].result is not None


async def test_an_order_that_never_left_is_sent_again(connect, emulator, journal):
    """A server that is not there leaves items refused, not unknown."""
    await emulator.aclose()
    first, _ = await drain(connect(emulator).images.batch(["moose"], journal=journal))
    assert isinstance(first[0].error, ConnectionFailedError)
    assert rows(journal) == ["refused"]


async def test_an_unanswered_order_is_unknown(emulator, session, journal):
    """A cut connection after the headers left is recorded as unknown."""
    emulator.fault("sync", "drop", after=True)
    await drain(session.images.batch(["moose"], journal=journal))
    assert rows(journal) == ["unknown"]
    again, _ = await drain(session.images.batch(["moose"], journal=journal))
    assert isinstance(again[0].error, OutcomeUnknownError)
    assert prompts_ordered(emulator) == {"moose": 1}


async def test_a_salvaged_id_is_attached(connect, journal):
    """A broken answer that still names its task is found again in the next run."""
    done = {"taskId": "clraw1", "state": "completed", "resultUrls": ["https://a.b/c"]}
    answer = by_method(POST=respond(CREATED[:-9]), GET=respond(envelope(done)))
    async with RawServer(answer) as server:
        session = connect(server)
        first, _ = await drain(session.images.batch(tasks(1), journal=journal))
        assert isinstance(first[0].error, OutcomeUnknownError)
        assert rows(journal, "state, task_id") == [("accepted", "clraw1")]
        again, _ = await drain(session.images.batch(tasks(1), journal=journal))
        assert again[0].result.task_id == "clraw1"
        assert len(server.posts) == 1
        await session.aclose()


async def test_a_task_past_its_deadline_is_attached(emulator, connect, journal):
    """A task given up by one run is taken up by the next."""
    slow = [ImageRequest(TASK, "[slow] moose")]
    hasty = connect(emulator, polling=PollPolicy.unchecked(interval=0.03, deadline=0.1))
    first, _ = await drain(hasty.images.batch(slow, journal=journal))
    assert isinstance(first[0].error, TaskTimeoutError)
    assert rows(journal) == ["accepted"]
    again, _ = await drain(connect(emulator).images.batch(slow, journal=journal))
    assert again[0].result is not None
    assert len(emulator.tasks) == 1


async def test_pictures_are_saved_under_names_of_ours(
    emulator, session, journal, tmp_path
):
    """Index and prompt make the name; the path is in outcome and journal."""
    out = tmp_path / "out"
    options = {"journal": journal, "download_to": out}
    prompts = ["A red fox!", "../up", "狐"]
    outcomes, _ = await drain(session.images.batch(prompts, **options))
    names = [outcomes[n].path.name for n in range(3)]
    assert [name.rpartition(".")[0] for name in names] == [
        "00000-a-red-fox",
        "00001-up",
        "00002-狐",
    ]
    files = [json.loads(text) for text in rows(journal, "files")]
    assert {Path(file) for (file,) in files} == {*out.iterdir()}

    before = len(emulator.requests)
    again, _ = await drain(session.images.batch(prompts, **options))
    assert outcomes == again
    assert before == len(emulator.requests)


async def test_pictures_are_saved_without_a_journal_too(session, tmp_path):
    """The path is in the outcome."""
    outcomes, _ = await drain(session.images.batch(["moose"], download_to=tmp_path))
    assert outcomes[0].path.stem == "00000-moose"
    assert outcomes[0].path.is_file()


async def test_a_picture_that_is_gone_has_both_result_and_error(
    emulator, session, journal, tmp_path
):
    """It was paid for and cannot be saved; the next run tries the file again."""
    emulator.fault("file", "not_found", times=None)
    options = {"journal": journal, "download_to": tmp_path / "out"}
    outcomes, raised = await drain(session.images.batch(["moose"], **options))
    assert raised is None
    assert outcomes[0].result is not None
    assert isinstance(outcomes[0].error, DownloadError)
    assert outcomes[0].path is None
    assert rows(journal, "state, files") == [("completed", None)]

    emulator.clear_faults()
    again, _ = await drain(session.images.batch(["moose"], **options))
    assert again[0].error is None
    assert again[0].path.is_file()
    assert len(orders(emulator)) == 1


async def test_a_journal_that_fails_before_an_order_stops_it(
    emulator, session, journal
):
    """No record, no order; and the batch says why."""
    await drain(session.images.batch([], journal=journal))
    rewrite(
        journal,
        "CREATE TRIGGER full BEFORE INSERT ON orders"
        " BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END",
    )
    batch = session.images.batch(tasks(4), journal=journal)
    outcomes, raised = await drain(batch)
    assert outcomes == {}
    assert isinstance(raised, JournalError)
    assert "disk is full" in str(raised)
    assert orders(emulator) == []


@pytest.mark.parametrize("state", ["accepted", "completed", "failed"])
async def test_a_journal_that_fails_after_an_order_hides_nothing(
    emulator, session, journal, caplog, state
):
    """The result is handed over, the task id logged, and ordering stops."""
    await drain(session.images.batch([], journal=journal))
    rewrite(
        journal,
        f"CREATE TRIGGER full BEFORE UPDATE ON orders WHEN new.state = '{state}'"
        " BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END",
    )
    prompt = "[refused] moose" if state == "failed" else "moose"
    batch = session.images.batch(tasks(9, prompt), journal=journal, max_pending=1)
    with caplog.at_level(logging.ERROR, "apimodels_async.stores"):
        outcomes, raised = await drain(batch)
    assert isinstance(raised, JournalError)
    assert [*outcomes] == [0]
    assert (state != "failed") == bool(outcomes[0].result)
    (task_id,) = emulator.tasks
    assert "not in the store" in caplog.text
    assert f"task {task_id}" in caplog.text


async def test_a_file_that_cannot_be_recorded_is_saved_all_the_same(
    emulator, session, journal, tmp_path, caplog
):
    """The picture is there, its path is in the outcome, and ordering stops."""
    await drain(session.images.batch([], journal=journal))
    rewrite(
        journal,
        "CREATE TRIGGER full BEFORE UPDATE OF files ON orders"
        " WHEN new.files IS NOT NULL"
        " BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END",
    )
    batch = session.images.batch(
        ["moose", "hare"], journal=journal, download_to=tmp_path, max_pending=1
    )
    outcomes, raised = await drain(batch)
    assert isinstance(raised, JournalError)
    assert outcomes[0].path.is_file()
    assert len(orders(emulator)) == 1
    assert "not in the store" in caplog.text


async def test_a_state_of_another_kind_ends_in_an_error(emulator, session, journal):
    """A row this release cannot read stops the batch; it does not hang it."""
    await drain(session.images.batch(["moose"], journal=journal))
    rewrite(journal, "UPDATE orders SET state = 'dreaming'")
    async with asyncio.timeout(30):
        _, raised = await drain(session.images.batch(["moose"], journal=journal))
    assert isinstance(raised, JournalError)
    assert "dreaming" in str(raised)
    assert len(orders(emulator)) == 1


async def test_a_damaged_item_stops_the_batch_and_stays_as_it_is(
    emulator, session, journal
):
    """A result or an id that cannot be read is named; nothing is ordered for it."""
    await drain(session.images.batch(["moose"], journal=journal))
    (kept,) = rows(journal, "result")[:1]
    for change in (
        "result = '{\"urls\": 5}'",
        "result = NULL",
        "task_id = 'x&y=z'",
        "state = 'accepted', task_id = NULL",
        "state = 'accepted', task_id = '../balance'",
        'result = replace(result, \'"task_id": null\', \'"task_id": "a/b"\')',
    ):
        rewrite(journal, f"UPDATE orders SET {change}")  # noqa: S608  ours
        before = rows(journal, "state, task_id, result")
        outcomes, raised = await drain(session.images.batch(["moose"], journal=journal))
        assert (outcomes, type(raised)) == ({}, JournalError), change
        assert before == rows(journal, "state, task_id, result")
        restore = "UPDATE orders SET state = 'completed', task_id = NULL, result = ?"
        rewrite(journal, restore, kept)
    outcomes, _ = await drain(session.images.batch(["moose"], journal=journal))
    assert outcomes[0].result is not None
    assert len(orders(emulator)) == 1


async def test_a_journal_says_what_files_are_called_not_where(
    emulator, session, journal, tmp_path
):
    """Only files in the folder given count, so that it may be moved, and no links."""
    (tmp_path / "secret.png").write_bytes(b"private")
    options = {"journal": journal, "download_to": tmp_path / "out"}
    first, _ = await drain(session.images.batch(["moose"], **options))
    name = first[0].path.name
    rewrite(
        journal,
        "UPDATE orders SET files = ?",
        json.dumps([str(tmp_path / "secret.png")]),
    )
    stray, _ = await drain(session.images.batch(["moose"], **options))
    assert stray[0].paths == first[0].paths

    (tmp_path / "out").rename(tmp_path / "moved")
    options["download_to"] = tmp_path / "moved"
    before = len(emulator.requests)
    moved, _ = await drain(session.images.batch(["moose"], **options))
    assert moved[0].path == tmp_path / "moved" / name
    assert before == len(emulator.requests)

    moved[0].path.unlink()
    moved[0].path.symlink_to(tmp_path / "secret.png")
    linked, _ = await drain(session.images.batch(["moose"], **options))
    assert linked[0].path.read_bytes() != b"private"
    assert (tmp_path / "secret.png").read_bytes() == b"private"
    nowhere, _ = await drain(session.images.batch(["moose"], journal=journal))
    assert nowhere[0].paths == ()


async def test_words_that_are_no_text_end_in_an_error(
    emulator, session, journal, tmp_path
):
    """A folder whose name is no UTF-8 cannot be recorded, and hangs nothing."""
    folder = tmp_path / "bad-\udcff"
    batch = session.images.batch(["moose"], journal=journal, download_to=folder)
    async with asyncio.timeout(30):
        outcomes, raised = await drain(batch)
    assert isinstance(raised, JournalError)
    assert outcomes[0].path.is_file()


async def test_a_task_whose_tracker_broke_stays_accepted(
    emulator, session, connect, journal
):
    """An id that came in after the tracker stopped is kept for the next run."""
    emulator.fault("create", "slow", seconds=0.2, after=True)
    batch = session.images.batch(tasks(1), journal=journal)
    async with batch as outcomes:
        await until(lambda: orders(emulator))
        tasks_ = {task.get_name(): task for task in asyncio.all_tasks()}
        tasks_["apimodels-tracker"].cancel()  # as if it had broken
        found = await anext(outcomes)
    (task_id,) = emulator.tasks
    assert found.result is None
    assert [("accepted", task_id)] == rows(journal, "state, task_id")
    again, _ = await drain(connect(emulator).images.batch(tasks(1), journal=journal))
    assert task_id == again[0].result.task_id


async def test_a_picture_that_was_deleted_is_fetched_again(
    emulator, session, journal, tmp_path
):
    """A replayed result whose file is gone from the disk is saved anew, for nothing."""
    for _ in range(2):
        batch = session.images.batch(["a"], journal=journal, download_to=tmp_path / "p")
        async with batch as outcomes:
            (outcome,) = [outcome async for outcome in outcomes]
        assert outcome.path.is_file()
        outcome.path.unlink()
    assert len(emulator.generations) == 1


async def test_an_accepted_item_stays_accepted_when_the_session_closes(
    emulator, session, connect, journal
):
    """A session that closes as a batch is resumed makes no accepted task refused."""
    async with session.images.batch(tasks(1), journal=journal) as outcomes:
        await until(lambda: outcomes.pending)
    (task_id,) = emulator.tasks
    again = connect(emulator)

    async def source():
        await again.aclose()
        for each in tasks(1):
            yield each

    async with again.images.batch(source(), journal=journal) as outcomes:
        outcome = await anext(outcomes)
    assert outcome.error.charged is None
    assert [("accepted", task_id)] == rows(journal, "state, task_id")
