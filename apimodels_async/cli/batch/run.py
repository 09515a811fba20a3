"""
Runs a batch: reads rows, counts and prints outcomes, writes the gallery.

Theory of operation: rows are read as the library asks for them. The first signal ends
that reading; what is under way is finished and handed over as ever. The next one ends
the process, and the journal knows what was under way. A stdout that fails ends the
reading, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread
from attrs import define, field

from apimodels_async import ApiModelsError
from apimodels_async.cli.batch.folder import resume_command
from apimodels_async.cli.batch.journal import read_cards
from apimodels_async.cli.batch.place import Place, place_of
from apimodels_async.cli.batch.progress import (
    duration,
    live_progress,
    print_progress,
)
from apimodels_async.cli.context import on_signals
from apimodels_async.cli.gallery.page import models_of
from apimodels_async.cli.options import Reorder
from apimodels_async.cli.words import plain_words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from apimodels_async import Outcome
    from apimodels_async.batch import Batch
    from apimodels_async.cli.batch.folder import Folder
    from apimodels_async.cli.batch.plan import Plan
    from apimodels_async.cli.batch.progress import Progress
    from apimodels_async.cli.batch.rows import PromptFile, Row
    from apimodels_async.cli.batch.source import OutcomeSource
    from apimodels_async.cli.gallery.card import Card
    from apimodels_async.cli.output import Output

CHUNK_ROWS: Final = 100
PERIOD_S: Final = 10.0
GALLERY_PERIOD_S: Final = 5.0
GALLERY_SHARE: Final = 0.02
"""Of the time, at most, for writing the gallery during the run."""
CARDS_MAX: Final = 10_000


@define(eq=False)
class Run:
    """One run of a batch, and what it has come to."""

    folder: Folder
    plan: Plan
    prompts: PromptFile
    progress: Progress
    output: Output
    reorder: Reorder = field(factory=Reorder)
    base_url: str | None = None
    """As an option gave it."""
    signal: int | None = None
    """The signal that stopped it."""
    halted: ApiModelsError | None = None
    """Why the library stopped ordering."""
    stop_display: Callable[[], None] = field(default=lambda: None)
    """Ends the moving lines."""
    gallery_warned: bool = False
    """The gallery could not be written the last time; that was said."""
    period_s: float = PERIOD_S
    """Between two plain lines of progress, and two looks at whether the API answers."""

    spending: Batch | None = None
    """Of the batch, once it was entered: over all runs."""
    cards_max: int = CARDS_MAX
    """A page with more is no use; those without a picture come first."""
    place: Place = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.place = place_of(self.folder, self.plan)

    async def execute(self, source: OutcomeSource) -> None:
        """
        Have *source* order what is left to order, until all has ended.

        Raises:
            JournalError: It cannot be used; nothing was sent.
            ConfigurationError: The broker cannot be used.
            ConnectionFailedError: The broker is away.
        """
        part, rows = self.plan.part, self.prompts.rows(self.plan.model)
        stop = partial(self._on_signal, source)
        with on_signals(stop, lambda: self._last_words(source)):
            batch = source.batch(
                self._items(islice(rows, part.first - 1, None, part.of)),
                max_pending=self.progress.max_pending,
                max_cost=self.plan.max_cost,
                journal=self.folder.journal,
                download_to=self.plan.out or self.folder.pictures,
                retry_failed=self.reorder.retry_failed,
                resubmit_unknown=self.reorder.resubmit_unknown,
                start=part.first,
                step=part.of,
            )
            async with source.open(), batch as outcomes:
                await self._handle_outcomes(outcomes, source)

    def _on_signal(self, source: OutcomeSource, number: int) -> None:
        self.signal = number
        self.progress.stopping = True
        self._stop_ordering()
        self.stop_display()
        under_way = self.progress.given - self.progress.ended
        self.output.note(source.stopping_words(under_way), "yellow")

    def _stop_ordering(self) -> None:
        if self.spending is not None:  # rows may have been read, and wait for money
            self.spending._stop_ordering()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    def _last_words(self, source: OutcomeSource) -> str:
        resume = resume_command(self.folder.path, self.plan.out)
        return f"{source.last_words()}Or all of them: {resume}\n"

    async def _items(self, rows: Iterator[Row]) -> AsyncIterator[dict[str, Any]]:
        def read_chunk() -> list[Row]:
            return list(islice(rows, CHUNK_ROWS))

        while chunk := await anyio.to_thread.run_sync(read_chunk):
            for row in chunk:
                if self.progress.stopping or self.progress.broken:
                    return
                if self.output.failed:  # nobody hears any more what is paid for
                    self.progress.stopping = True
                    return
                self.progress.given += 1
                yield row.item

    async def _handle_outcomes(self, outcomes: Batch, source: OutcomeSource) -> None:
        self.spending = outcomes
        jobs = [self._update_gallery(), self._warn_if_unanswered(source)]
        if not self.output.interactive:
            jobs.append(self._report_progress(outcomes))
        with live_progress(self.progress, outcomes, self.output) as self.stop_display:
            async with _background_jobs(*jobs):
                try:
                    async for outcome in outcomes:
                        self._take(outcome)
                        if self.progress.broken or self.output.failed:
                            self._stop_ordering()
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

    async def _report_progress(self, money: Batch) -> None:
        while True:
            print_progress(self.progress, money, self.output)
            await asyncio.sleep(self.period_s)

    async def _warn_if_unanswered(self, source: OutcomeSource) -> None:
        said: str | None = None
        source.silence()  # from now on
        while True:
            await asyncio.sleep(self.period_s)
            silence = source.silence()
            if silence is not None and self.signal is not None:
                self.output.note(
                    f"{silence.who}: leaving. The next run finds what is paid for.",
                    "yellow",
                )
                await source.give_up()
                return
            if silence is not None and silence.who != said:
                self.output.note(
                    f"{silence.who}. {silence.meanwhile}; leave whenever you like "
                    "(Ctrl-C), the next run finds them.",
                    "yellow",
                )
            said = silence and silence.who

    async def _update_gallery(self) -> None:
        while True:
            began = time.monotonic()
            await self.write_gallery(running=True)
            took = time.monotonic() - began
            await asyncio.sleep(max(GALLERY_PERIOD_S, took / GALLERY_SHARE))

    async def write_gallery(self, *, running: bool) -> None:
        """
        Write the page over what the journal knows; say once while that cannot be done.
        """
        try:
            cards = await read_cards(
                self.folder.journal,
                self.plan.destination or self.folder.pictures,
                # What is in the queue is on its way, whoever waits for it.
                running=running or self.plan.queued_as is not None,
                limit=self.cards_max,
            )
            await self._write_gallery(cards, running=running)
        except (OSError, ApiModelsError) as error:
            if not self.gallery_warned:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                self.output.note(f"The gallery cannot be written: {reason}", "yellow")
            self.gallery_warned = True
        else:
            self.gallery_warned = False

    async def _write_gallery(self, cards: list[Card], *, running: bool) -> None:
        wall = duration(time.monotonic() - self.progress.started_at)
        facts = {
            "rows": str(self.plan.ordered),
            "from": self.plan.file,
            "models": models_of(cards),
            "spent": f"${self.spending.spent}" if self.spending else "",
            "wall time": f"{wall}, this run" if self.progress.earlier else wall,
            "state": "running" if running else "ended",
        }
        facts = {name: text for name, text in facts.items() if text}
        if len(cards) == self.cards_max:
            facts["shown"] = f"{len(cards)}, those without a picture first"
        await self.place.write_page(cards, facts)


@contextlib.asynccontextmanager
async def _background_jobs(*jobs: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run *jobs* while the body runs."""
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(job) for job in jobs]
        yield
        for each in running:
            each.cancel()
