"""
Runs a batch: reads rows, counts and prints outcomes, writes the gallery.

Theory of operation: rows are read from the folder's copy of the prompts as the library
asks for them. The first signal ends that reading; what is under way is finished and
handed over as ever. The next one ends the process, and the journal knows what was under
way. A stdout that fails ends the reading, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import time
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio.to_thread
from attrs import define, field

from apimodels_async import ApiModelsError, ConfigurationError
from apimodels_async.cli.batch.journal import JournalEntry, read_entries
from apimodels_async.cli.batch.progress import Spending, live_progress, print_progress
from apimodels_async.cli.batch.rows import read_rows
from apimodels_async.cli.context import on_signals, unfinished_words
from apimodels_async.cli.gallery.page import Card, write_gallery
from apimodels_async.cli.words import plain_words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from apimodels_async import Outcome, Session
    from apimodels_async.cli.batch.folder import Folder, Plan
    from apimodels_async.cli.batch.progress import Progress
    from apimodels_async.cli.batch.rows import Row
    from apimodels_async.cli.output import Output

CHUNK_ROWS: Final = 100
PERIOD_S: Final = 10.0
GALLERY_PERIOD_S: Final = 5.0
GALLERY_SHARE: Final = 0.02
"""Of the time, at most, for writing the gallery during the run."""
CARDS_MAX: Final = 10_000


class Outcomes(Spending, Protocol):
    """The running batch of the library."""

    def __aiter__(self) -> AsyncIterator[Outcome]:
        """Outcomes as they finish."""
        ...


@define(eq=False)
class Run:
    """One run of a batch, and what it has come to."""

    folder: Folder
    plan: Plan
    progress: Progress
    output: Output
    retry_failed: bool = False
    resubmit_unknown: bool = False
    base_url: str | None = None
    """As an option gave it."""
    signal: int | None = None
    """The signal that stopped it."""
    halted: ApiModelsError | None = None
    """Why the library stopped ordering."""
    stop_display: Callable[[], None] = field(default=lambda: None)
    """Ends the moving lines."""
    gallery_warned: bool = False
    """The warning that the gallery cannot be written was printed."""
    period_s: float = PERIOD_S
    """Between two plain lines of progress, and two looks at whether the API answers."""

    cards_max: int = CARDS_MAX
    """A page with more is no use; those without a picture come first."""

    async def execute(self, session: Session) -> None:
        """
        Order what is left to order, until all has ended.

        Raises:
            JournalError: It cannot be used; nothing was sent.
            ConfigurationError: The copy of the prompts cannot be read.
        """
        part, path = self.plan.part, self.folder.path / self.plan.prompts
        try:
            file = path.open(encoding="utf-8-sig", newline="")
        except OSError as error:
            msg = f"the copy of the prompts, {path}, cannot be read: {error.strerror}"
            raise ConfigurationError(msg) from error
        with file, on_signals(self._on_signal, lambda: self._last_words(session)):
            rows = read_rows(file, path.name, path.suffix, self.plan.model)
            batch = session.images.batch(
                self._items(islice(rows, part.first - 1, None, part.of)),
                max_pending=self.progress.max_pending,
                max_cost=self.plan.max_cost,
                journal=self.folder.journal,
                download_to=self.folder.pictures,
                retry_failed=self.retry_failed,
                resubmit_unknown=self.resubmit_unknown,
                start=part.first,
                step=part.of,
            )
            async with session, batch as outcomes:
                await self._handle_outcomes(outcomes, session)

    def _on_signal(self, number: int) -> None:
        self.signal = number
        self.progress.stopping = True
        self.stop_display()
        under_way = self.progress.given - self.progress.ended
        self.output.note(
            f"Stopping: nothing more is ordered; {under_way} that are under way are "
            "finished and saved, for they are paid for. Ctrl-C again leaves at once: "
            "tasks are then found again by the next run, and what has no answer yet "
            "is reported as unknown.",
            "yellow",
        )

    def _last_words(self, session: Session) -> str:
        folder = shlex.quote(str(self.folder.path))
        return f"{unfinished_words(session)}Or all of them: apimodels resume {folder}\n"

    async def _items(self, rows: Iterator[Row]) -> AsyncIterator[dict[str, Any]]:
        while chunk := await anyio.to_thread.run_sync(_chunk, rows):
            for row in chunk:
                if self.progress.stopping or self.progress.broken:
                    return
                if self.output.failed:  # nobody hears any more what is paid for
                    self.progress.stopping = True
                    return
                self.progress.given += 1
                yield row.item

    async def _handle_outcomes(self, outcomes: Outcomes, session: Session) -> None:
        with contextlib.ExitStack() as stack:
            jobs = [self._update_gallery(), self._warn_if_unanswered(session)]
            if self.output.interactive:
                lines = live_progress(self.progress, outcomes, self.output)
                self.stop_display = stack.enter_context(lines)
            else:
                jobs.append(self._report_progress(outcomes))
            async with _background_jobs(*jobs):
                try:
                    async for outcome in outcomes:
                        self._take(outcome)
                except ApiModelsError as error:
                    self.halted = error

    def _take(self, outcome: Outcome) -> None:
        state = self.progress.take(outcome)
        request, result, error = outcome.request, outcome.result, outcome.error
        self.output.record(
            "outcome",
            number=outcome.index,
            state=state,
            prompt=request.prompt if request else None,
            path=outcome.path,
            paths=outcome.paths,
            task_id=(result and result.task_id) or (error and error.task_id),
            credits=result and result.credits,
            error=error and plain_words(str(error)),
        )

    async def _report_progress(self, money: Spending) -> None:
        while True:
            print_progress(self.progress, money, self.output)
            await asyncio.sleep(self.period_s)

    async def _warn_if_unanswered(self, session: Session) -> None:
        before, said = session.stats(), False
        while True:
            await asyncio.sleep(self.period_s)
            now = session.stats()
            asked = now.polls - before.polls
            silent = asked > 0 and now.poll_errors - before.poll_errors == asked
            if silent and self.signal is not None:
                self.output.note(
                    "The API does not answer: leaving. The next run finds what is paid "
                    "for.",
                    "yellow",
                )
                await session.aclose()
                return
            if silent and not said:
                self.output.note(
                    f"The API does not answer. {now.pending} tasks are paid for and "
                    "are asked for again and again; leave whenever you like (Ctrl-C), "
                    "the next run finds them.",
                    "yellow",
                )
            if asked:
                said = silent
            before = now

    async def _update_gallery(self) -> None:
        while True:
            began = time.monotonic()
            await self.write_gallery(running=True)
            took = time.monotonic() - began
            await asyncio.sleep(max(GALLERY_PERIOD_S, took / GALLERY_SHARE))

    async def write_gallery(self, *, running: bool) -> None:
        """
        Write the page over what the journal knows; say once if that cannot be done.
        """
        try:
            entries = await read_entries(
                self.folder.journal,
                self.folder.pictures,
                running=running,
                limit=self.cards_max,
            )
            await anyio.to_thread.run_sync(self._write_gallery, entries, running)
        except (OSError, ApiModelsError) as error:
            if not self.gallery_warned:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                self.output.note(f"The gallery cannot be written: {reason}", "yellow")
            self.gallery_warned = True

    def _write_gallery(
        self,
        entries: list[JournalEntry],
        running: bool,  # noqa: FBT001  through a thread
    ) -> None:
        most = self.cards_max
        cards = [
            Card(
                number=entry.number,
                prompt=entry.prompt,
                model=entry.model,
                state=entry.state,
                file=entry.file,
                more=entry.files[1:],
                seed=entry.seed,
                time_s=entry.time_s,
                cost=entry.cost,
                task_id=entry.task_id,
                error=entry.error,
            )
            for entry in entries
        ]
        facts = {
            "rows": str(self.plan.ordered),
            "from": self.plan.file,
            "state": "running" if running else "ended",
        }
        if len(cards) == most:
            facts["shown"] = f"{most}, those without a picture first"
        write_gallery(self.folder.index, self.folder.path.name, cards, facts)


@contextlib.asynccontextmanager
async def _background_jobs(*jobs: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run *jobs* while the body runs."""
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(job) for job in jobs]
        yield
        for each in running:
            each.cancel()


def _chunk(rows: Iterator[Row]) -> list[Row]:
    return list(islice(rows, CHUNK_ROWS))
