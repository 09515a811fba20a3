"""Orders that come again under their idempotency key: what the caller gets."""

from __future__ import annotations

from support.batches import TASK

from apimodels_async.stores import MemoryStore


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
