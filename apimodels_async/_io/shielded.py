"""
Waiting for what goes on whether anybody waits for it or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")


async def outcome_of(future: asyncio.Future[T]) -> T:
    """
    Wait for *future*; a cancellation is the waiter's own.

    ``asyncio.shield`` does the same, and has asyncio log an error that the waiter did
    not see, as it was cancelled: in the same step (measured with 3.11), or ever (3.14).
    Whose *future* it is knows what to do with its error.
    """
    await end_of(future)
    return future.result()


async def end_of(future: asyncio.Future[T]) -> None:
    """Wait until *future* has ended, however; raises the waiter's cancellation only."""
    if not future.done():
        waiter: asyncio.Future[None] = future.get_loop().create_future()

        def wake(ended: asyncio.Future[T]) -> None:
            if not ended.cancelled():
                ended.exception()  # looked at, also where the waiter is gone
            if not waiter.done():
                waiter.set_result(None)

        # It stays, whatever becomes of the waiter.
        future.add_done_callback(wake)
        await waiter
