"""
Runs worker processes one after the other, until told to stop.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio
from attrs import define, field

from apimodels_async.errors import ApiModelsError
from apimodels_async.integrations.streaq.broker import (
    PAUSE_S,
    UNUSABLE,
    cannot_open,
    first_of,
    in_words,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from apimodels_async.integrations.streaq.jobs import Answer
    from apimodels_async.integrations.streaq.worker import WorkerProcess

logger: logging.Logger = logging.getLogger("apimodels_async.worker")


@define(eq=False)
class WorkerLoop:
    """
    Runs workers one after the other: a broker that forgot all is begun with anew.

    For programs that handle signals themselves. One whose broker is away for a while
    waits for it, also by ``order_worker(...).run_sync()``.
    """

    make: Callable[[], WorkerProcess]
    """Makes the next one."""
    told: Callable[[Answer, float], None]
    """Called with each answer, and the seconds it took."""
    _stopping: anyio.Event = field(init=False, factory=anyio.Event)
    _now: WorkerProcess | None = field(init=False, default=None)

    @property
    def under_way(self) -> int:
        """How many jobs are being worked at."""
        return 0 if self._now is None else self._now.task.under_way

    def stop(self) -> None:
        """Take no more; what is under way may end within the worker's grace period."""
        self._stopping.set()

    async def run(self) -> None:
        """
        Work until stopped.

        Raises:
            ConnectionFailedError: The broker was away when it began.
            ConfigurationError: It cannot be used, or the folder for pictures not made.
            JournalError: The store cannot be used.
            AuthenticationError: The API does not accept the key.
        """
        began = False
        while not self._stopping.is_set():
            try:
                await self._run_one()
            except* ApiModelsError as group:
                trouble: BaseException = group
            except* UNUSABLE as group:
                trouble = group
            else:
                return
            process, self._now = self._now, None
            began = began or (process is not None and process.began)
            if not began:
                first = first_of(trouble)
                known = isinstance(first, ApiModelsError)
                raise (first if known else cannot_open(first)) from None
            logger.warning("the worker begins again: %s", in_words(trouble))
            with anyio.move_on_after(PAUSE_S):
                await self._stopping.wait()

    async def _run_one(self) -> None:
        process = self._now = self.make()
        process.worker.stopping = self._stopping
        process.task.told = self.told
        async with anyio.create_task_group() as group:
            group.start_soon(self._cut, process)
            await process.worker.run_async()
            group.cancel_scope.cancel()

    async def _cut(self, process: WorkerProcess) -> None:
        await self._stopping.wait()
        await anyio.sleep(process.grace_period)
        process.task.cut()
