"""
Makes the demo's pictures: all orders at once, through one session.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from apimodels_async import ApiModelsError, ImageResult, InvalidRequestError
from apimodels_async.cli.demo_board import FAILED, SAVED, SENT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from apimodels_async import Session
    from apimodels_async.cli.demo_board import Board, Item


async def run_orders(
    session: Session, board: Board, folder: Path, ended: Callable[[Item], None]
) -> None:
    """
    Make and save every picture; a failure is noted on its item and stops no other.

    Args:
        ended: Called with each item as it ends.
    """

    async def run(item: Item) -> None:
        try:
            item.result = await _make(session, board, item)
            item.made.set()
            item.path = await session.download(item.result, folder / _stem(item))
            item.state = SAVED
        except ApiModelsError as error:
            item.error = error
            item.state = FAILED
            item.made.set()
        ended(item)

    async with asyncio.TaskGroup() as runners:
        for item in board.items:
            runners.create_task(run(item))


async def _make(session: Session, board: Board, item: Item) -> ImageResult:
    order = item.order
    images = session.images
    if order.source is not None:
        source = board.items[order.source]
        await source.made.wait()
        if source.result is None:
            msg = f"picture {source.number}, which it edits, could not be made"
            raise InvalidRequestError(msg, parameter="images")
        item.state = SENT
        url = source.result.url
        return await images.edit(order.prompt, images=[url], **order.params)
    item.state = SENT
    if order.synchronous:
        return await images.generate(order.prompt, model=order.model, **order.params)
    handle = await images.submit(order.prompt, model=order.model, **order.params)
    async for event in handle:
        item.state = event.state
    return await handle


def _stem(item: Item) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", item.order.prompt.lower()).strip("-")
    return f"{item.number:02d}-{words[:40]}"
