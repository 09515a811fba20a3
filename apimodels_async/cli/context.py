"""
The session of one command, and its signal handlers.

Theory of operation: the first SIGINT or SIGTERM cancels the command; the session then
closes, which lets paid requests finish. From then on the signals have their default
action, so that a second one ends the process at once whatever it is doing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit

from attrs import define, field

from apimodels_async import (
    ImageResult,
    PollPolicy,
    Session,
    TaskHandle,
    Timeouts,
)
from apimodels_async._text import is_loopback
from apimodels_async.cli.errors import signal_exit_code
from apimodels_async.cli.output import print_result

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from apimodels_async.cli.options import Common
    from apimodels_async.cli.output import Output

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class InterruptedCommand(Exception):  # noqa: N818  not an error: somebody asked for it
    """A signal ended the command."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = signal_exit_code(number)


@contextlib.contextmanager
def on_first_signal(stop: Callable[[int], None]) -> Iterator[None]:
    """Call *stop* with the number of the first signal during the body."""
    loop = asyncio.get_running_loop()

    def caught(number: int) -> None:
        restore()
        stop(number)

    def restore() -> None:
        for each in SIGNALS:
            if loop.remove_signal_handler(each):
                signal.signal(each, signal.SIG_DFL)

    before = [signal.getsignal(each) for each in SIGNALS]
    for each in SIGNALS:
        loop.add_signal_handler(each, caught, each)
    try:
        yield
    finally:
        restore()
        for each, handler in zip(SIGNALS, before, strict=True):
            signal.signal(each, handler)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """
    Turn the first signal into a cancellation of the body, and that into an exception.

    Raises:
        InterruptedCommand: A signal came and the body has ended.
    """
    body = cast("asyncio.Task[object]", asyncio.current_task())
    caught: list[int] = []

    def stop(number: int) -> None:
        caught.append(number)
        body.cancel()

    with on_first_signal(stop):
        try:
            yield
        except asyncio.CancelledError:
            if not caught:
                raise
            body.uncancel()
            raise InterruptedCommand(caught[0]) from None


@define(eq=False)
class CommandContext:
    """One command's session, and what to print if it is interrupted."""

    session: Session
    output: Output
    handles: list[TaskHandle] = field(factory=list[TaskHandle])
    """Tasks this command waits for."""
    ordering: bool = False
    """Whether a paid request is on its way."""

    @contextlib.contextmanager
    def order(self) -> Iterator[None]:
        """Mark a paid request as under way during the body."""
        self.ordering = True
        # No finally: a cancelled order is still under way, an error ends the command.
        yield
        self.ordering = False

    def print_stopping(self) -> None:
        """Print why it may take a while to stop."""
        if self.ordering:
            at_most = f"{Timeouts().generate:g} s"
            self.output.note(
                "Stopping. A paid request is under way: it is let finish, at most "
                f"{at_most}, so that you learn what you paid for. Ctrl-C again leaves "
                "at once.",
                "yellow",
            )
        else:
            self.output.note("Stopping.", "yellow")

    def print_unfinished(self) -> None:
        """Print the tasks that go on after this command, and how to find them again."""
        # The closed session is their outcome by now: their state is what counts.
        left = [each.task_id for each in self.handles if not each.state.finished]
        for orphan in self.session.orphans:
            if isinstance(orphan, TaskHandle):
                left.append(orphan.task_id)
            elif isinstance(orphan, ImageResult):
                self.output.note("Finished and paid for:", "")
                print_result(self.output, orphan, [])
            else:
                self.output.error(orphan)
        for task_id in left:
            self.output.record("running", task_id=task_id)
            self.output.note(
                f"Task {task_id} is still running and is charged when it completes. "
                f"Find it again: apimodels wait {task_id}",
                "",
            )


@contextlib.asynccontextmanager
async def command_context(
    session: Session, output: Output, *, lasting: bool = True
) -> AsyncIterator[CommandContext]:
    """
    Open *session* for the body; close it in any case and account for what is left.

    Args:
        lasting: Whether its tasks outlive this program; the demo's do not.

    Raises:
        InterruptedCommand: After Ctrl-C, when all is closed and said.
    """
    context = CommandContext(session, output)
    with interruptible():
        try:
            async with session:
                try:
                    yield context
                except asyncio.CancelledError:
                    context.print_stopping()
                    raise
        except asyncio.CancelledError:
            if lasting:
                context.print_unfinished()
            raise


def open_session(common: Common) -> Session:
    """Return a session with the options every command has."""
    base_url = common.base_url or os.environ.get("APIMODELS_BASE_URL", "")
    interval = common.poll_interval
    polling = None
    if interval is not None:
        # The API asks for 2-3 seconds; an emulator on this machine does not mind.
        local = is_loopback(_host(base_url))
        make = PollPolicy.unchecked if local else PollPolicy
        polling = make(interval=interval)
    return Session(base_url=common.base_url, polling=polling)


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # Session refuses it with a better sentence
        return ""
