"""
Orders for workers on any number of machines: streaq's queue on a Redis server.

    worker = order_worker("redis://queue.example", save_to="s3://deck/")
    worker.run_sync()

    async with OrderQueue("redis://queue.example") as queue:
        await queue.put([("a red fox", "job-1"), ("a hare", "job-2")])
        answer = await queue.wait("job-1")

Needs the extra ``[distributed]``, and Redis 7.0 or newer, or Valkey.
"""

from typing import TYPE_CHECKING

from apimodels_async._io.lazy import lazy_names

if TYPE_CHECKING:
    from apimodels_async.integrations.streaq.broker import to_json
    from apimodels_async.integrations.streaq.jobs import Answer
    from apimodels_async.integrations.streaq.progress import JobState, Progress
    from apimodels_async.integrations.streaq.queue import OrderQueue, QueueStats
    from apimodels_async.integrations.streaq.worker import (
        WorkerProcess,
        add_order,
        order_worker,
    )
    from apimodels_async.integrations.streaq.worker_loop import WorkerLoop
else:
    # Lazy: who enqueues needs no session, and a worker no batch.
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "integrations.streaq.broker": ("to_json",),
            "integrations.streaq.jobs": ("Answer",),
            "integrations.streaq.progress": ("JobState", "Progress"),
            "integrations.streaq.queue": ("OrderQueue", "QueueStats"),
            "integrations.streaq.worker_loop": ("WorkerLoop",),
            "integrations.streaq.worker": (
                "WorkerProcess",
                "add_order",
                "order_worker",
            ),
        },
        extra="distributed",
    )

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
