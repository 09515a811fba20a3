"""
A task, a recovered order and a batch, waited for instead of awaited.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from attrs import define

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from decimal import Decimal
    from types import TracebackType

    from apimodels_async.batch import Batch as AsyncBatch
    from apimodels_async.batch.outcome import Outcome
    from apimodels_async.handle import TaskHandle as AsyncTaskHandle
    from apimodels_async.models import (
        AnyRequest,
        ImageResult,
        TaskEvent,
        TaskState,
    )
    from apimodels_async.stores import OrderRecord, OrderState
    from apimodels_async.stores import RecoveredOrder as AsyncRecoveredOrder
    from apimodels_async.sync._portal import Portal


class TaskHandle:
    """One task: ``result()`` waits for it, ``for event in handle`` shows its states."""

    __slots__ = ("_inner", "_portal")

    def __init__(self, inner: AsyncTaskHandle, portal: Portal) -> None:
        self._inner = inner
        self._portal = portal

    @property
    def task_id(self) -> str:
        """The vendor's id; empty where the API answered at once and named none."""
        return self._inner.task_id

    @property
    def state(self) -> TaskState:
        """
        The state last seen; an attached task counts as pending until its first poll.
        """
        return self._inner.state

    @property
    def done(self) -> bool:
        """
        Whether the outcome is known: ``result()`` will not wait.

        After the session closed, that outcome may be ``SessionClosedError``, while the
        task itself goes on: ``not handle.state.finished`` says so.
        """
        return self._inner.done

    def result(self, timeout: float | None = None) -> ImageResult:
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
            InvalidRequestError: *timeout* is no number.
        """
        return self._portal.call(self._inner.result, timeout, paid=self.task_id)

    def __iter__(self) -> Iterator[TaskEvent]:
        """
        Yield the current state, then each change once; ends with the terminal one.

        An attached task's current state is the one its first poll finds.

        Raises:
            ApiModelsError: The task has no terminal state to show: deadline, unknown
                task, refused key, closed session. A failed task just ends.
        """
        events = aiter(self._inner)

        async def following() -> TaskEvent | None:
            return await anext(events, None)

        while (event := self._portal.call(following, paid=self.task_id)) is not None:
            yield event

    def to_token(self) -> str:
        """
        Return a string from which ``images.attach`` makes this handle, anywhere.

        It holds the task id and the model, no key and no prompt.

        Raises:
            InvalidRequestError: The API named no task id: there is nothing to attach.
        """
        return self._inner.to_token()

    def __repr__(self) -> str:
        return repr(self._inner)

    def _repr_mimebundle_(
        self,
        include: Collection[str] | None = None,
        exclude: Collection[str] | None = None,
    ) -> dict[str, str]:
        return self._inner._repr_mimebundle_(include, exclude)


@define(eq=False, repr=False)
class RecoveredOrder:
    """
    An order that an earlier process paid for, or may have, and never saw the end of.

    It is this session's now; until ``ack`` it is recovered again by the next one.
    """

    record: OrderRecord
    """As the store has it."""
    _inner: AsyncRecoveredOrder
    _portal: Portal

    @property
    def idempotency_key(self) -> str:
        """Its name; a random one where it was given none."""
        return self._inner.idempotency_key

    @property
    def task_id(self) -> str | None:
        """The vendor's id, where one is known."""
        return self._inner.task_id

    @property
    def prompt(self) -> str | None:
        """What to draw."""
        return self._inner.prompt

    @property
    def model(self) -> str:
        """Model id."""
        return self._inner.model

    @property
    def state(self) -> OrderState:
        """How far it had got when it was recovered."""
        return self._inner.state

    @property
    def request(self) -> AnyRequest:
        """
        What was ordered, as a request value.

        Raises:
            InvalidRequestError: This release would not send it.
        """
        return self._inner.request

    def result(self) -> ImageResult:
        """
        Return its result, waiting for it; free, nothing is ordered.

        Raises:
            OutcomeUnknownError: Nobody knows whether it was charged.
            GenerationFailedError: The task failed; it is not charged.
            ApiModelsError: Otherwise as ``TaskHandle.result``.
        """
        return self._portal.call(self._inner.result, paid=self.task_id or "")

    def ack(self) -> None:
        """
        Say that it is dealt with: nobody recovers it again. Idempotent.

        Raises:
            JournalError: That cannot be written down.
        """
        self._portal.call(self._inner.ack)

    def __repr__(self) -> str:
        return repr(self._inner)


class Batch:
    """Context manager, and iterator of outcomes in the order they finish."""

    def __init__(self, inner: AsyncBatch, portal: Portal) -> None:
        self._inner = inner
        self._portal = portal

    @property
    def pending(self) -> tuple[TaskHandle, ...]:
        """Paid tasks of this batch that have not ended; tracked also after leaving."""
        return tuple(TaskHandle(each, self._portal) for each in self._inner.pending)

    @property
    def unread(self) -> tuple[Outcome, ...]:
        """
        What has ended, paid for or not, and was not handed over.

        An item that was left while its pictures were being saved is here with its
        result and no path.
        """
        return self._inner.unread

    @property
    def spent(self) -> Decimal:
        """
        US dollars on results, by the API's own figure, or by price where it gave none.
        """
        return self._inner.spent

    @property
    def reserved(self) -> Decimal:
        """US dollars on orders under way and on unknown outcomes, by price."""
        return self._inner.reserved

    def _repr_html_(self) -> str:
        return self._inner._repr_html_()

    def __enter__(self) -> Self:
        try:
            self._portal.call(self._inner.__aenter__)
        except Exception:
            raise
        except BaseException:  # it may order all the same, and no `with` leaves it
            self._portal.call(self._inner._give_up)  # noqa: SLF001  ours
            raise
        return self

    def __iter__(self) -> Self:
        aiter(self._inner)  # raises what it raises
        return self

    def __next__(self) -> Outcome:
        """
        Return the next outcome; one that Ctrl-C interrupts leaves it in ``unread``.

        Raises:
            ConfigurationError: The batch was not entered; or the place that its
                pictures go to cannot be written to: nothing was ordered.
            BudgetExceededError: ``max_cost`` would have been passed, and nothing that
                was under way could make room.
            InsufficientCreditsError, AuthenticationError, PermissionDeniedError,
            SessionClosedError, JournalError: What made it stop ordering.
        """
        try:
            return self._portal.call(
                self._inner.__anext__,
                give_back=self._inner._put_back,  # noqa: SLF001  ours
                paid="" if self._inner._begun else None,  # noqa: SLF001  ours
            )
        except StopAsyncIteration:
            pass
        raise StopIteration

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._portal.call(self._inner.__aexit__, kind, error, traceback)
        except KeyboardInterrupt:  # perhaps before it began: left it is, at once
            self._portal.call(self._inner.__aexit__, kind, error, traceback)
            raise
