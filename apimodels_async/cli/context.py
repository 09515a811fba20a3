"""
The session of one command, and its signal handlers.

Theory of operation: the first SIGINT, SIGTERM or SIGHUP (on Windows, Ctrl-Break)
cancels the command; the session then closes, which lets paid requests finish. The
second one ends the process at once, whatever it is doing, and says what is then left.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias, cast
from urllib.parse import urlsplit

from attrs import define, field

from apimodels_async import (
    ApiModelsError,
    ImageResult,
    OutcomeUnknownError,
    PollPolicy,
    Session,
    TaskHandle,
    TaskState,
    Timeouts,
)
from apimodels_async._text import escaped, is_loopback
from apimodels_async.cli.errors import next_step, signal_exit_code
from apimodels_async.cli.output import addresses, print_result
from apimodels_async.cli.words import plain_words
from apimodels_async.errors import CHARGED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator
    from typing import TextIO

    from apimodels_async.cli.options import Connection
    from apimodels_async.cli.output import Output
    from apimodels_async.stores import OrderStore

SIGNALS: Final = tuple(
    signal.Signals[name]
    # Windows has no SIGHUP; its Ctrl-Break is elsewhere unknown.
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    if name in signal.Signals.__members__
)
Unfinished: TypeAlias = TaskHandle | ImageResult | OutcomeUnknownError
"""What was paid for, or may have been, and nobody has been told."""


class InterruptedCommand(Exception):  # noqa: N818  not an error: somebody asked for it
    """A signal ended the command."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code: int = signal_exit_code(number)


@contextlib.contextmanager
def on_signals(
    stop: Callable[[int], None], last_words: Callable[[], str]
) -> Iterator[None]:
    """
    Call *stop* in the loop with the number of the first signal during the body.

    The next one ends the process at once, with *last_words* on stderr.
    """
    loop = asyncio.get_running_loop()
    caught = False

    def handle(number: int, _: object) -> None:
        nonlocal caught
        if caught:
            _leave(number, last_words())
        caught = True
        loop.call_soon_threadsafe(stop, number)

    before: dict[signal.Signals, Any] = {}
    for each in SIGNALS:
        handler = signal.getsignal(each)
        # What nohup ignores stays ignored; Ctrl-C is ignored by mere habit of a shell.
        if handler != signal.SIG_IGN or each == signal.SIGINT:
            before[each] = handler
            signal.signal(each, handle)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _leave(number: int, words: str) -> NoReturn:
    # No stream and no loop: what was interrupted may hold them.
    with contextlib.suppress(AttributeError, OSError, ValueError):  # it is closed
        stderr = cast("TextIO", sys.__stderr__).fileno()
        os.write(stderr, f"Leaving at once.\n{words}".encode(errors="backslashreplace"))
    os._exit(signal_exit_code(number))


@contextlib.contextmanager
def interruptible(last_words: Callable[[], str] = str) -> Iterator[None]:
    """
    Turn the first signal into a cancellation of the body, and that into an exception.

    Args:
        last_words: Of the process, should a second one end it.

    Raises:
        InterruptedCommand: A signal came and the body has ended.
    """
    body = cast("asyncio.Task[object]", asyncio.current_task())
    caught: list[int] = []

    def stop(number: int) -> None:
        caught.append(number)
        body.cancel()

    with on_signals(stop, last_words):
        try:
            yield
        except asyncio.CancelledError:
            if not caught:
                raise
            body.uncancel()
            raise InterruptedCommand(caught[0]) from None


def unfinished_words(session: Session, found: Iterable[Unfinished] = ()) -> str:
    """
    Return a line for each of *found*, of the session's tasks, and of its open orders.
    """
    lines, tasks = list[str](), dict.fromkeys(session.pending, False)
    for each in (*found, *session.orphans):
        if isinstance(each, TaskHandle):
            tasks[each.task_id] = each.state.finished
        elif isinstance(each, ImageResult):
            lines.append(f"Finished and paid for: {addresses(each)}")
        else:
            said = plain_words(str(each))
            lines.append(f"{said} | {CHARGED[None]} | tip: {next_step(each)}")
    lines += [task_words(task_id, ended) for task_id, ended in tasks.items()]
    open_orders = session.stats().under_way
    if open_orders:
        lines.append(
            f"Paid requests without an answer: {open_orders}; they {CHARGED[None]}. "
            "Compare: apimodels balance"
        )
    return "".join(f"{escaped(line)}\n" for line in lines)


