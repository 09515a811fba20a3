"""
What the thread of a SQLite store is to do, and who waits for it.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import repeat
from typing import TYPE_CHECKING, Any

from attrs import define

from apimodels_async.errors import JournalError
from apimodels_async.stores.sqlite.connection import journal_error

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from pathlib import Path

    from apimodels_async.stores.sqlite.connection import Connection


@define(frozen=True)
class Alike:
    """
    Work that one statement does for all jobs of a group that have it.

    After each statement the thread waits for the GIL, up to 5 ms while the loop works
    (measured 2026-11-28). What was asked for at the same time may be done in any
    sequence.
    """

    do_all: Callable[[Connection, list[Any]], list[Any] | None]
    """Takes what the jobs are about, and returns an answer for each, or none at all."""
    what: object

    def __call__(self, db: Connection) -> Any:
        """Do it for one."""
        answers = self.do_all(db, [self.what])
        return answers and answers[0]


@define(eq=False)
class Job:
    """What the thread is to do, and who waits for it."""

    work: Callable[[Connection], object]
    """May be called again, after what it did was undone."""
    done: asyncio.Future[Any]
    answer: object = None
    """What *work* returned, or a ``JournalError``."""

    def resolve(self) -> None:
        """Wake up whoever waits; once. A waiter who was cancelled is gone."""
        if self.done.done():
            return
        if isinstance(self.answer, JournalError):
            self.done.set_exception(self.answer)
            self.done.exception()  # looked at, also where its waiter is cancelled now
        else:
            self.done.set_result(self.answer)


def do_all(connection: Connection, jobs: list[Job]) -> None:
    """Do *jobs*, those that are alike together."""
    groups: dict[object, list[tuple[Job, Alike]]] = {}
    for job in jobs:
        if isinstance(job.work, Alike):
            groups.setdefault(job.work.do_all, []).append((job, job.work))
        else:
            job.answer = job.work(connection)
    for some in groups.values():
        answers = some[0][1].do_all(connection, [work.what for _, work in some])
        for (job, _), answer in zip(some, answers or repeat(None), strict=False):
            job.answer = answer


def fail(jobs: list[Job], path: Path, error: BaseException) -> None:
    """Tell *jobs* that the store cannot be used."""
    for job in jobs:  # one each: a traceback grows where it is raised
        job.answer = journal_error(path, error)
    tell(jobs)


def tell(jobs: list[Job]) -> None:
    """Wake up whoever waits for *jobs*, where the loop still turns."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Job]] = {}
    for job in jobs:
        by_loop.setdefault(job.done.get_loop(), []).append(job)

    def resolve(some: list[Job]) -> None:
        for job in some:
            job.resolve()

    for loop, some in by_loop.items():
        with suppress(Exception):  # it is closed; or of a library that raises its own
            loop.call_soon_threadsafe(resolve, some)
