"""
Where the outcomes of a batch come from: a session here, or workers behind a broker.

All the rest of a run (rows, journal, display, page, summary) is the same for both.
"""

from __future__ import annotations

import contextlib
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from attrs import define, evolve, field

from apimodels_async.cli.commands.emulator import emulator_session, serving
from apimodels_async.cli.context import open_session, unfinished_words
from apimodels_async.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from apimodels_async import Session
    from apimodels_async.batch import Batch
    from apimodels_async.cli.batch.plan import Plan
    from apimodels_async.cli.options import Common, Workers
    from apimodels_async.integrations.streaq import OrderQueue
    from apimodels_async.models import SessionStats


PER_ROW_USD: Final = 5
"""In the embedded emulator's account: more than any model costs."""


class Silence(NamedTuple):
    """That somebody does not answer."""

    who: str
    """In a clause."""
    meanwhile: str
    """What becomes of what is under way."""


@define(eq=False)
class SessionSource:
    """A session of this process orders."""

    session: Session
    _before: SessionStats | None = field(init=False, default=None)
    _silence: Silence | None = field(init=False, default=None)

    @property
    def base_url(self) -> str:
        """The session's."""
        return self.session.base_url

    def open(self) -> AbstractAsyncContextManager[object]:
        """Return the session."""
        return self.session

    def batch(self, items: AsyncIterable[Any], **options: Any) -> Batch:
        """Return a batch of the session's."""
        return self.session.images.batch(items, **options)

    def silence(self) -> Silence | None:
        """Tell whether no poll was answered; while nothing is asked, as before."""
        now, before = self.session.stats(), self._before
        self._before = now
        asked = 0 if before is None else now.polls - before.polls
        if before is not None and asked:
            silent = now.poll_errors - before.poll_errors == asked
            meanwhile = (
                f"{now.pending} tasks are paid for and are asked for again and again"
            )
            told = Silence("The API does not answer", meanwhile)
            self._silence = told if silent else None
        return self._silence

    async def give_up(self) -> None:
        """Close the session."""
        await self.session.aclose()

    def stopping_words(self, under_way: int) -> str:
        """Tell that what is paid for is finished."""
        return (
            f"Stopping: nothing more is ordered; {under_way} that are under way are "
            "finished and saved, for they are paid for. Ctrl-C again leaves at once: "
            "tasks are then found again by the next run, and what has no answer yet "
            "is reported as unknown."
        )

    def last_words(self) -> str:
        """Tell of the session's tasks."""
        return unfinished_words(self.session)


@define(eq=False)
class QueueSource:
    """Workers order, wherever they are."""

    queue: OrderQueue
    name: str
    """Of the batch, in the queue."""

    @property
    def base_url(self) -> str:
        """The one that the workers are taken to order at."""
        return self.queue.base_url

    def open(self) -> AbstractAsyncContextManager[object]:
        """Return the queue."""
        return self.queue

    def batch(self, items: AsyncIterable[Any], **options: Any) -> Batch:
        """Return a batch of the queue's."""
        return self.queue.batch(items, name=self.name, **options)

    def silence(self) -> Silence | None:
        """Tell whether the broker is away, or no worker is there."""
        stats = self.queue.stats()
        if stats.trouble is not None:
            return Silence(
                f"The broker does not answer ({stats.trouble})",
                "workers go on with what they have",
            )
        if stats.waiting and stats.workers == 0:
            return Silence(
                "No worker is at work on the queue",
                f"{stats.waiting} rows wait there; start one: apimodels worker",
            )
        return None

    async def give_up(self) -> None:
        """Wait no longer."""
        self.queue.close()

    def stopping_words(self, under_way: int) -> str:
        """Tell that workers go on."""
        return (
            f"Stopping: nothing more is put into the queue; {under_way} that are there "
            "are waited for. Ctrl-C again leaves at once: workers go on with them, and "
            "the next run takes them up."
        )

    def last_words(self) -> str:
        """Tell that workers go on."""
        return "Workers go on with what is in the queue.\n"


OutcomeSource = SessionSource | QueueSource
"""Who orders the rows of a batch."""


@contextlib.asynccontextmanager
async def source_of(
    plan: Plan, common: Common, broker: str | None, workers: Workers
) -> AsyncIterator[OutcomeSource]:
    """
    Yield who orders by *plan*, not yet open; an emulator inside serves meanwhile.

    Args:
        broker: Address of the workers' broker, if they order.
    """
    if broker is not None and plan.queued_as is not None:
        from apimodels_async.integrations.streaq import OrderQueue

        queue = OrderQueue(
            broker,
            queue=workers.queue,
            base_url=common.base_url,
            proxy=common.session_proxy,
        )
        yield QueueSource(queue, plan.queued_as)
    elif plan.speed is None:
        session = open_session(evolve(common, poll_interval=plan.poll_interval))
        yield SessionSource(session)
    else:
        credits_ = Decimal(100 + PER_ROW_USD * plan.ordered)
        server = Emulator(port=0, speed=plan.speed, credits=credits_)
        async with serving(server):
            yield SessionSource(emulator_session(server, plan.speed))
