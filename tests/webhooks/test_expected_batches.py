"""
Batches whose answers were lost, taken up by the callbacks that come to the next run.
"""

from __future__ import annotations

import asyncio
import json

import pytest
from support.batches import drain, orders, rewrite, rows, tasks
from webhooks.conftest import SECRET

from apimodels_async import ImageRequest, OutcomeUnknownError
from apimodels_async.webhooks import Callback, Receiver


@pytest.fixture
def journal(tmp_path):
    """Return where the journal is."""
    return tmp_path / "j.sqlite"


@pytest.fixture
def short(post):
    """Return the callback of a process that waits for hardly a moment."""
    return Callback(post.url, secret=SECRET, patience=0.05)


async def lose(emulator, called_back, post, callback, journal):
    """Run a batch of two whose first answer is lost, and whose callbacks are too."""
    post.deaf = True
    emulator.fault("create", "truncated", after=True)
    session = called_back(callback)
    outcomes, _ = await drain(
        session.images.batch(tasks(2), journal=journal, max_pending=1)
    )
    await session.aclose()
    assert isinstance(outcomes[0].error, OutcomeUnknownError)
    assert rows(journal) == ["unknown", "completed"]


async def test_the_next_run_is_called_back(
    emulator, called_back, post, short, callback, journal
):
    """What one run left unknown is found by the next, and nothing is sent twice."""
    await lose(emulator, called_back, post, short, journal)
    post.deaf = False  # the API tries again after 1, 2 and 4 seconds
    batch = called_back(callback).images.batch(tasks(2), journal=journal)
    outcomes, raised = await drain(batch)
    assert raised is None
    assert outcomes[0].result.task_id in emulator.tasks
    assert batch.spent == emulator.spent
    assert len(orders(emulator)) == 2
    assert rows(journal) == ["completed", "completed"]


async def test_a_task_of_before_the_lost_order_is_not_its_task(
    emulator, called_back, post, short, quick, journal
):
    """The next run believes no call that names what was made before the order was."""
    other = await called_back(None, polling=quick).images.submit(
        "a hare", model="gpt-image-2"
    )
    await other
    emulator.advance(60)
    await lose(emulator, called_back, post, short, journal)
    address = orders(emulator)[1].body["callback_url"]
    callback = Callback(post.url, secret=SECRET, patience=1.0)
    post.receiver = Receiver(callback)
    batch = called_back(callback, polling=quick).images.batch(tasks(2), journal=journal)
    calls = asyncio.create_task(call(post.receiver, address, other.task_id))
    outcomes, _ = await drain(batch)
    calls.cancel()

    assert isinstance(outcomes[0].error, OutcomeUnknownError)
    assert rows(journal) == ["unknown", "completed"]


async def call(receiver, address, task_id):
    """Call again and again, as the API does until a session knows the order."""
    body = json.dumps({"code": 200, "data": {"taskId": task_id}}).encode()
    while True:
        await receiver.deliver(address, body)
        await asyncio.sleep(0.02)


async def test_what_nobody_calls_about_stays_unknown(
    emulator, called_back, post, short, journal
):
    """After its patience the next run reports what it knows, and sends nothing."""
    await lose(emulator, called_back, post, short, journal)
    outcomes, _ = await drain(
        called_back(short).images.batch(tasks(2), journal=journal)
    )
    assert isinstance(outcomes[0].error, OutcomeUnknownError)
    assert len(orders(emulator)) == 2


async def test_without_callbacks_nothing_is_waited_for(
    emulator, called_back, post, short, journal
):
    """A session that is not called back reports the unknown one at once."""
    await lose(emulator, called_back, post, short, journal)
    rewrite(journal, "UPDATE orders SET task_id = NULL")
    outcomes, _ = await drain(called_back(None).images.batch(tasks(2), journal=journal))
    assert isinstance(outcomes[0].error, OutcomeUnknownError)


async def test_an_items_own_callback_is_journalled_as_none(
    called_back, callback, journal
):
    """A request that names its own callback has no nonce in the journal."""
    own = {"callback_url": "http://127.0.0.1:9/mine"}
    items = [ImageRequest("gpt-image-2", "a", own), *tasks(1)]
    await drain(called_back(callback).images.batch(items, journal=journal))
    first, second = rows(journal, "nonce")
    assert first is None
    assert len(second) == 32
