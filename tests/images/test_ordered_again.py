"""Orders that come again under their idempotency key: what the caller gets."""

from __future__ import annotations

import pytest
from support.batches import TASK

from apimodels_async import OutcomeUnknownError
from apimodels_async.stores import MemoryStore, NewOrder, OrderState, SqliteStore


async def test_a_completed_task_keeps_its_id(emulator, connect):
    """Submitted again after its end, an order brings a done handle of the same task."""
    session = connect(emulator, store=MemoryStore())
    order = {"model": TASK, "prompt": "a moose", "idempotency_key": "a"}
    first = await session.images.submit(**order)
    result = await first

    again = await session.images.submit(**order)

    assert again.done
    assert again.task_id == first.task_id
    assert session.images.attach(again.to_token()).task_id == first.task_id
    assert await again == result
    assert len(emulator.tasks) == 1


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_what_was_cut_off_is_unknown_to_all_once_it_is_recovered(
    emulator, connect, tmp_path, kind
):
    """Nobody waits for an order that its owner left unsent or unanswered."""
    store = MemoryStore() if kind == "memory" else SqliteStore(tmp_path / "o.sqlite")
    session = connect(emulator, store=store)
    assert [order async for order in session.recover()] == []
    dead = NewOrder(
        scope=session.base_url,
        idempotency_key="a",
        digest="of another version",
        model=TASK,
        prompt="a moose",
        request='{"model": "gpt-image-2", "prompt": "a moose"}',
        price=None,
        owner="dead",
        nonce=None,
    )
    assert (await store.begin(dead, ())).granted
    await store.release("dead")

    (order,) = [order async for order in session.recover()]

    assert order.state is OrderState.UNKNOWN
    with pytest.raises(OutcomeUnknownError):
        await order.result()
    with pytest.raises(OutcomeUnknownError):
        await session.images.generate("a moose", model=TASK, idempotency_key="a")
    assert emulator.requests == []
