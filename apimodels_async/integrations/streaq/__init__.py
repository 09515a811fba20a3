"""
Orders for workers on any number of machines: streaq's queue on a Redis server.

    worker = order_worker("redis://queue.example", save_to="s3://deck/")
    worker.run_sync()

    async with OrderQueue("redis://queue.example") as queue:
        await queue.put([("a red fox", "job-1"), ("a hare", "job-2")])
        answer = await queue.wait("job-1")

Needs the extra ``[distributed]``, and Redis 7.0 or newer, or Valkey.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apimodels_async.integrations.streaq.broker import to_json
    from apimodels_async.integrations.streaq.jobs import Answer
    from apimodels_async.integrations.streaq.progress import JobState, Progress
    from apimodels_async.integrations.streaq.queue import OrderQueue, QueueStats
    from apimodels_async.integrations.streaq.worker import (
        WorkerLoop,
        WorkerProcess,
        add_order,
        order_worker,
    )

# Lazy: who enqueues needs no session, and a worker no batch.
_HOMES = {
    "Answer": "jobs",
    "JobState": "progress",
    "OrderQueue": "queue",
    "Progress": "progress",
    "QueueStats": "queue",
    "WorkerLoop": "worker",
    "WorkerProcess": "worker",
    "add_order": "worker",
    "order_worker": "worker",
    "to_json": "broker",
}

__all__ = [
    "Answer",
    "JobState",
    "OrderQueue",
    "Progress",
    "QueueStats",
    "WorkerLoop",
    "WorkerProcess",
    "add_order",
    "order_worker",
    "to_json",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
