"""Orders in a file, against the emulator: keys, uploads, recovering."""

from __future__ import annotations

import asyncio

import pytest
from support.waiting import until

from apimodels_async import InvalidRequestError, Timeouts
from apimodels_async.stores import SqliteStore

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
TASK = {"model": "gpt-image-2"}


async def test_a_key_is_bought_once(emulator, connect, tmp_path):
    """In the same session, at once, and in the next one: one task, one charge."""
    path = tmp_path / "orders.sqlite"
    session = connect(emulator, store=path)
    results = await asyncio.gather(
        *(
            session.images.generate("a moose", **TASK, idempotency_key="k")
            for _ in range(5)
        )
    )
    await session.aclose()
    later = connect(emulator, store=str(path))
    results.append(await later.images.generate("a moose", **TASK, idempotency_key="k"))

    assert len({result.url for result in results}) == 1
    assert len(emulator.tasks) == 1


async def test_an_uploaded_file_counts_by_its_content(emulator, connect, tmp_path):
    """Hosted twice, it has two addresses and is one request."""
    session = connect(emulator, store=tmp_path / "orders.sqlite")

    async def order(data):
        address = await session.upload(data)
        return await session.images.edit(
            "at sunset", images=[address], idempotency_key="k"
        )

    assert await order(PNG) == await order(PNG)
    with pytest.raises(InvalidRequestError, match="another request"):
        await order(PNG + b"\0")


async def test_what_a_session_left_is_recovered(emulator, connect, tmp_path):
    """A task that was accepted and never waited for is the next session's."""
    store = SqliteStore(tmp_path / "orders.sqlite")
    session = connect(emulator, store=store)
    handle = await session.images.submit("a moose", **TASK)
    await session.aclose()
    later = connect(emulator, store=store)
    orders = [order async for order in later.recover()]
    results = [await order.result() for order in orders]
    await orders[0].ack()

    assert [result.task_id for result in results] == [handle.task_id]
    assert [order async for order in later.recover()] == []
    assert [each.handed_over async for each in later.history()] == [True]


async def test_what_is_pending_at_the_end_is_logged_with_its_key(
    emulator, connect, tmp_path, caplog
):
    """A task by id and key, and an order of unknown fate whose caller is gone."""
    store = tmp_path / "orders.sqlite"
    plain = await connect(emulator).images.submit("a hare [stuck]", **TASK)
    session = connect(emulator, store=store, timeouts=Timeouts(close=0.2))
    moose = {"prompt": "a moose [stuck]", **TASK, "idempotency_key": "chat42/msg17"}
    handle = await session.images.submit(**moose)
    session.images.attach(plain.task_id)
    stuck = emulator.fault("create", "hang")
    caller = asyncio.create_task(
        session.images.submit("a fox", **TASK, idempotency_key="chat42/msg18")
    )
    await until(lambda: stuck.hits)
    caller.cancel()
    await asyncio.wait([caller])
    await session.aclose()

    assert f"{handle.task_id} (order 'chat42/msg17')" in caplog.text
    assert plain.task_id in caplog.text
    assert f"{plain.task_id} (order" not in caplog.text
    assert "POST images/generations was cut" in caplog.text
    assert "(order 'chat42/msg18')" in caplog.text
