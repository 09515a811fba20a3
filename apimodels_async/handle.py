"""
A task of the vendor's, as seen from here; and the order that buys one, on its way.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import define, field

from apimodels_async._api.checks import check_timeout
from apimodels_async._core.money.retry import info_of, unknown_error
from apimodels_async._notebook import html
from apimodels_async._ports import Sent
from apimodels_async.errors import (
    ApiModelsError,
    GenerationFailedError,
    InvalidRequestError,
    SessionClosedError,
    TaskTimeoutError,
)
from apimodels_async.models import ImageResult

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Generator

    from apimodels_async._api import calls
    from apimodels_async._core.polling.entry import Entry
    from apimodels_async._io.tracker import Tracker
    from apimodels_async.models import TaskEvent, TaskSnapshot, TaskState
    from apimodels_async.stores.sent_order import SentOrder
    from apimodels_async.webhooks.expected_callback import ExpectedCallback

TOKEN_PREFIX = "am1."  # noqa: S105  a version mark, not a secret


class TaskHandle:
    """
    One task: awaitable for its result, iterable for its states, by any number.

    Made by ``images.submit`` and ``images.attach``. Dropping or cancelling a waiter
    never stops the task, which the API cannot cancel; the session goes on tracking it.
    """

    __slots__ = ("_entry", "_tracker")

    def __init__(self, entry: Entry, tracker: Tracker) -> None:
        self._entry = entry
        self._tracker = tracker

    @property
    def task_id(self) -> str:
        """The vendor's id; empty where the API answered at once and named none."""
        return self._entry.task_id

    @property
    def state(self) -> TaskState:
        """
        The state last seen; an attached task counts as pending until its first poll.
        """
        return self._entry.state

    @property
    def done(self) -> bool:
        """
        Whether the outcome is known: ``await`` will not wait.

        After the session closed, that outcome may be ``SessionClosedError``, while the
        task itself goes on: ``not handle.state.finished`` says so.
        """
        return self._entry.done

    def __await__(self) -> Generator[Any, None, ImageResult]:
        return self.result().__await__()

    async def result(self, timeout: float | None = None) -> ImageResult:  # noqa: ASYNC109
        """
        Return the result, again and again; costs nothing.

        Args:
            timeout: Seconds this caller waits at most; None: until the task's own
                deadline (``PollPolicy.deadline``).

        Raises:
            GenerationFailedError: The task failed; it is not charged.
            TaskTimeoutError: Time is up. After *timeout* the task stays tracked;
                after the deadline ``attach(error.task_id)`` takes it up again.
            TaskNotFoundError: The API no longer knows the task.
            AuthenticationError: The key was refused while polling.
            SessionClosedError: The session closed first; carries all pending ids.
            ConfigurationError: Awaited in another event loop than the session's.
            InvalidRequestError: *timeout* is no number.
        """
        seconds = check_timeout(timeout)
        if seconds is None:  # thousands wait, and nearly all of them so
            await self._tracker.wait(self._entry)
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._tracker.wait(self._entry)
        outcome = self._entry.outcome
        if outcome is None:
            raise self._late(timeout)
        if isinstance(outcome, ApiModelsError):
            raise outcome.fresh()
        if self._entry.record is not None:
            self._entry.record.handed_over()
        return outcome

    def _late(self, timeout: float | None) -> TaskTimeoutError:
        msg = (
            f"task {self.task_id} was still {self.state.value!r} after {timeout} s; it"
            " stays tracked: await the handle again"
        )
        return TaskTimeoutError(msg, task_id=self.task_id)

    async def __aiter__(self) -> AsyncIterator[TaskEvent]:
        """
        Yield the current state, then each change once; ends with the terminal one.

        An attached task's current state is the one its first poll finds.

        Raises:
            ApiModelsError: The task has no terminal state to show: deadline, unknown
                task, refused key, closed session. A failed task just ends.
        """
        async for event in self._tracker.events(self._entry):
            yield event
        outcome = self._entry.outcome
        if isinstance(outcome, ApiModelsError) and not isinstance(
            outcome, GenerationFailedError
        ):
            raise outcome.fresh()

    def to_token(self) -> str:
        """
        Return a string from which ``images.attach`` makes this handle, anywhere.

        It holds the task id and the model, no key and no prompt.

        Raises:
            InvalidRequestError: The API named no task id: there is nothing to attach.
        """
        if not self.task_id:
            msg = "this handle has no task id, so no token; its result is final"
            raise InvalidRequestError(msg, parameter="task_id")
        fields = {"task_id": self.task_id, "model": self._entry.model}
        packed = base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()
        return TOKEN_PREFIX + packed.rstrip("=")

    def __repr__(self) -> str:
        return f"<TaskHandle {self.task_id or '-'} {self.state.value}>"

    def _repr_mimebundle_(
        self,
        include: Collection[str] | None = None,
        exclude: Collection[str] | None = None,
    ) -> dict[str, str]:
        """
        Return how a notebook shows it now; asks nobody, and says how old the news is.
        """
        return html.bundle(repr(self), self._card(), include, exclude)

    def _card(self) -> str:
        outcome = self._entry.outcome
        if outcome is not None and not isinstance(outcome, ApiModelsError):
            return outcome._card()  # noqa: SLF001  the handle of a picture is the picture
        facts: dict[str, object] = {
            "task": self.task_id or None,
            "model": self._entry.model,
            "state": self.state.value,
        }
        if outcome is None:
            ago = html.seconds(self._tracker.seconds_since_poll(self._entry))
            facts["asked"] = f"{ago} ago" if ago else "not yet"
            facts["shown at"] = f"{datetime.now(UTC):%H:%M:%S} UTC"
        else:
            facts[type(outcome).__name__] = outcome
        return html.card(facts)


