"""Users of a process that was started again: they take up what was left."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random

from apimodels_async.errors import ApiModelsError

ROUNDS = 3
PAUSE_S = 65.0
"""A lease, and a bit."""


async def recover(life, actor, _orders, _leave):
    """Take up what earlier processes left, now and when their leases have run out."""
    chance = Random(life.process.seed * 7 + life.generation * 31 + actor.number)
    for nth in range(ROUNDS):
        if nth:
            await asyncio.sleep(PAUSE_S)
        try:
            async with contextlib.aclosing(life.session.recover()) as orders:
                async for order in orders:
                    await _deal_with(life, order, chance)
        except ApiModelsError as error:
            life.audit.read(error, life)


async def _deal_with(life, order, chance):
    if chance.random() >= life.process.acks:
        return
    if chance.random() < 0.8:
        try:
            result = await order.result()
        except ApiModelsError as error:
            life.audit.later(None, order.task_id, error, life)
        else:
            life.audit.later(None, order.task_id, result, life)
    life.audit.keys.acks(order.record.attempt)
    await order.ack()
