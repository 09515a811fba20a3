"""Paid requests of unknown fate, outages, and connections of their own."""

from __future__ import annotations

import pytest
from support.batches import TASK, orders
from support.raw import CREATED, RawServer, envelope, respond

from apimodels_async import OutcomeUnknownError
from apimodels_async.errors import AuthenticationError, InvalidRequestError
from apimodels_async.models import Verdict


async def lost(session, model=None):
    """Order something whose fate is unknown; return its error."""
    with pytest.raises(OutcomeUnknownError) as caught:
        await session.images.generate("a moose", model=model)
    return caught.value


def cut_order(poll, status=200):
    """Return a server's answers: a cut one to orders, *poll* to polls, a balance."""
    balance = respond(envelope({"balance": 10, "total": 10, "frozen": 0}))
    cut, polled = respond(CREATED[:-9]), respond(poll, status)

    async def answer(request, peer):
        free = balance if request.target.endswith("balance") else polled
        await (cut if request.method == "POST" else free)(request, peer)

    return answer


async def test_a_salvaged_id_finds_the_task(connect):
    """A broken answer that showed its task id leads to the task."""
    poll = envelope({"taskId": "clraw1", "state": "processing"})
    async with RawServer(cut_order(poll)) as server:
        session = connect(server)
        error = await lost(session, TASK)
        assert error.task_id == "clraw1"
        found = await session.reconcile(error)
        await session.aclose()
    assert (found.verdict, found.task_id) == (Verdict.FOUND, "clraw1")
    assert "processing" in found.reason
    assert len(server.posts) == 1


async def test_an_id_the_api_does_not_know_falls_back_to_the_balance(connect):
    """A salvaged id that leads nowhere is no proof."""
    async with RawServer(cut_order(envelope(None, 404), 404)) as server:
        session = connect(server)
        await session.balance()
        error = await lost(session, TASK)
        found = await session.reconcile(error)
        await session.aclose()
    assert Verdict.NOT_CHARGED is found.verdict


async def test_a_balance_that_fell_means_charged(emulator, session):
    """Money left, and no result explains it."""
    await session.balance()
    await session.images.generate("a hare")  # this one is explained
    emulator.fault("sync", "drop", after=True)
    error = await lost(session)
    found = await session.reconcile(error)
    assert Verdict.CHARGED is found.verdict
    assert "0.01" in found.reason
    assert len(orders(emulator)) == 2  # asking has ordered nothing


async def test_a_balance_that_stayed_means_not_charged(emulator, session):
    """The cut request took no effect."""
    await session.balance()
    emulator.fault("sync", "drop")
    found = await session.reconcile(await lost(session))
    assert Verdict.NOT_CHARGED is found.verdict


async def test_without_evidence_the_answer_is_unknown(emulator, session):
    """No balance before, no task id: nothing can be said, and nothing is asked."""
    emulator.fault("sync", "drop")
    error = await lost(session)
    before = len(emulator.requests)
    found = await session.reconcile(error)
    assert Verdict.UNKNOWN is found.verdict
    assert "no balance was seen" in found.reason
    assert before == len(emulator.requests)


async def test_work_under_way_hides_the_evidence(emulator, session):
    """Other tasks hold part of the balance: ask again later."""
    await session.balance()
    handle = await session.images.submit("[slow] hare", model=TASK)
    emulator.fault("sync", "drop", after=True)
    error = await lost(session)
    found = await session.reconcile(error)
    assert Verdict.UNKNOWN is found.verdict
    assert "1 other tasks" in found.reason
    await handle
    assert Verdict.CHARGED is (await session.reconcile(error)).verdict


async def test_reconcile_takes_errors_of_ours_alone(session):
    """A time-out of asyncio's, say, names no order."""
    with pytest.raises(InvalidRequestError, match="the OutcomeUnknownError that"):
        await session.reconcile(TimeoutError())


async def test_reconcile_raises_what_asking_raises(emulator, session):
    """A refused key is an error, not a verdict."""
    await session.balance()
    emulator.fault("sync", "drop")
    error = await lost(session)
    emulator.fault("balance", "unauthorized")
    with pytest.raises(AuthenticationError):
        await session.reconcile(error)