def read_token(text: str) -> tuple[str, str | None]:
    """
    Return task id and model from a token, or *text* itself as the id.

    Raises:
        InvalidRequestError: It starts like a token but is not one.
    """
    if not text.startswith(TOKEN_PREFIX):
        return text, None
    packed = text.removeprefix(TOKEN_PREFIX)
    fields: Any = None
    padding = "=" * (-len(packed) % 4)
    with contextlib.suppress(ValueError, RecursionError):
        fields = json.loads(base64.urlsafe_b64decode(packed + padding))
    if isinstance(fields, dict) and isinstance(fields.get("task_id"), str):
        model = fields.get("model")
        return fields["task_id"], model if isinstance(model, str) else None
    msg = "this token is damaged; use the task id itself"
    raise InvalidRequestError(msg, parameter="task_id")


Product: TypeAlias = TaskHandle | ImageResult
"""What an order buys: a task to wait for, or the picture itself."""


@define(eq=False, repr=False)
class PaidRequest:
    """One order, from the call to the step that hands over its product."""

    model: str
    group: str
    call: calls.Call[TaskSnapshot | ImageResult]
    record: SentOrder | None
    expected: ExpectedCallback | None
    patient: bool = field(init=False, default=False)
    sent: Sent = field(init=False, factory=Sent)
    """Of the current try."""
    product: Product | None = field(init=False, default=None)
    """Once the API has named it."""
    abandoned: bool = field(init=False, default=False)
    """Its caller was cancelled after it was sent."""
    known: bool = field(init=False, default=False)
    """It was ordered before: nothing is sent, and nothing is bought."""

    def __attrs_post_init__(self) -> None:
        if self.record is not None:
            self.sent.leave = self.record.leave

    @property
    def unsent(self) -> bool:
        """Whether nothing of it has left this machine, and nothing was bought."""
        return self.sent.at is None and self.product is None

    def cut(self) -> Product:
        """Return what a cancelled order had bought, or raise what is to be said."""
        if self.product is not None:
            return self.product
        raise self.cut_error()

    def cut_error(self) -> ApiModelsError:
        """Return what is to be said of a cancelled order that has no product."""
        if self.unsent:
            if self.record is not None and self.record.elsewhere:
                msg = (
                    "the session closed before the store said whether another caller "
                    "is sending this order"
                )
                return SessionClosedError(msg)
            msg = "the session closed before the request was sent"
            return SessionClosedError(msg, charged=False)
        info = info_of(self.call.request, self.sent)
        msg = f"{info.method} {info.path} was cut when the session closed"
        error = unknown_error(msg, info)
        error.idempotency_key = getattr(self.record, "idempotency_key", None)
        return error

    def fate(self, runner: asyncio.Task[Product]) -> Product | BaseException:
        """Return what it bought or how it failed; *runner* has ended, or never will."""
        if runner.done() and not is_cut(runner):
            # Asked for, it counts as retrieved: an abandoned one has no reader.
            return runner.exception() or runner.result()
        try:
            return self.cut()
        except ApiModelsError as error:
            return error


def is_cut(ended: asyncio.Task[Product]) -> bool:
    """
    Return whether an order's task ended without a word about the order.

    It was cancelled; or Ctrl-C, or an exit, struck in one of its own steps, and the
    exception that came of it says nothing of what was bought.
    """
    if ended.cancelled():
        return True
    error = ended.exception()
    return error is not None and not isinstance(error, Exception)
