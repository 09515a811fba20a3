"""Waiting for what goes on by itself."""

from __future__ import annotations

import asyncio
import gc

import pytest

from apimodels_async._io.shielded import outcome_of


async def wait_and_fail(cancelled, failed):
    """Wait for what fails in one turn of the loop, cancelled in another."""
    future = asyncio.get_running_loop().create_future()
    waiter = asyncio.create_task(outcome_of(future))
    for turn in range(5):
        await asyncio.sleep(0)
        if turn == failed:
            future.set_exception(KeyError())
        if turn == cancelled:
            waiter.cancel()
    await asyncio.wait([waiter])


async def test_an_error_that_its_waiter_did_not_see_is_not_logged():
    """Whether the waiter was cancelled before, in the same step, or just after."""
    loop, logged = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _loop, context: logged.append(context))
    for cancelled in range(5):
        for failed in range(5):
            await wait_and_fail(cancelled, failed)
    gc.collect()
    loop.set_exception_handler(None)
    assert logged == []


async def test_a_cancellation_is_the_waiters_own():
    """The future goes on, and others get what it brings."""
    future = asyncio.get_running_loop().create_future()
    one, other = (asyncio.create_task(outcome_of(future)) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    await asyncio.wait([one])
    future.set_result(7)

    assert one.cancelled()
    assert await other == 7
    assert await outcome_of(future) == 7


async def test_an_error_is_the_waiters_too():
    """Each of them gets it."""
    future = asyncio.get_running_loop().create_future()
    waiters = [asyncio.create_task(outcome_of(future)) for _ in range(2)]
    await asyncio.sleep(0)
    future.set_exception(KeyError("x"))
    for each in waiters:
        with pytest.raises(KeyError):
            await each


async def test_what_was_cancelled_itself_says_so():
    """As with a task of one's own."""
    future = asyncio.get_running_loop().create_future()
    waiter = asyncio.create_task(outcome_of(future))
    await asyncio.sleep(0)
    future.cancel()
    await asyncio.wait([waiter])

    assert waiter.cancelled()