def task_words(task_id: str, ended: bool = False) -> str:  # noqa: FBT001, FBT002
    """Return what is to be known of a task that nobody waits for any more."""
    state = (
        "has ended; it is charged if it was completed"
        if ended
        else "may still be running; it is charged when it completes"
    )
    return f"Task {task_id} {state}. Find it again: apimodels wait {task_id}"


@define(eq=False)
class CommandContext:
    """One command's session, and what to print if it is interrupted."""

    session: Session
    output: Output
    handles: list[TaskHandle] = field(factory=list[TaskHandle])
    """Tasks this command asked about."""
    due: list[TaskHandle | ImageResult] = field(factory=list[TaskHandle | ImageResult])
    """What this command is about to tell of, also once it has ended."""
    _let_finish: bool = field(init=False, default=False)
    """It was said that a paid request is let finish."""

    def print_stopping(self) -> None:
        """Print why it may take a while to stop."""
        self._let_finish = bool(self.session.stats().under_way)
        if self._let_finish:
            at_most = f"{Timeouts().close:g} s"
            self.output.note(
                "Stopping. A paid request is under way: it is let finish, at most "
                f"{at_most}, so that you learn what you paid for. Ctrl-C again leaves "
                "at once.",
                "yellow",
            )
        else:
            self.output.note("Stopping.", "yellow")

    @property
    def unfinished(self) -> list[Unfinished]:
        """What nobody has been told about, short of the session's orphans."""
        # The closed session is their outcome by now: their state is what counts.
        found: list[Unfinished] = [
            each for each in self.handles if not each.state.finished
        ]
        for each in self.due:
            # A failed task was free; one without an id cannot be asked for.
            moot = isinstance(each, TaskHandle) and (
                each.state == TaskState.FAILED or not each.task_id
            )
            if not moot and each not in found:
                found.append(each)
        return found

    def last_words(self) -> str:
        """Return what to say of all that, in a process that ends now."""
        return unfinished_words(self.session, self.unfinished)

    def print_unfinished(self) -> None:
        """Print what goes on after this command, and how to find it again."""
        found = (*self.unfinished, *self.session.orphans)
        # It had not left yet, or was refused; or another program is sending it.
        if self._let_finish and not found:
            self.output.note("This command ordered nothing: not charged.", "")
        for each in found:
            if isinstance(each, TaskHandle):
                ended = each.state.finished
                self.output.record("running", task_id=each.task_id)
                self.output.note(task_words(each.task_id, ended), "")
            elif isinstance(each, ImageResult):
                self.output.note("Finished and paid for:", "")
                print_result(self.output, each, [])
            else:
                self.output.error(each)


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
    with interruptible(context.last_words if lasting else str):
        try:
            async with session:
                try:
                    yield context
                except asyncio.CancelledError:
                    context.print_stopping()
                    raise
        except ApiModelsError:  # says what is known of its order
            raise
        except BaseException:
            if lasting:
                context.print_unfinished()
            raise


def open_session(
    connection: Connection,
    store: OrderStore | None = None,
    api_key: str | None = None,
) -> Session:
    """Return a session that reaches the API so."""
    return Session(api_key, store=store, **session_options(connection))


def session_options(connection: Connection) -> dict[str, Any]:
    """Return what a session takes of that."""
    base_url = connection.base_url or os.environ.get("APIMODELS_BASE_URL", "")
    interval = connection.poll_interval
    polling = None
    if interval is not None:
        # The API asks for 2-3 seconds; an emulator on this machine does not mind.
        local = is_loopback(_host(base_url))
        make = PollPolicy.unchecked if local else PollPolicy
        polling = make(interval=interval)
    return {
        "base_url": connection.base_url,
        "polling": polling,
        "proxy": connection.session_proxy,
    }


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # Session refuses it with a better sentence
        return ""
